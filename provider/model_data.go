// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// modelData are the attributes of an ml_model.
type modelData struct {
	ID                string               `json:"id,omitempty"`
	Platform          driver.Platform      `json:"platform,omitempty"`
	Name              string               `json:"name,omitempty"`
	Location          string               `json:"location,omitempty"`
	Artifact          artifactData         `json:"artifact"`
	Serving           driver.Serving       `json:"serving"`
	Aliases           []string             `json:"aliases,omitempty"`
	Approval          driver.Approval      `json:"approval,omitempty"`
	Description       string               `json:"description,omitempty"`
	Labels            map[string]string    `json:"labels,omitempty"`
	EffectiveLabels   map[string]string    `json:"effective_labels,omitempty"`
	Metadata          map[string]string    `json:"metadata,omitempty"`
	RetainVersions    int                  `json:"retain_versions,omitempty"`
	Encryption        *keyData             `json:"encryption,omitempty"`
	AzureML           *driver.AzureMLModel `json:"azure_ml,omitempty"`
	Timeouts          timeoutsData         `json:"-"`
	Version           string               `json:"version,omitempty"`
	VersionID         string               `json:"version_id,omitempty"`
	PreviousVersionID string               `json:"previous_version_id,omitempty"`
	Digest            string               `json:"digest,omitempty"`
	ArtifactURI       string               `json:"artifact_uri,omitempty"`
	Versions          []versionData        `json:"versions"`
}

type artifactData struct {
	URI    string `json:"uri,omitempty"`
	Format string `json:"format,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

type keyData struct {
	Key string `json:"key,omitempty"`
}

type versionData struct {
	Version   string   `json:"version"`
	VersionID string   `json:"version_id"`
	Digest    string   `json:"digest,omitempty"`
	Aliases   []string `json:"aliases"`
	Approval  string   `json:"approval,omitempty"`
	CreatedAt string   `json:"created_at,omitempty"`
}

// timeoutsData are the limits that the user set; zero is none.
type timeoutsData struct {
	Create time.Duration `json:"create"`
	Update time.Duration `json:"update"`
	Delete time.Duration `json:"delete"`
}

func timeoutsOf(o types.Object) timeoutsData {
	var d struct {
		Timeouts timeoutsData `json:"timeouts"`
	}
	read(o, &d)
	return d.Timeouts
}

// defaultRetained is how many versions are kept by default.
const defaultRetained = 10

// modelSpecOf is what a configuration, a plan or a state wants. Of the key only
// the name is set.
func modelSpecOf(o types.Object) *driver.ModelSpec {
	d := modelData{Approval: driver.Approved, RetainVersions: defaultRetained}
	unknown := read(o, &d)
	spec := &driver.ModelSpec{
		Key:      driver.Key{Platform: d.Platform, Name: d.Name},
		Artifact: driver.Artifact{URI: d.Artifact.URI, Format: d.Artifact.Format, Digest: d.Artifact.SHA256},
		Serving:  d.Serving, Aliases: d.Aliases, Approval: d.Approval, Description: d.Description, Labels: d.Labels,
		Metadata: d.Metadata, RetainVersions: d.RetainVersions, AzureML: d.AzureML, Unknown: unknown,
	}
	if d.Encryption != nil {
		spec.EncryptionKey = d.Encryption.Key
	}
	return spec
}

// wantedModel shows a canonical specification as attributes; what only the
// platform can say is missing.
func wantedModel(spec *driver.ModelSpec) modelData {
	d := modelData{
		ID: spec.Key.ID(), Platform: spec.Key.Platform, Name: spec.Key.Name, Location: spec.Key.Location,
		Artifact: artifactData{spec.Artifact.URI, spec.Artifact.Format, spec.Artifact.Digest},
		Serving:  spec.Serving, Aliases: spec.Aliases, Approval: spec.Approval, Description: spec.Description,
		EffectiveLabels: spec.Labels, Metadata: spec.Metadata, RetainVersions: spec.RetainVersions, AzureML: spec.AzureML,
		Digest: spec.Artifact.Digest,
	}
	if spec.EncryptionKey != "" {
		d.Encryption = &keyData{spec.EncryptionKey}
	}
	return d
}

// seenModel shows what was observed as attributes. labels are those of them that
// are the resource's own.
func seenModel(seen *driver.ModelState, labels map[string]string) modelData {
	d := modelData{
		ID: seen.Key.ID(), Platform: seen.Key.Platform, Name: seen.Key.Name, Location: seen.Key.Location,
		Approval: driver.Approved, RetainVersions: defaultRetained, Description: seen.Description,
		Labels: labels, EffectiveLabels: seen.Labels, AzureML: seen.AzureML, Versions: []versionData{},
	}
	if seen.EncryptionKey != "" {
		d.Encryption = &keyData{seen.EncryptionKey}
	}
	ref := func(v *driver.Version) string { return driver.VersionRef{Key: seen.Key, Version: v.Version}.String() }
	for i := range seen.Versions {
		v := &seen.Versions[i]
		created := ""
		if !v.CreatedAt.IsZero() {
			created = v.CreatedAt.UTC().Format(time.RFC3339)
		}
		d.Versions = append(d.Versions, versionData{v.Version, ref(v), v.Artifact.Digest, append([]string{}, v.Aliases...), string(v.Approval), created})
	}
	newest := seen.Newest()
	if newest == nil {
		return d
	}
	d.Artifact = artifactData{newest.Artifact.URI, newest.Artifact.Format, newest.Artifact.Digest}
	d.Serving, d.Aliases, d.Approval, d.Metadata = newest.Serving, newest.Aliases, newest.Approval, newest.Metadata
	d.Version, d.VersionID, d.Digest, d.ArtifactURI = newest.Version, ref(newest), newest.Artifact.Digest, newest.Artifact.URI
	for i := range seen.Versions {
		if v := &seen.Versions[i]; v == newest && i > 0 {
			d.PreviousVersionID = ref(&seen.Versions[i-1])
		}
	}
	return d
}

// keepModel lets the earlier value of every attribute stand that means the same
// as the one in m.
func keepModel(m, earlier members, was, is *driver.ModelSpec) {
	m.keep("location", earlier, was.Key == is.Key)
	m.keep("artifact", earlier, was.Artifact.Format == is.Artifact.Format && was.Artifact.Digest == is.Artifact.Digest && is.Artifact.Digest != "")
	m.keep("serving", earlier, same(was.Serving, is.Serving))
	m.keep("aliases", earlier, same(was.Aliases, is.Aliases))
	m.keep("encryption", earlier, was.EncryptionKey == is.EncryptionKey)
	m.keep("azure_ml", earlier, same(was.AzureML, is.AzureML))
}
