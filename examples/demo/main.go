// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command demo shows the provider at work, on emulators inside this machine: it
// applies examples/quickstart with the real terraform, which serves one model on
// several platforms, asks each endpoint for a prediction as that platform's clients
// do, publishes a second version, plans again, and destroys. It fails if anything it
// says is not so. Run it with "make demo".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/terraform"
)

// request is four features of a card payment, as the model wants them.
const request = `{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[412.5,3,0.82,1]}]}`

func main() {
	provider := flag.String("provider", "", "the provider binary")
	source := flag.String("configuration", "examples/quickstart", "the configuration to apply")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *provider, *source)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo failed: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, provider, source string) error {
	began := time.Now()
	if provider == "" {
		return errors.New("-provider is missing; run it with: make demo")
	}
	work, err := os.MkdirTemp("", "ml-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.CopyFS(filepath.Join(work, "quickstart"), os.DirFS(source)); err != nil {
		return err
	}
	cli, err := terraform.New(ctx, provider, work)
	if err != nil {
		return err
	}
	tf := &workspace{cli, filepath.Join(work, "quickstart")}
	heading("terraform-provider-ml", "one configuration, one model, on "+names()+" in rehearsal: no account, nothing leaves this machine")
	if err := story(ctx, tf); err != nil {
		return err
	}
	fmt.Printf("\n  done in %.0f s. Read on in examples/quickstart/main.tf: it is all that was needed.\n", time.Since(began).Seconds())
	return nil
}

// story is what the demo shows, in order.
func story(ctx context.Context, tf *workspace) (err error) {
	defer func() {
		if err != nil {
			// What is half shown is taken down too; the first error is the one to report.
			_ = tf.run(context.WithoutCancel(ctx), "destroy", "-auto-approve")
		}
	}()
	if err := serve(ctx, tf, "Register fraud-v1.onnx and serve it", "model/fraud-v1.onnx", "1"); err != nil {
		return err
	}
	if err := serve(ctx, tf, "Publish fraud-v2.onnx; the endpoints move over", "model/fraud-v2.onnx", "2"); err != nil {
		return err
	}
	const newest = "model_file=model/fraud-v2.onnx"
	chapter("Plan again: what is observed is what is wanted", "terraform plan -var "+newest)
	if err := tf.run(ctx, "plan", "-detailed-exitcode", "-var", newest); err != nil {
		return fmt.Errorf("the plan after an apply is not empty: %w", err)
	}
	fact("plan", "No changes")
	chapter("Take it down", "terraform destroy")
	if err := tf.run(ctx, "destroy", "-auto-approve"); err != nil {
		return err
	}
	return open(tf.stateDir(), func(urls map[string]string) error {
		for _, p := range platforms {
			left, err := p.leftovers(ctx, urls)
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("destroy left behind on %s: %v", p.name, left)
			}
			fact(p.name, "nothing is left: "+p.kinds)
		}
		return nil
	})
}

// serve applies one version and shows that it answers.
func serve(ctx context.Context, tf *workspace, title, file, version string) error {
	chapter(title, "terraform apply -var model_file="+file)
	took := time.Now()
	if err := tf.run(ctx, "apply", "-auto-approve", "-var", "model_file="+file); err != nil {
		return err
	}
	out, err := tf.outputs(ctx)
	if err != nil {
		return err
	}
	fact("applied", fmt.Sprintf("in %.1f s", time.Since(took).Seconds()))
	return open(tf.stateDir(), func(urls map[string]string) error {
		for _, p := range platforms {
			body, err := p.predict(ctx, urls, request)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			a, err := read(body)
			if err != nil {
				return err
			}
			if a.Version != version || a.Score == nil {
				return fmt.Errorf("%s: asked for version %s, and got %s", p.name, version, body)
			}
			where := ""
			if machine := out["instance_type"][p.key]; machine != "" {
				where = ", on " + machine + ", chosen from cpu = 2, memory_gib = 8"
			}
			fact(p.name, fmt.Sprintf("%-42s score %.4f from version %s%s", out["version_id"][p.key], *a.Score, a.Version, where))
		}
		return nil
	})
}
