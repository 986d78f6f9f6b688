// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// DefaultModelLimit is the timeout of every change of a model when the user
// sets none: copying a large artifact takes most of it.
const DefaultModelLimit = 60 * time.Minute

// CheckModel makes spec canonical and refuses what the platform cannot do, with
// the attribute's path. It does not dial out. Several errors are joined.
func (c *Cloud) CheckModel(spec *driver.ModelSpec) error {
	spec.Labels = c.withLabels(spec.Labels)
	sort.Strings(spec.Aliases)
	var all mlerr.List
	if s := &spec.Serving; s.Runtime == "" && s.Image == "" && !spec.Unknown.Has("serving.image") && !spec.Unknown.Has("serving.runtime") {
		runtime, ok := runtimes.ForFormat(spec.Artifact.Format)
		if !ok && spec.Artifact.Format != "" {
			all.Add(mlerr.New(mlerr.InvalidArgument, "format %q implies no runtime", spec.Artifact.Format).
				At("serving").WithHint("Set serving.image, or serving.runtime to one of %s", strings.Join(runtimes.Names(), ", ")))
		}
		s.Runtime = runtime
	}
	if spec.RetainVersions < 1 && !spec.Unknown.Has("retain_versions") {
		all.Add(mlerr.New(mlerr.InvalidArgument, "retain_versions must be at least 1, is %d", spec.RetainVersions).At("retain_versions"))
	}
	all.Add(c.checkGaps(modelUses(spec)))
	if err := c.checkScheme(spec); err != nil {
		all.Add(err)
		return all.Err() // no driver knows what to make of the address
	}
	all.Add(c.driver.PrepareModel(spec))
	return all.Err()
}

// ArtifactDigest is the hex SHA-256 identity of the bytes at uri. told is what the
// user says that it is, or "": of bytes that only the platform reads, there is no
// other way to know.
func (c *Cloud) ArtifactDigest(ctx context.Context, uri, told string) (string, error) {
	if !slices.Contains(c.Features().UnreadSchemes, scheme(uri)) {
		return patiently(ctx, c, func() (string, error) { return c.driver.ArtifactDigest(ctx, uri) })
	}
	if told == "" {
		return "", mlerr.New(mlerr.InvalidArgument, "%s reads %s when it serves, and it cannot be read before", c.Features().Platform, uri).At("artifact.sha256").
			WithHint("Set artifact.sha256: of a file its SHA-256, of a directory the SHA-256 of a list with one line \"<SHA-256> <size> <path>\" for each file, sorted by path")
	}
	return told, nil
}

// Publishes reports whether applying spec to what is known would publish a
// version. It is true when that cannot be told yet.
func (c *Cloud) Publishes(spec *driver.ModelSpec, known *driver.ModelState) bool {
	if known == nil {
		return true
	}
	u := spec.Unknown
	told := spec.Artifact.Digest != "" // then it is all one where the bytes are
	if u.At("artifact.format") || u.At("artifact.sha256") || u.At("artifact.uri") && !told || u.In("serving") || u.In("encryption") {
		return true
	}
	newest := known.Newest()
	return newest == nil || newest.Phase == driver.Failed || !newest.Is(spec)
}

// ObserveModel reads a model; known is what the caller holds of it, or nil to
// read everything. Absent is NotFound.
func (c *Cloud) ObserveModel(ctx context.Context, key driver.Key, known *driver.ModelState) (*driver.ModelState, error) {
	seen, err := patiently(ctx, c, func() (*driver.ModelState, error) { return c.driver.ObserveModel(ctx, key, known) })
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot read %s", article(key, driver.KindModel))
	}
	seen.Unfinished = unfinishedModel(seen, known)
	return seen, nil
}

// unfinishedModel says what an apply has to do even if nothing that the user
// wrote differs: a killed apply leaves a version that no state knows of, and
// perhaps aliases and surplus versions that it did not come to.
func unfinishedModel(s, known *driver.ModelState) string {
	newest := s.Newest()
	switch {
	case s.Marks.Incomplete:
		return "its creation was not completed"
	case known == nil || newest == nil:
		return ""
	case known.Unfinished != "":
		return known.Unfinished
	case newest.Owned && known.Find(newest.Version) == nil:
		return "version " + newest.Version + " was published by a run that did not come to its end"
	}
	return ""
}

// ApplyModel makes the model what spec says and returns it as observed in the
// end. The state is there whenever the model is, also beside an error. spec is
// guaranteed to have passed CheckModel, with its digest known.
func (c *Cloud) ApplyModel(ctx context.Context, spec *driver.ModelSpec, how How) (*driver.ModelState, error) {
	run := &modelRun{converger: c.converger("model "+spec.Key.ID(), how), spec: spec}
	err := run.run(ctx, run.next, run.reason)
	if err != nil || run.seen == nil {
		seen := c.readBackModel(ctx, spec.Key)
		if seen != nil && err != nil {
			seen.Unfinished = "its last change failed"
		}
		return seen, err
	}
	return run.seen, nil
}

func (c *Cloud) readBackModel(ctx context.Context, key driver.Key) *driver.ModelState {
	ctx, stop := recoveryContext(ctx)
	defer stop()
	seen, err := c.driver.ObserveModel(ctx, key, nil)
	if err != nil {
		if !mlerr.Is(err, mlerr.NotFound) {
			c.log.Warn("cannot read back after a failure", "model", key.ID(), "error", err)
		}
		return nil
	}
	return seen
}

// modelRun is one ApplyModel.
type modelRun struct {
	*converger
	spec   *driver.ModelSpec
	seen   *driver.ModelState
	looked bool
	served map[string]bool // versions that the platform refused to delete because they are served
}

func (r *modelRun) reason() string {
	if r.seen == nil || r.seen.Newest() == nil {
		return ""
	}
	return r.seen.Newest().Reason
}

func (r *modelRun) next(ctx context.Context) (step, error) {
	seen, err := r.c.driver.ObserveModel(ctx, r.spec.Key, nil)
	if mlerr.Is(err, mlerr.NotFound) {
		seen, err = nil, nil
	}
	if err != nil {
		return step{}, mlerr.Annotate(err, "cannot read %s", r.what)
	}
	r.seen = seen
	if !r.looked {
		r.looked = true
		if r.how.Create && seen != nil && !seen.Marks.Incomplete && !r.complete() {
			return step{}, exists(r.spec.Key, driver.KindModel)
		}
	}
	return r.plan()
}

// complete reports whether the model already is what is wanted.
func (r *modelRun) complete() bool {
	newest := r.seen.Newest()
	return r.seen.Marks.Owned && newest != nil && newest.Is(r.spec) && r.versionEqual(newest) && r.modelEqual(newest)
}

func (r *modelRun) plan() (step, error) {
	d, spec, seen := r.c.driver, r.spec, r.seen
	if seen == nil && r.c.Features().VersionsMakeModel {
		return r.publishStep(), nil
	}
	if seen == nil {
		return step{name: "create", aim: "present", do: func(ctx context.Context) error { return d.CreateModel(ctx, spec) }}, nil
	}
	newest := seen.Newest()
	if newest == nil || !newest.Is(spec) {
		return r.publishStep(), nil
	}
	switch newest.Phase {
	case driver.Changing, driver.Deleting:
		return step{name: "wait until version " + newest.Version + " is registered", wait: true}, nil
	case driver.Failed:
		if r.begun["publish a version"] {
			return step{}, mlerr.New(mlerr.Failed, "%s: version %s could not be registered: %s", r.what, newest.Version, orUnsaid(newest.Reason))
		}
		// The failed one goes afterwards: a version published after the same
		// predecessor would be taken for a repetition of it.
		return r.publishStep(), nil
	}
	if !r.versionEqual(newest) {
		return step{name: "update version " + newest.Version, aim: strings.Join(r.versionAim(newest), ", "),
			do: func(ctx context.Context) error { return d.UpdateVersion(ctx, spec, newest) }}, nil
	}
	if !r.modelEqual(newest) {
		return step{name: "update", aim: strings.Join(r.modelAim(newest), ", "),
			do: func(ctx context.Context) error { return d.UpdateModel(ctx, spec, seen, newest.Version) }}, nil
	}
	if old := r.surplus(newest); old != "" {
		return r.deleteStep(old), nil
	}
	for i := range seen.Versions {
		if v := &seen.Versions[i]; v.Phase == driver.Deleting && r.begun["delete version "+v.Version] {
			return step{name: "wait for the deletion of version " + v.Version, wait: true}, nil
		}
	}
	return step{done: true}, nil
}

func (r *modelRun) publishStep() step {
	before := ""
	if r.seen != nil && len(r.seen.Versions) > 0 {
		before = r.seen.Versions[len(r.seen.Versions)-1].Version
	}
	aim := r.spec.VersionHash() + " after " + before
	return step{name: "publish a version", aim: aim, do: func(ctx context.Context) error {
		staged, err := r.c.driver.StageArtifact(ctx, r.spec)
		if err != nil {
			return mlerr.Annotate(err, "staging the artifact %s", r.spec.Artifact.URI)
		}
		return r.c.driver.PublishVersion(ctx, r.spec, staged, before)
	}}
}

func (r *modelRun) deleteStep(version string) step {
	return step{name: "delete version " + version, aim: "gone", do: func(ctx context.Context) error {
		err := r.c.driver.DeleteVersion(ctx, driver.VersionRef{Key: r.spec.Key, Version: version})
		if mlerr.Is(err, mlerr.InUse) {
			if r.served == nil {
				r.served = map[string]bool{}
			}
			r.served[version] = true
			return nil
		}
		return err
	}}
}

// surplus is a failed attempt at the newest version, or the oldest version of
// ours beyond those to retain that nothing is known to serve, or "".
func (r *modelRun) surplus(newest *driver.Version) string {
	owned := 0
	for i := range r.seen.Versions {
		if v := &r.seen.Versions[i]; v.Owned && v.Phase == driver.Failed && v.Hash == newest.Hash && v.Version != newest.Version {
			return v.Version
		}
	}
	for i := range r.seen.Versions {
		if r.seen.Versions[i].Owned && r.seen.Versions[i].Phase != driver.Deleting {
			owned++
		}
	}
	for i := range r.seen.Versions {
		v := &r.seen.Versions[i]
		if owned <= r.spec.RetainVersions {
			return ""
		}
		if !v.Owned || v.Phase == driver.Deleting || v.Version == newest.Version {
			continue
		}
		owned--
		if len(v.ServedBy) == 0 && !r.served[v.Version] {
			return v.Version
		}
	}
	return ""
}

func (r *modelRun) versionAim(v *driver.Version) []string {
	all := differences("approval", v.Approval, r.spec.Approval)
	return append(all, differences("metadata", v.Metadata, r.spec.Metadata)...)
}

func (r *modelRun) versionEqual(v *driver.Version) bool { return len(r.versionAim(v)) == 0 }

func (r *modelRun) modelAim(newest *driver.Version) []string {
	all := differences("description", r.seen.Description, r.spec.Description)
	all = append(all, differences("labels", r.seen.Labels, r.spec.Labels)...)
	all = append(all, differences("aliases", newest.Aliases, r.spec.Aliases)...)
	if r.seen.Marks.Incomplete {
		all = append(all, "incomplete")
	}
	return all
}

func (r *modelRun) modelEqual(newest *driver.Version) bool { return len(r.modelAim(newest)) == 0 }

// DestroyModel removes the model and its versions. Absent is success. A version
// that an endpoint serves, or one that somebody else published under our name,
// is InUse.
func (c *Cloud) DestroyModel(ctx context.Context, key driver.Key, limit time.Duration) error {
	r := c.converger("model "+key.ID(), How{Limit: limit})
	next := func(ctx context.Context) (step, error) {
		seen, err := c.driver.ObserveModel(ctx, key, nil)
		if mlerr.Is(err, mlerr.NotFound) {
			return step{done: true}, nil
		}
		if err != nil {
			return step{}, mlerr.Annotate(err, "cannot read %s", r.what)
		}
		if len(seen.Versions) > 0 {
			v := &seen.Versions[0]
			ref := driver.VersionRef{Key: key, Version: v.Version}
			switch {
			case seen.Marks.Owned && !v.Owned && !v.Adopted:
				return step{}, mlerr.New(mlerr.InUse, "%s also holds version %s, which is not ours", r.what, v.Version).
					WithHint("Delete that version with the tool that made it, then destroy again")
			case v.Phase == driver.Deleting:
				return step{name: "wait for the deletion of version " + v.Version, wait: true}, nil
			}
			return step{name: "delete version " + v.Version, aim: "gone",
				do: func(ctx context.Context) error { return c.driver.DeleteVersion(ctx, ref) }}, nil
		}
		return step{name: "delete", aim: "gone", do: func(ctx context.Context) error { return c.driver.DeleteModel(ctx, key) }}, nil
	}
	return r.run(ctx, next, func() string { return "" })
}
