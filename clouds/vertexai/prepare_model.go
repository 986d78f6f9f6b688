// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"regexp"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// refusal collects errors about attributes that are not unknown.
type refusal struct {
	mlerr.List
	unknown driver.Unknown
}

func (r *refusal) when(bad bool, code mlerr.Code, path, hint, format string, args ...any) {
	if bad && !r.unknown.At(path) {
		r.Add(mlerr.New(code, format, args...).At("%s", path).WithHint("%s", hint))
	}
}

// checkName holds the platform's rules of names, and lets numbers pass that the
// platform itself gives.
func checkName(path string, kind driver.Kind, name string, unknown driver.Unknown) error {
	if unknown.At(path) || (kind != "deployment" && serverMade.MatchString(name)) {
		return nil
	}
	err := naming.Check(string(driver.VertexAI), string(kind), name)
	if err == nil {
		return nil
	}
	return mlerr.New(mlerr.InvalidArgument, "").Because(err).At("%s", path)
}

var (
	serverMade = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	aliasForm  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,126}[a-z0-9]$`)
	keyForm    = regexp.MustCompile(`^projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// mostRecord is how long the description that holds a version's record may be.
const mostRecord = 4096

// PrepareModel refuses what Vertex AI cannot do.
func (d *vertex) PrepareModel(spec *driver.ModelSpec) error {
	r := refusal{unknown: spec.Unknown}
	const wrong = mlerr.InvalidArgument
	r.Add(checkName("name", driver.KindModel, spec.Key.Name, spec.Unknown))
	r.Add(checkLabels(spec.Labels, len(modelLabels(&driver.ModelSpec{}, "1"))+len(versionLabels("", "", driver.Approved))))
	spec.Labels, spec.Metadata, spec.Serving.Env = nonEmpty(spec.Labels), nonEmpty(spec.Metadata), nonEmpty(spec.Serving.Env)
	for _, a := range spec.Aliases {
		r.when(a == aliasDefault, wrong, "aliases", "Leave it out: it moves to each new version once that is approved", "the alias \"default\" is Vertex AI's own")
		r.when(!aliasForm.MatchString(a), wrong, "aliases", "Use 2 to 128 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen",
			"%q cannot be an alias on Vertex AI", a)
	}
	r.Add(checkKey(spec.EncryptionKey, spec.Key, spec.Unknown))
	if !spec.Unknown.In("serving") && !spec.Unknown.In("metadata") {
		size := len(record{Format: spec.Artifact.Format, Serving: spec.Serving, Metadata: spec.Metadata}.text())
		r.when(size > mostRecord, wrong, "metadata", "Use fewer or shorter metadata; long values of serving.env count too",
			"metadata and serving together need %d characters of the version's description, and %d are kept there", size, mostRecord)
	}
	d.checkServing(spec, &r)
	r.Add(d.checkArtifact(spec))
	return r.Err()
}

// checkKey holds that a key is in the region of what it encrypts.
func checkKey(key string, of driver.Key, unknown driver.Unknown) error {
	if key == "" || unknown.At("encryption.key") {
		return nil
	}
	m := keyForm.FindStringSubmatch(key)
	_, region, _ := strings.Cut(of.Location, "/")
	switch {
	case m == nil:
		return mlerr.New(mlerr.InvalidArgument, "%q does not name a Cloud KMS key", key).At("encryption.key").
			WithHint("Use projects/<project>/locations/<region>/keyRings/<ring>/cryptoKeys/<key>, without a version")
	case m[1] != region && !unknown.Has("location"):
		return mlerr.New(mlerr.InvalidArgument, "the key is in %s, and Vertex AI takes one in %s only", m[1], region).At("encryption.key").
			WithHint("Use a key of a key ring in %s", region)
	}
	return nil
}

func (d *vertex) checkServing(spec *driver.ModelSpec, r *refusal) {
	s := &spec.Serving
	for name := range s.Env {
		r.when(!envName.MatchString(name), mlerr.InvalidArgument, "serving.env", "Use letters, digits and underscores, not a digit first", "%q cannot be the name of an environment variable", name)
		r.when(strings.HasPrefix(name, "AIP_"), mlerr.InvalidArgument, "serving.env", "Choose another name", "the environment variable %s is set by Vertex AI", name)
	}
	r.when(s.Image != "" && (strings.ContainsAny(s.Image, " \t\n") || !strings.Contains(s.Image, "/")), mlerr.InvalidArgument, "serving.image",
		"Use an image of Artifact Registry, such as europe-west4-docker.pkg.dev/my-project/models/server@sha256:…", "%q names no image that Vertex AI could pull", s.Image)
	if ended, when := runtimes.VertexAIEnded(s.Image, time.Now()); ended {
		r.when(true, mlerr.InvalidArgument, "serving.image", "Use a newer one, or leave serving.image out", "Google has removed the image %s on %s", s.Image, when.Format(time.DateOnly))
	}
	if s.Image == "" && s.Runtime != "" && !r.unknown.In("serving") && !r.unknown.Has("location") {
		_, err := container(spec, "")
		r.Add(err)
	}
}

// checkArtifact refuses what there is no place to copy to.
func (d *vertex) checkArtifact(spec *driver.ModelSpec) error {
	if spec.Unknown.Has("artifact.uri") || spec.Artifact.URI == "" {
		return nil
	}
	if _, err := artifact.Parse(spec.Artifact.URI); err != nil {
		return err
	}
	if d.cfg.StagingURI == "" {
		return mlerr.New(mlerr.InvalidArgument, "Vertex AI reads artifacts from Cloud Storage, and there is no place there to copy %s to", spec.Artifact.URI).At("artifact.uri").
			WithHint("Set the provider's vertex_ai.staging_uri to gs://bucket/prefix, with a bucket in the model's region")
	}
	return nil
}
