// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Preflight warns of what a change does to those who call the endpoint, and of what
// the versions that are to be deployed there do not fit. The platform itself shows
// neither quotas nor what a region has in stock.
func (d *vertex) Preflight(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) ([]string, error) {
	warnings := disruptions(spec, seen)
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		if spec.Unknown.In("deployments."+dep.Name+".model") || spec.Unknown.In("deployments."+dep.Name+".compute") || serves(seen, dep) {
			continue
		}
		m, err := d.at(dep.Model.Key.Location).getModel(ctx, dep.Model.Key.Name, dep.Model.Version)
		if mlerr.Is(err, mlerr.NotFound) {
			continue // whoever checks that it exists says so
		}
		if err != nil {
			return warnings, err
		}
		more, err := d.misfits(spec, dep, m)
		warnings = append(warnings, more...)
		if err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

// serves reports whether a deployment of that name serves that version on such a machine.
func serves(seen *driver.EndpointState, dep *driver.Deployment) bool {
	for i := 0; seen != nil && i < len(seen.Deployments); i++ {
		if now := &seen.Deployments[i]; now.Name == dep.Name && now.Model == dep.Model && sameCompute(&now.Compute, &dep.Compute) {
			return true
		}
	}
	return false
}

var registryRegion = regexp.MustCompile(`^([a-z]+-[a-z]+[0-9]+)-docker\.pkg\.dev/`)

// misfits are what a version and the endpoint do not have in common.
func (d *vertex) misfits(spec *driver.EndpointSpec, dep *driver.Deployment, m *wireModel) (warnings []string, err error) {
	region := d.at(spec.Key.Location).name
	if key := spec.Settings.Encryption.Key; key != m.EncryptionSpec.key() && !spec.Unknown.At("encryption.key") {
		warnings = append(warnings, fmt.Sprintf("The endpoint is encrypted with %s, and the version %s with %s", keyWords(key), dep.Model, keyWords(m.EncryptionSpec.key())))
	}
	if m.ContainerSpec == nil {
		return warnings, nil
	}
	image := m.ContainerSpec.ImageURI
	if found := registryRegion.FindStringSubmatch(image); len(found) > 1 && found[1] != region {
		warnings = append(warnings, fmt.Sprintf("The image of the version %s is in a registry in %s, and Vertex AI in %s may refuse to pull it: %s", dep.Model, found[1], region, image))
	}
	if ended, since := runtimes.VertexAIEnded(image, time.Now()); ended {
		return warnings, mlerr.New(mlerr.InvalidArgument, "Google has removed the image of the version %s on %s: %s", dep.Model, since.Format(time.DateOnly), image).
			At("deployments.%s.model", dep.Name).WithHint("Publish a version with a newer image")
	}
	if ceased, since, gone := runtimes.VertexAIUnpatched(image, time.Now()); ceased {
		warnings = append(warnings, fmt.Sprintf("Google has ceased to patch the image of the version %s on %s, and removes it on %s: %s", dep.Model, since.Format(time.DateOnly), gone.Format(time.DateOnly), image))
	}
	switch framework := runtimes.VertexAIForCPU(image); {
	case framework == "" || !accelerated(&dep.Compute):
	case framework != runtimes.Sklearn && framework != runtimes.XGBoost:
		warnings = append(warnings, fmt.Sprintf("The image of the version %s is built for CPUs and leaves the accelerator of deployment %s idle: %s", dep.Model, dep.Name, image))
	default:
		return warnings, mlerr.New(mlerr.InvalidArgument, "%s has no use for an accelerator, and deployment %s of the version %s would pay for one", framework, dep.Name, dep.Model).
			At("deployments.%s.compute", dep.Name).WithHint("Leave the accelerator out, or publish a version with a serving.image that uses it")
	}
	return warnings, nil
}

func keyWords(key string) string {
	if key == "" {
		return "a key of Google's"
	}
	return "the key " + key
}

// disruptions are what callers notice of a change.
func disruptions(spec *driver.EndpointSpec, seen *driver.EndpointState) []string {
	if seen == nil {
		return nil
	}
	var warnings []string
	if dedicated(&spec.Settings) && !dedicated(&seen.Settings) && !spec.Unknown.At("vertex_ai") {
		warnings = append(warnings, "With a host of its own, the endpoint no longer answers at "+seen.URL+": its callers have to use the new url")
	}
	if dedicated(&seen.Settings) && !dedicated(&spec.Settings) && !spec.Unknown.At("vertex_ai") {
		warnings = append(warnings, "Google does not say that an endpoint can give up its own host: the apply may be refused, and only an endpoint of another name is sure to have none")
	}
	why := one(spec)
	if why == "" {
		return warnings
	}
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		want := spec.Find(now.Name)
		if want == nil || spec.Unknown.In("deployments."+now.Name) {
			continue
		}
		account := serviceAccount(&now.Carried) != serviceAccount(&spec.Settings)
		if now.Model != want.Model || !sameCompute(&now.Compute, &want.Compute) || account {
			warnings = append(warnings, fmt.Sprintf("Nothing answers while deployment %s is replaced: Vertex AI takes no second one %s, so the old one goes first", now.Name, why))
		}
	}
	return warnings
}
