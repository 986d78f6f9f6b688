// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// server is what serves a version: a server of the platform's own, by the kind of
// the model, or an image with the routes of its server.
type server struct {
	model string // the platform's kind
	image string // "" is the platform's own server

	port                 int
	predict, live, ready string
	directory            string // how the files are arranged
}

// What an image is taken to answer if nothing else is said, as Azure ML's own
// inference server does.
const (
	defaultPort    = 5001
	defaultPredict = "/score"
	defaultHealth  = "/"
)

// contract is what serves a version: the user's words over the runtime's.
func contract(spec *driver.ModelSpec) (server, error) {
	s := &spec.Serving
	if s.Image == "" {
		c, err := runtimes.AzureML(s.Runtime, spec.Key.Name)
		if err != nil {
			return server{}, err
		}
		return server{model: c.AzureModel, directory: c.Directory}, nil
	}
	predict, live, ready, _ := runtimes.Routes(s.Protocol, spec.Key.Name)
	live = cmp.Or(s.HealthPath, live, defaultHealth)
	return server{model: runtimes.AzureCustomModel, image: s.Image, port: cmp.Or(s.Port, defaultPort), predict: cmp.Or(s.PredictPath, predict, defaultPredict),
		live: live, ready: cmp.Or(s.HealthPath, ready, live)}, nil
}

// environmentName is what a model's environments are called.
func environmentName(model string) string { return "tfml-" + model }

// environment makes what serves a version. It is named for its content: the same again
// for the same image and routes, and never changed.
func (w *workspace) environment(ctx context.Context, model string, how server) (id string, err error) {
	route := func(path string) *ml.Route { return &ml.Route{Path: &path, Port: new(int32(how.port))} }
	name, number := environmentName(model), naming.Hash([]any{how.image, how.port, how.predict, how.live, how.ready})[:16]
	_, err = w.c.EnvironmentVersions.CreateOrUpdate(ctx, w.group, w.name, name, number, ml.EnvironmentVersion{Properties: &ml.EnvironmentVersionProperties{
		Image: &how.image, OSType: new(ml.OperatingSystemTypeLinux), Tags: pointers(map[string]string{tagManagedBy: managedBy, tagModel: model}),
		InferenceConfig: &ml.InferenceContainerProperties{ScoringRoute: route(how.predict), LivenessRoute: route(how.live), ReadinessRoute: route(how.ready)}}}, nil)
	if err != nil {
		return "", failed(err, "cannot make the environment of %s", how.image)
	}
	return w.id("environments", name, "versions", number), nil
}

// dropEnvironment removes an environment that nothing refers to any more.
func (w *workspace) dropEnvironment(ctx context.Context, id string) error {
	parts := strings.Split(id, "/")
	if len(parts) < 3 {
		return nil
	}
	_, err := w.c.EnvironmentVersions.Delete(ctx, w.group, w.name, parts[len(parts)-3], parts[len(parts)-1], nil)
	return gone(failed(err, "cannot remove the environment %s", id))
}

// dropEnvironments removes all environments of a model.
func (w *workspace) dropEnvironments(ctx context.Context, model string) error {
	name := environmentName(model)
	all, err := collect(ctx, w.c.EnvironmentVersions.NewListPager(w.group, w.name, name, &ml.EnvironmentVersionsClientListOptions{ListViewType: new(ml.ListViewTypeAll)}),
		func(p ml.EnvironmentVersionsClientListResponse) []*ml.EnvironmentVersion { return p.Value })
	if err := failed(err, "cannot list the environments of the model %s", model); err != nil {
		return gone(err)
	}
	foreign := 0
	for _, e := range all {
		if e.Properties == nil || tag(e.Properties.Tags, tagManagedBy) != managedBy {
			foreign++
			continue
		}
		if _, err := w.c.EnvironmentVersions.Delete(ctx, w.group, w.name, name, deref(e.Name), nil); err != nil {
			if err := gone(failed(err, "cannot remove the environment %s", name)); err != nil {
				return err
			}
		}
	}
	if foreign > 0 {
		return nil
	}
	_, err = w.c.Environments.Delete(ctx, w.group, w.name, name, nil)
	err = gone(failed(err, "cannot remove the environment %s", name))
	if mlerr.Is(err, mlerr.InUse, mlerr.InvalidArgument) { // an empty name harms nobody
		w.d.log.Debug("the name of an environment stays", "environment", name, "error", err)
		return nil
	}
	return err
}
