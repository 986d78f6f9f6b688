// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package driver is the contract between the portable core and a platform. It
// is written for the person who adds the next platform.
//
// A driver translates; the core decides. A driver offers small steps and reads,
// and states as data ([Features]) what its platform can do. The core compares
// what is observed with what is wanted, picks one step, takes it, observes
// again, and stops when nothing differs. So a run that was cut off anywhere is
// simply continued by the next one, and the same loop creates, updates, rolls
// back, adopts what it did not make, and repairs drift.
//
// # What every method must keep to
//
//   - Steps are idempotent: taken twice they end where they end taken once. A
//     thing that is already there, or already gone, is success.
//   - Steps return when the platform has accepted the change, not when it is
//     done. No method sleeps, polls or retries: the core does, with one clock.
//   - Names of created things are computed from the specification
//     (internal/naming), never drawn at random and never from the time.
//   - Everything created carries [Marks]. Nothing without our marks is changed
//     or removed, except the endpoint or model that the user adopted by import.
//   - Errors are *mlerr.Error with a code. The codes that mean something to the
//     core are named at each method; every method may also return Throttled,
//     Unavailable, Unauthenticated, PermissionDenied, QuotaExceeded, Canceled.
//   - Strings, maps and slices in a state are canonical: the same content is
//     the same value, absent collections are nil, collections that are sets are
//     sorted. What a platform fills in by itself is left out, so that a state
//     compares equal to the specification that made it.
//   - A driver is used by many goroutines at once.
//
// The conformance suite in clouds/drivertest holds a driver to all of this.
package driver

import (
	"context"
	"time"
)

// Driver is one platform, opened with the user's credentials. Opening must not
// dial out.
type Driver interface {
	// Features says what the platform can do. It must return the same value
	// every time and must not dial out.
	Features() *Features

	// Locate makes a location canonical: the user's words, or the provider's
	// default when location is "". It must not dial out. Without either it
	// returns InvalidArgument with the path "location".
	Locate(location string) (string, error)

	// ParseNativeID understands the platform's own identifier of a thing (an
	// ARN, a resource name, "namespace/name") for import. ok is false when id
	// is not of the platform's form.
	ParseNativeID(kind Kind, id string) (key Key, ok bool)

	Models
	Endpoints
}

// Prover is what drivers are, beside, whose Features.TestBeforeTraffic is false: before
// a version replaces another the core deploys it to an endpoint of its own, which is
// called as the endpoint is and has the label smoke-test-of, sends the smoke test there,
// and removes it.
type Prover interface {
	// MarkUntested marks the endpoint as untested (Marks.Untested), and changes nothing
	// else.
	MarkUntested(ctx context.Context, seen *EndpointState) error
}

// Models is the registry side of a platform: a name that holds immutable,
// numbered versions.
type Models interface {
	// PrepareModel makes spec canonical and refuses what can never work, with
	// InvalidArgument or Unsupported and the attribute's path; several
	// errors may be joined. It must not dial out. Fields that spec.Unknown
	// names are guaranteed to be empty and must not be judged.
	PrepareModel(spec *ModelSpec) error

	// ArtifactDigest returns the hex SHA-256 identity of the bytes at uri, which
	// is guaranteed to be of a scheme in Features.ArtifactSchemes (local paths
	// included), and of none in Features.UnreadSchemes, and no version_id. Absent bytes are NotFound
	// with the path "artifact.uri".
	ArtifactDigest(ctx context.Context, uri string) (string, error)

	// ObserveModel reads a model and its versions and must not change anything.
	// Absent, or being deleted, is NotFound.
	//
	// known is what the caller already holds, or nil. Given it, a driver may
	// leave out reads that could only confirm it: it then copies that part
	// from known. Given nil it must read everything.
	ObserveModel(ctx context.Context, key Key, known *ModelState) (*ModelState, error)

	// ObserveVersion reads one version, as cheaply as it can be done. Absent is
	// NotFound.
	ObserveVersion(ctx context.Context, ref VersionRef) (*Version, error)

	// CreateModel makes the name, marked incomplete (Marks.Incomplete). A name
	// that exists with our marks is success; without them, AlreadyExists. It is
	// guaranteed not to be called with Features.VersionsMakeModel, where the first
	// PublishVersion does so.
	CreateModel(ctx context.Context, spec *ModelSpec) error

	// StageArtifact brings the bytes to where, and into the shape in which, the
	// platform reads them, and returns their address. Bytes that are already
	// there are not sent again. Bytes that are not spec.Artifact.Digest are
	// InvalidArgument with the path "artifact.uri". The bytes are those at
	// spec.Artifact.URI or, where spec.Original is set, those that it opens.
	StageArtifact(ctx context.Context, spec *ModelSpec) (uri string, err error)

	// OpenArtifact offers the bytes of a version for a model elsewhere. v is the
	// version as observed. It reads no more than it takes to know that the bytes are
	// there and can be read, and changes nothing. Bytes that this process cannot
	// read, or a version without any, are Unsupported, and bytes that are gone
	// NotFound, with the path "artifact.uri".
	OpenArtifact(ctx context.Context, ref VersionRef, v *Version) (Original, error)

	// PublishVersion makes the next immutable version from staged bytes.
	// newest is the highest version number seen before, "" for none: published
	// twice after the same newest, there must be one version, not two.
	PublishVersion(ctx context.Context, spec *ModelSpec, staged, newest string) error

	// UpdateModel makes description, labels, aliases and marks what spec says,
	// aliases pointing to version current. A model without our marks is so
	// adopted, and the versions in seen that are not ours with it
	// (Version.Adopted).
	UpdateModel(ctx context.Context, spec *ModelSpec, seen *ModelState, current string) error

	// UpdateVersion makes approval and metadata of a version what spec says.
	UpdateVersion(ctx context.Context, spec *ModelSpec, seen *Version) error

	// DeleteVersion removes one version. One that something serves is InUse
	// where the platform knows; absent is success. With Features.VersionsMakeModel
	// the last one takes the name with it.
	DeleteVersion(ctx context.Context, ref VersionRef) error

	// DeleteModel removes the name, which is guaranteed to hold no version.
	// Absent is success; a name that still holds versions is InUse.
	DeleteModel(ctx context.Context, key Key) error
}

// Endpoints is the serving side of a platform: a name that answers requests
// from one or more deployments of model versions.
type Endpoints interface {
	// PrepareEndpoint makes spec canonical (compute resolved to an instance
	// type among it) and refuses what can never work, with InvalidArgument or
	// Unsupported and the attribute's path; several errors may be joined. It
	// must not dial out. Fields that spec.Unknown names are guaranteed to be
	// empty and must not be judged.
	PrepareEndpoint(spec *EndpointSpec) error

	// Preflight asks the platform what it would refuse of spec, or could not do:
	// what is not installed there, what its quotas and policies say. It must not
	// change anything. It is called in plans, for changes only; seen is the endpoint
	// as it was last observed, nil for a new one. Fields that spec.Unknown names must
	// not be judged. What cannot be asked, as without a permission to, is a warning:
	// a sentence for the user.
	Preflight(ctx context.Context, spec *EndpointSpec, seen *EndpointState) (warnings []string, err error)

	// ObserveEndpoint reads an endpoint with all its deployments and must not
	// change anything. Absent is NotFound; being deleted is a state with Phase
	// Deleting. known is as in ObserveModel. When it is nil, was itself not
	// finished, or no longer is what serves, the state must also list Leftovers,
	// unless a transition is going on. When it shows a transition, of the endpoint
	// or of a deployment, only that need be read anew.
	ObserveEndpoint(ctx context.Context, key Key, known *EndpointState) (*EndpointState, error)

	// CreateEndpoint makes the endpoint with its labels, marked incomplete. With
	// Features.DeployWhole it comes with all its deployments, otherwise empty.
	// One that exists with our marks is success; without them, AlreadyExists.
	CreateEndpoint(ctx context.Context, spec *EndpointSpec) error

	// UpdateSettings makes the endpoint's own settings (network, auth, …) what
	// spec says, and mends what EndpointState.Repair tells of. Deployments stay as
	// they are, those with other Features.Carried settings too, and must go on
	// answering whom they answer. It is guaranteed not to be called with
	// Features.DeployWhole, where settings travel with Deploy.
	UpdateSettings(ctx context.Context, spec *EndpointSpec, seen *EndpointState) error

	// Deploy starts to bring into being what spec wants and seen lacks.
	//
	// Without Features.DeployWhole it creates the deployment called name, at
	// replicas (at least the predecessor's live count), beside its predecessor
	// and without traffic. One that is there and has a DeploymentState.Repair is
	// made whole, with the traffic that it has. With Features.DeployWhole name is
	// "" and the whole endpoint goes over to spec in one transition that the
	// platform runs, by spec.Rollout; live replica counts that an autoscaler chose
	// must survive.
	//
	// A transition in progress is Busy. Deploy must be safe to repeat: what it
	// has started before it must not start again. If spec has a smoke test, the
	// endpoint is marked untested no later than the deployment can be seen.
	Deploy(ctx context.Context, spec *EndpointSpec, seen *EndpointState, name string, replicas int) error

	// SetTraffic makes the shares of live and mirrored requests what shares
	// says, all in one change. Deployments that shares does not name keep
	// what they have.
	SetTraffic(ctx context.Context, spec *EndpointSpec, seen *EndpointState, shares []Share) error

	// SetScaling makes replica bounds, autoscaling metrics and schedules of the
	// wanted deployment called name what spec says. A replica count inside
	// the bounds must stay as it is when an autoscaler owns it.
	SetScaling(ctx context.Context, spec *EndpointSpec, seen *EndpointState, name string) error

	// SetLabels makes labels and marks what spec says; the endpoint is no
	// longer incomplete or untested, and the deployments that spec names are
	// ours.
	SetLabels(ctx context.Context, spec *EndpointSpec, seen *EndpointState) error

	// Undeploy removes one deployment, which is guaranteed to be ours and to
	// have no traffic. Absent is success. It is guaranteed not to be called
	// with Features.DeployWhole.
	Undeploy(ctx context.Context, key Key, id string) error

	// EndpointLeftovers lists the leftovers of an endpoint that is gone, or on
	// its way out.
	EndpointLeftovers(ctx context.Context, key Key) ([]Leftover, error)

	// Sweep removes leftovers: things with our marks that nothing refers to any
	// more. It must look again, right before each removal, whether that is
	// still so.
	Sweep(ctx context.Context, key Key, leftovers []Leftover) error

	// DeleteEndpoint starts to remove the endpoint and what only it needs. Where
	// that takes several transitions it starts the next one, and is called again when
	// that is seen to be done: until then with fewer deployments. What remains for Sweep must first be marked as Ending, so that a run which is
	// cut off in between can be told from an endpoint that somebody else removed.
	// Absent is success; a transition in progress is Busy.
	DeleteEndpoint(ctx context.Context, seen *EndpointState) error

	// Measure sums up, from the platform's own metrics, how the deployment with that
	// DeploymentState.ID has answered live requests from since until until. What the
	// platform does not show yet is missing from it (Features.MetricsDelay), and without
	// any sample it is the zero value. Not called where rollout.checks.max_error_rate
	// and max_latency_ms are gaps, nor with Features.DeployWhole.
	Measure(ctx context.Context, key Key, id string, since, until time.Time) (Measurement, error)

	// Firing lists those of the platform's alarms called names that are firing now,
	// sorted by name. One that does not exist is InvalidArgument with the path
	// "rollout.checks.alarms". Not called where that is a gap.
	Firing(ctx context.Context, key Key, names []string) ([]Alarm, error)

	// Credentials gives what callers of the endpoint send. What no platform gives
	// out, such as signatures, is Unsupported, with a hint that says how to call.
	Credentials(ctx context.Context, key Key) (*Credentials, error)

	// Invoke sends one request, to the deployment with that DeploymentState.ID
	// or, if "", to whichever the endpoint picks. The model's own refusal is a
	// Response with its status, not an error.
	Invoke(ctx context.Context, key Key, id string, req Request) (*Response, error)
}
