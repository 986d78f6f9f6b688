// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package moving_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// A model moves to another place of the same platform: a region, a project, a namespace.
func TestAnotherLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.server.EnsureNamespace(t.Context(), "other"))
	for on, locations := range map[string][]string{"sagemaker": {"us-east-1"}, "vertex_ai": {"us-central1", "other-project/us-central1"}, "kubernetes": {"other"}} {
		ref, first := w.register(on, "fraud", w.tree(map[string]string{"fraud.onnx": "graph of " + on}, true), "onnx")
		for _, location := range locations {
			there, v := w.apply(on, w.movedSpec(on, ref, on, w.keyAt(on, location, "fraud"), "onnx"))
			if there.Key.Location == ref.Key.Location || v.Artifact.Digest != first.Artifact.Digest {
				t.Errorf("%s is moved to %s with the digest %s, and had %s", ref, there, v.Artifact.Digest, first.Artifact.Digest)
			}
			if files, single := w.contents(on, there); !single || len(files) != 1 {
				t.Errorf("%s offers %v", there, files)
			}
		}
	}
}

// An earlier version of the same model comes back as the newest, also when it is the
// one that has to go for it.
func TestEarlierVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, on := range []string{"sagemaker", "vertex_ai", "kubernetes"} {
		ref, first := w.register(on, "fraud", w.tree(map[string]string{"fraud.onnx": "one"}, true), "onnx")
		if again := w.movedSpec(on, ref, on, ref.Key, "onnx"); w.publishes(on, again) {
			t.Errorf("%s: the model is its own artifact, and is to be published again", on)
		}
		two := &driver.ModelSpec{Key: ref.Key, Artifact: driver.Artifact{URI: w.tree(map[string]string{"fraud.onnx": "two"}, true), Format: "onnx"}, Approval: driver.Approved, RetainVersions: 2}
		w.must(w.clouds[on].CheckModel(two))
		var err error
		two.Artifact.Digest, err = w.clouds[on].ArtifactDigest(t.Context(), two.Artifact.URI, "")
		w.must(err)
		w.change(on, two, clouds.How{Limit: time.Minute})
		back := w.movedSpec(on, ref, on, ref.Key, "onnx")
		back.RetainVersions = 2
		newest, v := w.change(on, back, clouds.How{Limit: time.Minute})
		if newest.Version != "3" || v.Artifact.Digest != first.Artifact.Digest {
			t.Errorf("%s: version 1 has come back as %s with the digest %s, and had %s", on, newest, v.Artifact.Digest, first.Artifact.Digest)
		}
		if _, err := w.clouds[on].Offer(t.Context(), ref); !mlerr.Is(err, mlerr.NotFound) {
			t.Errorf("%s: two versions are retained, and the first is still there: %v", on, err)
		}
	}
}

func (w *world) publishes(on string, spec *driver.ModelSpec) bool {
	w.t.Helper()
	known, err := w.clouds[on].ObserveModel(w.t.Context(), spec.Key, nil)
	w.must(err)
	return w.clouds[on].Publishes(spec, known)
}

// A copy that breaks off registers nothing, and goes on with what has not arrived.
func TestInterruptedCopy(t *testing.T) {
	t.Parallel()
	files := map[string]string{"config.json": "{}"}
	for _, name := range []string{"a", "b", "c", "d"} {
		files[name+"/weights"] = "weights " + name
	}
	for to, call := range map[string]string{"vertex_ai": "gcs.objects.insert", "kubernetes": "s3.PutObject"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ref, _ := w.register("sagemaker", "fraud", w.tree(files, false), "huggingface")
			spec := w.movedSpec("sagemaker", ref, to, w.key(to, "fraud"), "huggingface")
			faults := filepath.Join(w.dir, "faults.json")
			w.must(os.WriteFile(faults, []byte(`{"faults":[{"call":"`+call+`","occurrence":3,"action":"error","code":"AccessDenied","status":403,"message":"not this one"}]}`), 0o600))
			_, err := w.clouds[to].ApplyModel(t.Context(), spec, clouds.How{Create: true, Limit: time.Minute})
			if !mlerr.Is(err, mlerr.PermissionDenied) || !strings.Contains(err.Error(), "not this one") {
				t.Fatalf("the copy breaks off with %v", err)
			}
			if _, err := w.clouds[to].Offer(t.Context(), driver.VersionRef{Key: spec.Key, Version: "1"}); !mlerr.Is(err, mlerr.NotFound) {
				t.Errorf("a version is registered whose bytes are not there: %v", err)
			}
			w.must(os.Remove(faults))
			before := w.calls(call)
			moved, v := w.apply(to, w.movedSpec("sagemaker", ref, to, spec.Key, "huggingface"))
			if n := w.calls(call) - before; n != len(files)-2+1 { // two have arrived, and a marker says that all have
				t.Errorf("%d objects are written, of %d files of which two have arrived", n, len(files))
			}
			if got, _ := w.contents(to, moved); !maps.Equal(got, files) || v.Phase != driver.Ready {
				t.Errorf("the artifact has other files: %s", cmp.Diff(files, got))
			}
		})
	}
}

// calls counts those of a name.
func (w *world) calls(name string) int {
	w.t.Helper()
	all, err := w.server.Calls()
	w.must(err)
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return len(slices.DeleteFunc(names, func(n string) bool { return n != name }))
}
