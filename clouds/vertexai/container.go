// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// images is the repository of those images of runtimes that Google does not publish,
// and that the platform therefore takes only from the project's own registry.
func (c *Config) images(r *region) string {
	return cmp.Or(c.ImageRepository, r.name+"-docker.pkg.dev/"+strings.ReplaceAll(r.project, ":", "/")+"/ml-runtimes")
}

// container is what serves a version: the user's words over the runtime's.
func container(spec *driver.ModelSpec, images string) (*containerSpec, error) {
	s := &spec.Serving
	var c runtimes.Contract
	if s.Runtime != "" && s.Image == "" {
		var err error
		_, region, _ := strings.Cut(spec.Key.Location, "/")
		if c, err = runtimes.VertexAI(s.Runtime, region, images); err != nil {
			return nil, err
		}
	}
	out := &containerSpec{
		ImageURI: cmp.Or(s.Image, c.Image), Command: s.Command, Args: s.Args,
		PredictRoute: cmp.Or(s.PredictPath, c.PredictPath), HealthRoute: cmp.Or(s.HealthPath, c.HealthPath),
	}
	if len(out.Command) == 0 && len(out.Args) == 0 {
		out.Command, out.Args = c.Command, c.Args
	}
	env := maps.Clone(c.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, s.Env)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out.Env = append(out.Env, envVar{name, env[name]})
	}
	if port := cmp.Or(s.Port, c.Port); port != 0 {
		out.Ports = []wirePort{{port}}
	}
	if port := cmp.Or(s.GRPCPort, c.GRPCPort); port != 0 {
		out.GRPCPorts = []wirePort{{port}}
	}
	if c.SharedMemory {
		out.SharedMemorySizeMB = sharedMemory
	}
	return out, nil
}

// sharedMemory is what runtimes that use /dev/shm get of it, in MB.
const sharedMemory = "2048"
