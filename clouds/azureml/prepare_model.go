// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var (
	aliasForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	imageForm = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?/[^\s]+$`)
)

// mostNotes is how many characters of metadata a version's tag takes: assets have no
// published limit.
const mostNotes = 4096

// PrepareModel refuses what Azure ML cannot do.
func (d *azureML) PrepareModel(spec *driver.ModelSpec) error {
	r := refusal{unknown: spec.Unknown}
	const wrong = mlerr.InvalidArgument
	r.Add(checkName("name", driver.KindModel, spec.Key.Name, spec.Unknown))
	spec.Labels, spec.Metadata, spec.Serving.Env = nonEmpty(spec.Labels), nonEmpty(spec.Metadata), nonEmpty(spec.Serving.Env)
	r.Add(checkLabels(spec.Labels, len(modelTags(&driver.ModelSpec{EncryptionKey: "k", AzureML: &driver.AzureMLModel{Registry: "r"}}, "1"))+1+len(spec.Aliases)))
	for _, a := range spec.Aliases {
		r.when(strings.EqualFold(a, "latest"), wrong, "aliases", "Leave it out", "the alias \"latest\" is Azure ML's own: the version that was made last")
		r.when(!aliasForm.MatchString(a), wrong, "aliases", "Use 1 to 128 letters, digits, underscores, hyphens and dots, a letter or digit first", "%q cannot be an alias on Azure ML", a)
	}
	if len(spec.Metadata) > 0 {
		size := len(versionTags("", "", "", spec.Metadata)[tagMetadata])
		r.when(size > mostNotes, wrong, "metadata", "Use fewer or shorter metadata", "metadata need %d characters of a tag, and %d are kept there", size, mostNotes)
	}
	if m := spec.AzureML; m != nil {
		if *m == (driver.AzureMLModel{}) {
			spec.AzureML = nil
		} else {
			r.when(!registryName.MatchString(m.Registry) && !registryID.MatchString(m.Registry), wrong, "azure_ml.registry",
				"Use the name of a registry in the workspace's resource group, or the id of one: /subscriptions/…/registries/<name>", "%q names no registry", m.Registry)
			fits(&r, "azure_ml.registry", m.Registry)
		}
	}
	checkVaultKey(spec.EncryptionKey, &r)
	checkServing(spec, &r)
	r.Add(checkArtifact(spec))
	return r.Err()
}

func checkServing(spec *driver.ModelSpec, r *refusal) {
	s := &spec.Serving
	checkVariables(s.Env, "serving.env", r)
	if s.Image == "" && s.Runtime != "" && !r.unknown.In("serving") {
		_, err := contract(spec)
		r.Add(err)
	}
	if s.Image == "" {
		for path, set := range map[string]bool{"serving.port": s.Port != 0, "serving.predict_path": s.PredictPath != "", "serving.health_path": s.HealthPath != ""} {
			r.when(set && !r.unknown.In("serving"), mlerr.Unsupported, path, "Leave it out, or set serving.image", "azure_ml serves the runtime %s with a server of its own, whose routes are fixed", s.Runtime)
		}
		return
	}
	r.when(!imageForm.MatchString(s.Image), mlerr.InvalidArgument, "serving.image", "Use an image with its registry, such as myregistry.azurecr.io/server:1", "%q names no image that Azure ML could pull", s.Image)
	for path, route := range map[string]string{"serving.predict_path": s.PredictPath, "serving.health_path": s.HealthPath} {
		r.when(route != "" && !strings.HasPrefix(route, "/"), mlerr.InvalidArgument, path, "Begin it with a slash", "%q is not a path", route)
	}
}

// checkArtifact refuses addresses that cannot be read.
func checkArtifact(spec *driver.ModelSpec) error {
	if spec.Unknown.Has("artifact.uri") || spec.Artifact.URI == "" {
		return nil
	}
	at, err := artifact.Parse(spec.Artifact.URI)
	if err == nil && at.Scheme == artifact.SchemeHTTPS && !at.IsBlob() {
		err = onTheWeb(spec.Artifact.URI)
	}
	return err
}
