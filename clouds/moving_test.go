// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"slices"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestMoving(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]struct {
		moving bool
		code   mlerr.Code
	}{
		"sagemaker/eu-west-1/fraud@7":               {true, mlerr.Unknown},
		"vertex_ai/my-project/europe-west4/fraud@3": {true, mlerr.Unknown},
		"kubernetes/default/fraud@5":                {true, mlerr.Unknown},
		"sagemaker/eu-west-1/fraud@champion":        {true, mlerr.InvalidArgument}, // an alias is no version
		"vertex_ai/my-project/europe-west4/f@best":  {true, mlerr.InvalidArgument},
		"kubernetes/default/fraud@05":               {true, mlerr.InvalidArgument},
		"azure_ml/s/g/w/fraud@2.0":                  {true, mlerr.Unknown},         // where versions are texts
		"kubernetes/fraud@5":                        {true, mlerr.InvalidArgument}, // looks like one, and is none
		"./kubernetes/fraud@5":                      {false, mlerr.Unknown},
		"models/fraud@7.onnx":                       {false, mlerr.Unknown},
		"s3://bucket/sagemaker/eu/fraud@7":          {false, mlerr.Unknown},
		"":                                          {false, mlerr.Unknown},
	} {
		ref, moving, err := Moving(uri)
		if moving != want.moving || mlerr.CodeOf(err) != want.code || (err != nil && (mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "")) {
			t.Errorf("%q: %v, %v at %q", uri, moving, err, mlerr.PathOf(err))
		}
		if moving && err == nil && ref.String() != uri {
			t.Errorf("%q is read as %s", uri, ref)
		}
	}
}

// An offer tells the digest from the version's record; of a version that somebody
// else has published, from its bytes.
func TestOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.publish(t, "one")
	w.calls = nil
	offer, err := w.Offer(t.Context(), ref)
	if err != nil || offer.Digest != "digest of one" || offer.Original == nil {
		t.Fatalf("%+v, %v", offer, err)
	}
	if slices.Contains(w.calls, "GetArtifact") {
		t.Errorf("the bytes were read: %v", w.calls)
	}
	w.refuse["GetModel"] = mlerr.New(mlerr.Unavailable, "try again")
	if _, err := w.Offer(t.Context(), ref); err != nil {
		t.Errorf("a read that failed for a moment: %v", err)
	}
	w.platform.PutArtifact("mem://theirs", "digest of theirs")
	w.byHand("2", "")
	w.platform.EditModel(fraud, func(s *driver.ModelState) { s.Versions[1].Artifact.URI = "mem://theirs" })
	if offer, err := w.Offer(t.Context(), driver.VersionRef{Key: fraud, Version: "2"}); err != nil || offer.Digest != "digest of theirs" {
		t.Errorf("a version of somebody else's: %+v, %v", offer, err)
	}
	w.byHand("3", "")
	for reason, c := range map[string]struct {
		version string
		code    mlerr.Code
	}{"no such version": {"9", mlerr.NotFound}, "a container without an artifact": {"3", mlerr.Unsupported}} {
		_, err := w.Offer(t.Context(), driver.VersionRef{Key: fraud, Version: c.version})
		if !mlerr.Is(err, c.code) || mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "" {
			t.Errorf("%s: %v at %q", reason, err, mlerr.PathOf(err))
		}
	}
}

// Whether a version will be published is known when the digest is, wherever the
// bytes come from.
func TestPublishesWhenTheAddressIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	known, err := w.ObserveModel(t.Context(), fraud, nil)
	if err != nil {
		t.Fatal(err)
	}
	for reason, c := range map[string]struct {
		digest  string
		unknown string
		want    bool
	}{
		"the same bytes":                 {"digest of one", "artifact.uri", false},
		"other bytes":                    {"digest of two", "artifact.uri", true},
		"bytes that nobody knows yet":    {"", "artifact.uri", true},
		"a digest that is not known yet": {"digest of one", "artifact.sha256", true},
		"a format that is not known yet": {"digest of one", "artifact.format", true},
		"nothing is known yet":           {"digest of one", "artifact", true},
	} {
		spec := w.spec("one")
		spec.Artifact.Digest, spec.Unknown = c.digest, driver.Unknown{c.unknown: true}
		if got := w.Publishes(spec, known); got != c.want {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

// A model whose bytes come from elsewhere is checked as any other, and does not have
// to be of an address that the platform reads.
func TestCheckOfAMovedModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := w.spec("one")
	spec.Artifact.URI = "sagemaker/eu-west-1/fraud@7"
	if err := w.CheckModel(spec); err != nil {
		t.Error(err)
	}
	spec.Artifact.URI = "sagemaker/fraud@7"
	if err := w.CheckModel(spec); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
		t.Errorf("%v at %q", err, mlerr.PathOf(err))
	}
	spec = w.spec("one")
	spec.Artifact.Digest = "digest of another"
	spec.Original = nil
	_, err := w.ApplyModel(t.Context(), spec, How{Limit: time.Hour})
	wantCode(t, err, mlerr.InvalidArgument, "other bytes than were planned")
}
