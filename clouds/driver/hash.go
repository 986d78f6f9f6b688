// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// VersionHash identifies what a version is: the artifact's bytes and format,
// the serving contract as the user gave it (presets by name, so that a newer
// default image of a preset publishes nothing), and the key. Nothing else
// publishes a version.
func (s *ModelSpec) VersionHash() string {
	content, err := json.Marshal(struct {
		Digest, Format, Key string
		Serving             Serving
	}{s.Artifact.Digest, s.Artifact.Format, s.EncryptionKey, s.Serving})
	if err != nil {
		panic("a version's content is plain data: " + err.Error())
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Is reports whether v is what spec describes. Of a version made by hand there
// is no mark to compare, so its bytes and, where spec names one, its image are.
func (v *Version) Is(spec *ModelSpec) bool {
	if v.Owned && v.Hash != "" {
		return v.Hash == spec.VersionHash()
	}
	return v.Artifact.Digest == spec.Artifact.Digest &&
		(spec.Serving.Image == "" || spec.Serving.Image == v.Serving.Image)
}
