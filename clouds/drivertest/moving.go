// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"context"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func testMoving(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	first := mustModel(t, p, modelSpec(t, h, p, "fraud", "one"), true)
	moved := movedSpec(t, h, p, "moved", reference(first))
	second := mustModel(t, p, moved, true)
	if got, want := second.Newest().Artifact.Digest, first.Newest().Artifact.Digest; got != want {
		t.Errorf("the digest is %s, and was %s", got, want)
	}
	if again := mustModel(t, p, moved, false); len(again.Versions) != 1 {
		t.Errorf("the same bytes were published again: %d versions", len(again.Versions))
	}
	third := mustModel(t, p, movedSpec(t, h, p, "further", reference(second)), true)
	if got, want := third.Newest().Artifact.Digest, first.Newest().Artifact.Digest; got != want {
		t.Errorf("moved again, the digest is %s, and was %s", got, want)
	}
	absent := reference(first)
	absent.Version = "77"
	for reason, ref := range map[string]driver.VersionRef{"a version that is not there": absent, "a model that is not there": {Key: movedSpec(t, h, p, "none", reference(first)).Key, Version: "1"}} {
		if _, err := p.Offer(p.ctx, ref); !mlerr.Is(err, mlerr.NotFound) || mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "" {
			t.Errorf("%s: %v at %q", reason, err, mlerr.PathOf(err))
		}
	}
}

// movedSpec is a model that takes the artifact of a version.
func movedSpec(t *testing.T, h Harness, p *process, name string, from driver.VersionRef) *driver.ModelSpec {
	t.Helper()
	offer, err := p.Offer(p.ctx, from)
	if err != nil {
		t.Fatalf("%s is not offered: %v (%s)", from, err, mlerr.Hint(err))
	}
	spec := modelSpec(t, h, p, name, "one")
	spec.Artifact.URI, spec.Artifact.Digest = from.String(), offer.Digest
	spec.Original = func(ctx context.Context) (driver.Original, error) {
		offer, err := p.Offer(ctx, from)
		if err != nil {
			return nil, err
		}
		return offer.Original, nil
	}
	return spec
}
