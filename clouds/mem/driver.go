// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package mem

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Hook is called around every platform call of a driver. before is called
// ahead of the effect, after behind it; an error of either is the call's.
type Hook struct{ Before, After func(call string) error }

// Driver is a driver on a Platform.
type Driver struct {
	p        *Platform
	hook     Hook
	platform driver.Platform
	location string

	// Plain makes it a platform where a model is nothing but its versions, and where
	// nothing can be called that has no traffic.
	Plain bool
}

// Open makes a driver. It answers as the platform it is told to stand for.
func Open(p *Platform, platform driver.Platform, location string, hook Hook) *Driver {
	return &Driver{p: p, hook: hook, platform: platform, location: location}
}

var _ driver.Driver = (*Driver)(nil)

// call runs one platform call between its hooks.
func (d *Driver) call(name string, effect func() error) error {
	if d.hook.Before != nil {
		if err := d.hook.Before(name); err != nil {
			return err
		}
	}
	d.p.mu.Lock()
	err := effect()
	d.p.mu.Unlock()
	if d.hook.After != nil {
		if lost := d.hook.After(name); lost != nil {
			return lost
		}
	}
	return err
}

// Features says what the reference platform does: nearly everything.
func (d *Driver) Features() *driver.Features {
	f := &driver.Features{Platform: d.platform, TestBeforeTraffic: true, ArtifactSchemes: []string{"file", "mem"}, Carried: []string{"auth.mode"},
		Gaps: []driver.Gap{{Path: "auth.mode", Values: []string{"mtls"}, Reason: "has no mutual TLS", Alternative: "Use auth.mode = \"iam\"."}}}
	if d.Plain {
		f.VersionsMakeModel, f.TestBeforeTraffic, f.SmokeTestBy = true, false, "it is tested on an endpoint of its own"
	}
	return f
}

// Locate returns location or the default.
func (d *Driver) Locate(location string) (string, error) {
	if location == "" {
		location = d.location
	}
	if location == "" {
		return "", mlerr.New(mlerr.InvalidArgument, "no location").At("location")
	}
	return location, nil
}

// ParseNativeID understands "mem:<id>".
func (d *Driver) ParseNativeID(_ driver.Kind, id string) (driver.Key, bool) {
	if len(id) > 4 && id[:4] == "mem:" {
		return driver.ParseID(id[4:])
	}
	return driver.Key{}, false
}

// PrepareModel accepts everything.
func (d *Driver) PrepareModel(*driver.ModelSpec) error { return nil }

// PrepareEndpoint resolves portable compute into the one instance type there is.
func (d *Driver) PrepareEndpoint(spec *driver.EndpointSpec) error {
	for i := range spec.Deployments {
		c := &spec.Deployments[i].Compute
		if c.InstanceType == "" {
			c.InstanceType = "mem.small"
		}
		if c.InstanceType != "mem.small" && c.InstanceType != "mem.large" {
			return mlerr.New(mlerr.InvalidArgument, "no instance type %q", c.InstanceType).
				At("deployments.%s.compute.instance_type", spec.Deployments[i].Name).WithHint("Use mem.small or mem.large")
		}
	}
	return nil
}

// ArtifactDigest looks among the artifacts that were put.
func (d *Driver) ArtifactDigest(_ context.Context, uri string) (digest string, err error) {
	err = d.call("GetArtifact", func() error {
		var ok bool
		if digest, ok = d.p.artifacts[uri]; !ok {
			return mlerr.New(mlerr.NotFound, "nothing at %s", uri).At("artifact.uri")
		}
		return nil
	})
	return digest, err
}

// ObserveModel reads a model.
func (d *Driver) ObserveModel(_ context.Context, key driver.Key, _ *driver.ModelState) (state *driver.ModelState, err error) {
	err = d.call("GetModel", func() error {
		m := d.p.models[key.ID()]
		if m == nil {
			return mlerr.New(mlerr.NotFound, "no model %s", key.ID())
		}
		copied := deepCopy(m.state)
		for i := range copied.Versions {
			copied.Versions[i].ServedBy = d.p.serves(driver.VersionRef{Key: key, Version: copied.Versions[i].Version})
		}
		state = &copied
		return nil
	})
	return state, err
}

// ObserveVersion reads one version.
func (d *Driver) ObserveVersion(ctx context.Context, ref driver.VersionRef) (*driver.Version, error) {
	m, err := d.ObserveModel(ctx, ref.Key, nil)
	if err != nil {
		return nil, err
	}
	if v := m.Find(ref.Version); v != nil {
		return v, nil
	}
	return nil, mlerr.New(mlerr.NotFound, "no version %s", ref)
}

// CreateModel makes the name.
func (d *Driver) CreateModel(_ context.Context, spec *driver.ModelSpec) error {
	return d.call("CreateModel", func() error {
		if m := d.p.models[spec.Key.ID()]; m != nil {
			if !m.state.Marks.Owned {
				return mlerr.New(mlerr.AlreadyExists, "model %s exists", spec.Key.ID())
			}
			return nil
		}
		d.p.models[spec.Key.ID()] = newModel(spec)
		return nil
	})
}

func newModel(spec *driver.ModelSpec) *model {
	return &model{next: 1, state: driver.ModelState{Key: spec.Key, NativeID: "mem:" + spec.Key.ID(),
		Marks: driver.Marks{Owned: true, Incomplete: true}, EncryptionKey: spec.EncryptionKey}}
}

// StageArtifact has nothing to copy. Of what another platform offers it reads the
// digest, which is all that there is of it.
func (d *Driver) StageArtifact(ctx context.Context, spec *driver.ModelSpec) (string, error) {
	var digest string
	var err error
	if spec.Original == nil {
		digest, err = d.ArtifactDigest(ctx, spec.Artifact.URI)
	} else if offered, refused := spec.Original(ctx); refused == nil {
		digest, err = digestOf(ctx, offered)
	} else {
		err = refused
	}
	if err == nil && digest != spec.Artifact.Digest {
		err = mlerr.New(mlerr.InvalidArgument, "the bytes at %s changed since the plan", spec.Artifact.URI).At("artifact.uri")
	}
	return "mem://staged/" + spec.Artifact.Digest, err
}

// digestOf reads what an original of this package holds.
func digestOf(ctx context.Context, o driver.Original) (digest string, err error) {
	var open func(context.Context) (io.ReadCloser, error)
	if _, err := o.Files(ctx, func(_ string, _ int64, opener func(context.Context) (io.ReadCloser, error)) { open = opener }); err != nil {
		return "", err
	}
	r, err := open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

// original is an artifact of one file that holds its digest.
type original string

func (o original) Files(_ context.Context, give func(path string, size int64, open func(context.Context) (io.ReadCloser, error))) (bool, error) {
	give("artifact", int64(len(o)), func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(o))), nil })
	return true, nil
}

// OpenArtifact offers the artifact of a version that was published.
func (d *Driver) OpenArtifact(_ context.Context, ref driver.VersionRef, v *driver.Version) (offered driver.Original, err error) {
	err = d.call("GetStaged", func() error {
		if v.Artifact.URI == "" {
			return mlerr.New(mlerr.Unsupported, "version %s has no artifact", ref).At("artifact.uri").WithHint("Give the artifact itself")
		}
		offered = original(v.Artifact.Digest)
		return nil
	})
	return offered, err
}

// PublishVersion makes the next version unless the one after newest is there.
func (d *Driver) PublishVersion(_ context.Context, spec *driver.ModelSpec, staged, newest string) error {
	return d.call("PublishVersion", func() error {
		m := d.p.models[spec.Key.ID()]
		if m == nil && d.Plain {
			m = newModel(spec)
			d.p.models[spec.Key.ID()] = m
		}
		if m == nil {
			return mlerr.New(mlerr.NotFound, "no model %s", spec.Key.ID())
		}
		if n := len(m.state.Versions); n > 0 && m.state.Versions[n-1].Version != newest && m.state.Versions[n-1].Hash == spec.VersionHash() {
			return nil
		}
		artifact := spec.Artifact
		artifact.URI = staged
		m.state.Versions = append(m.state.Versions, driver.Version{Version: strconv.Itoa(m.next), Owned: true, Hash: spec.VersionHash(),
			NativeID: fmt.Sprintf("mem:%s@%d", spec.Key.ID(), m.next), Artifact: artifact, Serving: spec.Serving,
			Approval: driver.Pending, Phase: driver.Ready, CreatedAt: d.p.clock.Now()})
		m.next++
		return nil
	})
}

// UpdateModel sets what is mutable of the name.
func (d *Driver) UpdateModel(_ context.Context, spec *driver.ModelSpec, _ *driver.ModelState, current string) error {
	return d.call("UpdateModel", func() error {
		m := d.p.models[spec.Key.ID()]
		if m == nil {
			return mlerr.New(mlerr.NotFound, "no model %s", spec.Key.ID())
		}
		m.state.Description, m.state.Labels = spec.Description, spec.Labels
		adopting := !m.state.Marks.Owned
		m.state.Marks = driver.Marks{Owned: true}
		for i := range m.state.Versions {
			v := &m.state.Versions[i]
			v.Adopted = v.Adopted || (adopting && !v.Owned)
			v.Aliases = without(v.Aliases, spec.Aliases)
			if v.Version == current {
				v.Aliases = append([]string(nil), spec.Aliases...)
				sort.Strings(v.Aliases)
			}
		}
		return nil
	})
}

func without(all, drop []string) []string {
	var kept []string
	for _, a := range all {
		found := false
		for _, b := range drop {
			found = found || a == b
		}
		if !found {
			kept = append(kept, a)
		}
	}
	return kept
}

// UpdateVersion sets what is mutable of a version.
func (d *Driver) UpdateVersion(_ context.Context, spec *driver.ModelSpec, seen *driver.Version) error {
	return d.call("UpdateVersion", func() error {
		if m := d.p.models[spec.Key.ID()]; m != nil {
			if v := m.state.Find(seen.Version); v != nil {
				v.Approval, v.Metadata = spec.Approval, spec.Metadata
				return nil
			}
		}
		return mlerr.New(mlerr.NotFound, "no version %s", seen.Version)
	})
}

// DeleteVersion refuses a version that is served.
func (d *Driver) DeleteVersion(_ context.Context, ref driver.VersionRef) error {
	return d.call("DeleteVersion", func() error {
		m := d.p.models[ref.Key.ID()]
		if m == nil {
			return nil
		}
		if by := d.p.serves(ref); len(by) > 0 {
			return mlerr.New(mlerr.InUse, "version %s is served by %v", ref, by)
		}
		for i := range m.state.Versions {
			if m.state.Versions[i].Version == ref.Version {
				m.state.Versions = append(m.state.Versions[:i], m.state.Versions[i+1:]...)
				break
			}
		}
		if d.Plain && len(m.state.Versions) == 0 {
			delete(d.p.models, ref.Key.ID())
		}
		return nil
	})
}

// DeleteModel refuses a name that holds versions.
func (d *Driver) DeleteModel(_ context.Context, key driver.Key) error {
	return d.call("DeleteModel", func() error {
		if m := d.p.models[key.ID()]; m != nil && len(m.state.Versions) > 0 {
			return mlerr.New(mlerr.InUse, "model %s holds versions", key.ID())
		}
		delete(d.p.models, key.ID())
		return nil
	})
}

// Credentials are a key that says whose it is.
func (d *Driver) Credentials(ctx context.Context, key driver.Key) (*driver.Credentials, error) {
	state, err := d.ObserveEndpoint(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	return &driver.Credentials{URL: state.URL, Mode: state.Settings.Auth.Mode, Keys: map[string]secret.String{"primary": secret.New("key of " + key.Name)}}, nil
}

// Invoke answers with what serves.
func (d *Driver) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	state, err := d.ObserveEndpoint(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(state.Deployments, func(dep driver.DeploymentState) bool {
		called := dep.ID == id || id == ""
		return dep.Phase == driver.Ready && called && (dep.Traffic > 0 || id != "" && !d.Plain)
	})
	if at < 0 {
		return nil, mlerr.New(mlerr.Unavailable, "nothing of %s is ready", key.ID())
	}
	dep := &state.Deployments[at]
	body, err := json.Marshal(map[string]any{"model": dep.Model.Key.Name, "version": dep.Model.Version,
		"deployment": dep.Name, "echo": json.RawMessage(req.Body)})
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	return &driver.Response{Status: d.p.answer(key, dep).status, Body: body, Deployment: dep.Name}, err
}

func deepCopy[T any](v T) T {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
