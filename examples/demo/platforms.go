// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	{"vertex_ai", "Vertex AI", "no endpoint, deployment, model or version", vertexAIPredict, vertexAILeftovers},
	{"azure_ml", "Azure ML", "no endpoint, deployment, model or version", azurePredict, azureLeftovers},
	{"kubernetes", "Kubernetes", "no Deployment, Service, route or record", kubernetesPredict, kubernetesLeftovers},
}

func names() string {
	all := make([]string, len(platforms))
	for i, p := range platforms {
		all[i] = p.name
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
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

// send is how HTTP's own client asks an endpoint.
func send(req *http.Request) ([]byte, error) {
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, data)
	}
	return data, err
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
