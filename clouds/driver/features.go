// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"path"
	"slices"
	"time"
)

// Features says, as data, what a platform can do. A new driver starts from
// "supports everything" and adds its gaps one by one: each is refused at plan
// time with the attribute's path, and shows in the generated capability table.
type Features struct {
	Platform Platform

	// DeployWhole: the platform moves an endpoint with all its deployments from
	// one state to another in a transition of its own (SageMaker's endpoint
	// configurations). Otherwise deployments are created, given traffic and
	// removed one by one, and the core runs the rollout.
	DeployWhole bool

	// VersionsMakeModel: a model comes into being with its first version and goes
	// with its last. CreateModel is then not called.
	VersionsMakeModel bool

	// TestBeforeTraffic: a new deployment can be called before it has traffic.
	// Otherwise the driver is a Prover, and SmokeTestBy says to users how it is tested.
	TestBeforeTraffic bool
	SmokeTestBy       string

	// MetricsDelay is how late the platform's metrics show an answer: what Measure says
	// of the time since is not complete. rollout.interval must be longer where a check
	// reads metrics.
	MetricsDelay time.Duration

	// MinReplicas is the smallest scaling.min of an ordinary deployment.
	MinReplicas int

	// ArtifactSchemes are the schemes of artifact.uri that can be read; "file"
	// stands for local paths.
	ArtifactSchemes []string

	// UnreadSchemes are those that only the platform itself can read, when it
	// serves: the user must say with artifact.sha256 which bytes are meant.
	UnreadSchemes []string

	// Carried are the dotted paths of the endpoint's settings that are part of
	// each deployment ("auth.mode"): a change of one replaces all deployments.
	// Not used with DeployWhole, where settings travel with Deploy.
	Carried []string

	// Replace are the attributes of an endpoint's settings that it has from its
	// creation on: "encryption.key". One that is a value cannot change; one that
	// is an object can change, but neither come nor go.
	Replace []string

	// ModelsAbroad: an endpoint can serve versions that are registered in another region
	// of its project, which is the first part of a location. Otherwise they have to be
	// in the location of the endpoint.
	ModelsAbroad bool

	// FixedModelKey: a model has its encryption.key from its creation on. Otherwise
	// another one publishes a version.
	FixedModelKey bool

	Gaps []Gap
}

// Gap is one thing that a platform cannot do.
type Gap struct {
	// Path is the attribute, with "*" for any map key: "deployments.*.mirror".
	Path string
	// Values are the values that are refused; none means any use at all.
	Values []string
	// Reason is half a sentence that follows the platform's name.
	Reason string
	// Alternative is one sentence that says what to do instead.
	Alternative string
}

// Use is one attribute that a specification makes use of.
type Use struct{ Path, Value string }

// Gap returns the gap that u falls into, or nil.
func (f *Features) Gap(u Use) *Gap {
	for i := range f.Gaps {
		g := &f.Gaps[i]
		if match(g.Path, u.Path) && (len(g.Values) == 0 || slices.Contains(g.Values, u.Value)) {
			return g
		}
	}
	return nil
}

// match compares dotted paths; "*" stands for one segment.
func match(pattern, dotted string) bool {
	ok, err := path.Match(slashed(pattern), slashed(dotted))
	return err == nil && ok
}

func slashed(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '.' {
			b[i] = '/'
		}
	}
	return string(b)
}
