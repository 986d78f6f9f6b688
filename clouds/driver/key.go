// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"fmt"
	"strings"
)

// Platform is where things run.
type Platform string

// The platforms, in the order in which documents name them.
const (
	SageMaker  Platform = "sagemaker"
	VertexAI   Platform = "vertex_ai"
	AzureML    Platform = "azure_ml"
	Kubernetes Platform = "kubernetes"
)

// Platforms are all platforms of the configuration language, answered by this
// release or not.
func Platforms() []Platform { return []Platform{SageMaker, VertexAI, AzureML, Kubernetes} }

// Kind is what sort of thing a key names.
type Kind string

// The kinds.
const (
	KindModel    Kind = "model"
	KindEndpoint Kind = "endpoint"
)

// Key names a model or an endpoint: platform, canonical location and name.
type Key struct {
	Platform Platform
	Location string // "eu-west-1", "project/region", "subscription/group/workspace", "namespace"
	Name     string
}

// locationParts is how many slash-separated parts a platform's location has.
var locationParts = map[Platform]int{SageMaker: 1, VertexAI: 2, AzureML: 3, Kubernetes: 1}

// ID is <platform>/<location parts>/<name>, the id in Terraform.
func (k Key) ID() string { return fmt.Sprintf("%s/%s/%s", k.Platform, k.Location, k.Name) }

// String is the ID.
func (k Key) String() string { return k.ID() }

// ParseID reads what [Key.ID] writes. ok is false for anything else.
func ParseID(id string) (key Key, ok bool) {
	platform, rest, found := strings.Cut(id, "/")
	want, known := locationParts[Platform(platform)]
	parts := strings.Split(rest, "/")
	if !found || !known || len(parts) != want+1 {
		return Key{}, false
	}
	for _, p := range parts {
		if p == "" || strings.ContainsAny(p, " @") {
			return Key{}, false
		}
	}
	return Key{Platform(platform), strings.Join(parts[:want], "/"), parts[want]}, true
}

// VersionRef names one version of a model: "sagemaker/eu-west-1/fraud@7". A
// model object outside any registry, which an adopted endpoint may serve, is
// named by Native, the platform's own id, instead.
type VersionRef struct {
	Key     Key
	Version string
	Native  string
}

// String is the version_id, or the platform's own id of a model that is in no
// registry.
func (r VersionRef) String() string {
	if r.Native != "" {
		return r.Native
	}
	if r == (VersionRef{}) {
		return ""
	}
	return r.Key.ID() + "@" + r.Version
}

// MarshalText is String: references are strings in JSON, as they are in Terraform.
func (r VersionRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String writes. Anything that is no version_id is the
// platform's own id of a model.
func (r *VersionRef) UnmarshalText(text []byte) error {
	ref, ok := ParseVersionID(string(text))
	if !ok {
		ref = VersionRef{Native: string(text)}
	}
	*r = ref
	return nil
}

// ParseVersionID reads a version_id. ok is false for anything else.
func ParseVersionID(id string) (ref VersionRef, ok bool) {
	at := strings.LastIndexByte(id, '@')
	if at < 0 || at == len(id)-1 {
		return VersionRef{}, false
	}
	key, ok := ParseID(id[:at])
	return VersionRef{Key: key, Version: id[at+1:]}, ok
}
