// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

// platform is how the demo looks at one, as that platform's own clients do: urls are the
// emulators' addresses.
type platform struct {
	key, name string
	kinds     string // what destroy must leave nothing of
	predict   func(ctx context.Context, urls map[string]string, body string) ([]byte, error)
	leftovers func(ctx context.Context, urls map[string]string) ([]string, error)
}

var platforms = []platform{
	{"sagemaker", "SageMaker", "no endpoint, configuration, model or version", sagemakerPredict, sagemakerLeftovers},
	{"kubernetes", "Kubernetes", "no Deployment, Service, route or record", kubernetesPredict, kubernetesLeftovers},
}

func names() string {
	all := make([]string, len(platforms))
	for i, p := range platforms {
		all[i] = p.name
	}
	return strings.Join(all, " and ")
}

// open serves what terraform left in stateDir, as "terraform-provider-ml rehearse" does,
// and hands the addresses to use.
func open(stateDir string, use func(urls map[string]string) error) (err error) {
	server, err := emulator.Start(emulator.Options{StateDir: stateDir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	return use(server.Endpoints())
}

// answer is what an emulated endpoint says: who answered, and what the model computed.
type answer struct {
	Model, Version string
	Outputs        []struct {
		Name string
		Data []float64
	}
	Score *float64 `json:"-"`
}

func read(body []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("the answer %s is not what was expected: %w", body, err)
	}
	for _, o := range a.Outputs {
		if o.Name == "score" && len(o.Data) > 0 {
			a.Score = &o.Data[0]
		}
	}
	return &a, nil
}
