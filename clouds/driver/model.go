// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"context"
	"strings"
	"time"
)

// Unknown is the set of attribute paths whose values Terraform does not know
// yet while it plans ("artifact.digest", "deployments.main.model"). It is empty
// at apply.
type Unknown map[string]bool

// Has reports whether the attribute at path is unknown.
func (u Unknown) Has(path string) bool { return u[path] }

// At reports whether the attribute at path, or anything that it is in, is unknown.
func (u Unknown) At(path string) bool {
	for unknown := range u {
		if unknown == path || strings.HasPrefix(path, unknown+".") {
			return true
		}
	}
	return false
}

// In is At, or true when something in the attribute at path is unknown.
func (u Unknown) In(path string) bool {
	for unknown := range u {
		if strings.HasPrefix(unknown, path+".") {
			return true
		}
	}
	return u.At(path)
}

// ModelSpec is a model as wanted. JSON names are attribute names.
type ModelSpec struct {
	Key            Key               `json:"-"`
	Artifact       Artifact          `json:"artifact"`
	Serving        Serving           `json:"serving"`
	Aliases        []string          `json:"aliases,omitempty"` // sorted
	Approval       Approval          `json:"approval"`
	Description    string            `json:"description,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`   // the provider's labels are merged in
	Metadata       map[string]string `json:"metadata,omitempty"` // of the current version
	RetainVersions int               `json:"retain_versions"`    // at least 1
	EncryptionKey  string            `json:"encryption_key,omitempty"`
	AzureML        *AzureMLModel     `json:"azure_ml,omitempty"`
	Unknown        Unknown           `json:"-"`

	// Original opens the bytes when Artifact.URI is a version_id; nil for any other
	// address, and in a plan. The core sets it.
	Original func(context.Context) (Original, error) `json:"-"`
}

// Artifact is the model file as the user names it, and its identity.
type Artifact struct {
	URI    string `json:"uri"`
	Format string `json:"format"`
	Digest string `json:"sha256"` // hex SHA-256; decides, together with Serving, what a version is
}

// Serving is the container contract. Empty fields are the runtime's defaults.
type Serving struct {
	Runtime     string            `json:"runtime,omitempty"` // preset; set by the core from the format when the user gave neither runtime nor image
	Image       string            `json:"image,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	Port        int               `json:"port,omitempty"`
	GRPCPort    int               `json:"grpc_port,omitempty"`
	PredictPath string            `json:"predict_path,omitempty"`
	HealthPath  string            `json:"health_path,omitempty"`
	Protocol    string            `json:"protocol,omitempty"`
}

// AzureMLModel is what only Azure ML models have.
type AzureMLModel struct {
	Registry string `json:"registry,omitempty"`
}

// Approval says whether a version may be served.
type Approval string

// The approvals.
const (
	Approved Approval = "approved"
	Pending  Approval = "pending"
	Rejected Approval = "rejected"
)

// Approvals are all values of Approval.
func Approvals() []Approval { return []Approval{Approved, Pending, Rejected} }

// Phase is how far a thing is.
type Phase string

// The phases.
const (
	Ready    Phase = "ready"    // settled and usable
	Changing Phase = "changing" // in transition; wait
	Failed   Phase = "failed"   // settled and not usable
	Deleting Phase = "deleting" // on its way out; wait until it is gone
)

// Marks are what we write on everything that we create, in whatever the
// platform has for it (tags, labels, annotations).
type Marks struct {
	Owned      bool `json:"owned"`      // carries our managed-by mark with this very name
	Incomplete bool `json:"incomplete"` // its creation has begun and not been confirmed as complete
	Untested   bool `json:"untested"`   // what was deployed has not passed its smoke test yet
}

// ModelState is a model as observed.
type ModelState struct {
	Key           Key
	NativeID      string // the platform's own id
	Marks         Marks
	Description   string
	Labels        map[string]string // ours and the user's; the platform's own and our marks are left out
	EncryptionKey string
	Versions      []Version // ascending by age
	AzureML       *AzureMLModel

	// Unfinished is a sentence about what an earlier run has left to do, though
	// nothing that the user wrote differs; "" for nothing. The core sets it.
	Unfinished string
}

// Version is one immutable version as observed.
type Version struct {
	Version     string
	NativeID    string
	Owned       bool
	Adopted     bool     // not ours, but in the model when it was adopted: it goes when the model is destroyed
	Hash        string   // the mark [VersionHash] that it was published with; "" if foreign
	Artifact    Artifact // URI is where the platform reads it; Format is guessed for foreign versions
	Serving     Serving  // as published by us (presets by name); of a foreign version what the platform shows
	Aliases     []string // sorted
	Approval    Approval
	Metadata    map[string]string
	Phase       Phase
	Reason      string // the platform's words when Phase is Failed
	CreatedAt   time.Time
	ServedBy    []string // endpoints that serve it, where the platform can say so
	Description string
}

// Newest returns the version that the model now stands for: the youngest of
// ours, or the youngest of all when none is ours (a model made by hand). nil
// if there is none.
func (s *ModelState) Newest() *Version {
	var newest *Version
	for i := range s.Versions {
		if v := &s.Versions[i]; newest == nil || v.Owned || !newest.Owned {
			newest = v
		}
	}
	return newest
}

// Find returns the version with that number, or nil.
func (s *ModelState) Find(version string) *Version {
	for i := range s.Versions {
		if s.Versions[i].Version == version {
			return &s.Versions[i]
		}
	}
	return nil
}
