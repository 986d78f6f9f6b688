// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The images that every cluster of our own has. Their programs are in
// tests/cluster/images.
const (
	Pause       = "ml.test/pause:1"           // holds a pod's namespaces
	ModelServer = "ml.test/modelserver:1"     // serves an ONNX model by the Open Inference Protocol
	Fetch       = "ml.test/fetch:1"           // KServe's storage initializer, with a shell and sha256sum
	Proxy       = "ml.test/kube-rbac-proxy:1" // the real one
	Services    = "ml.test/services:1"        // an object store, a registry, an issuer of tokens
)

// imagesFile is the archive of all images, in the state of a machine.
const imagesFile = "images.tar"

// Image is what a pod of this cluster calls one of the images above.
func (c *Cluster) Image(image string) string {
	if c.images == "" {
		return image
	}
	return c.images + strings.TrimPrefix(image, "ml.test")
}

// needImages skips a test when the cluster cannot have our images.
func (c *Cluster) needImages(t *testing.T) {
	t.Helper()
	if !c.Own() && c.images == "" {
		t.Skip("not installed: the images of the tests; push them with go run ./tests/cluster/push REGISTRY and set ML_TEST_IMAGES=REGISTRY")
	}
}

// ImportAs makes one of the images above known under other names too, such as those
// that presets give to pods. Only a cluster of our own can do that; another skips
// the test.
func (c *Cluster) ImportAs(t *testing.T, image string, names ...string) {
	t.Helper()
	if !c.Own() {
		t.Skip("not installed: images under other names; only a cluster of the tests' own has them")
	}
	for _, alias := range names {
		if _, err := c.machine.ctr(t.Context(), "images", "tag", "--force", image, familiar(alias)); err != nil {
			t.Fatal(err)
		}
	}
}

// familiar completes a name as container runtimes do.
func familiar(image string) string {
	host, _, ok := strings.Cut(image, "/")
	switch {
	case !ok:
		image = "docker.io/library/" + image
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		image = "docker.io/" + image
	}
	if last := image[strings.LastIndex(image, "/"):]; !strings.ContainsAny(last, ":@") {
		image += ":latest"
	}
	return image
}

// Push pushes the images to a registry, for a cluster that was there already.
func Push(ctx context.Context, registry string) error {
	at, err := findPlaces()
	if err != nil {
		return err
	}
	all, err := at.images(ctx, nil)
	if err != nil {
		return err
	}
	for _, image := range slices.Sorted(maps.Keys(all)) {
		ref, err := name.ParseReference(registry + strings.TrimPrefix(image, "ml.test"))
		if err != nil {
			return err
		}
		if err := remote.Write(ref, all[image], remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("pushing %s: %w", ref, err)
		}
	}
	return nil
}

// writeImages writes all images to one archive, as docker save does.
func (at places) writeImages(ctx context.Context, file string, ca []byte) error {
	all, err := at.images(ctx, ca)
	if err != nil {
		return err
	}
	tagged := map[name.Tag]v1.Image{}
	for image, content := range all {
		tag, err := name.NewTag(image)
		if err != nil {
			return err
		}
		tagged[tag] = content
	}
	return tarball.MultiWriteToFile(file, tagged)
}

// images builds the images. They trust ca.
func (at places) images(ctx context.Context, ca []byte) (map[string]v1.Image, error) {
	if err := at.build(ctx, at.programs, "./tests/cluster/images/..."); err != nil {
		return nil, err
	}
	all := map[string]v1.Image{}
	for image, content := range map[string]struct {
		entry string
		files map[string]string // path in the image: file, or link to
	}{
		Pause: {"/pause", map[string]string{"pause": filepath.Join(at.programs, "pause")}},
		// The other names are what presets call the servers that this one stands in for.
		ModelServer: {"/bin/modelserver", map[string]string{
			"bin/modelserver": filepath.Join(at.programs, "modelserver"), "bin/tritonserver": "modelserver", "bin/tensorflow_model_server": "modelserver",
			"bin/mlserver": "modelserver", "bin/torchserve": "modelserver", "bin/vllm": "modelserver",
		}},
		// Not busybox as the shell: it would take its own sha256sum, which knows less.
		Fetch: {"/bin/fetch", map[string]string{
			"bin/fetch": filepath.Join(at.programs, "fetch"), "bin/sha256sum": "fetch", "bin/sh": at.host("bash-static"),
			"bin/busybox": at.host("busybox"), "bin/cat": "busybox", "bin/ls": "busybox",
		}},
		Proxy:    {"/kube-rbac-proxy", map[string]string{"kube-rbac-proxy": filepath.Join(at.bin, "kube-rbac-proxy")}},
		Services: {"/services", map[string]string{"services": filepath.Join(at.programs, "services")}},
	} {
		layer, err := newLayer(content.files, ca)
		if err != nil {
			return nil, fmt.Errorf("making %s: %w", image, err)
		}
		if all[image], err = newImage(layer, content.entry); err != nil {
			return nil, fmt.Errorf("making %s: %w", image, err)
		}
	}
	return all, nil
}

func newImage(layer v1.Layer, entry string) (v1.Image, error) {
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{entry}, User: "65532:65532", Env: []string{"PATH=/bin", "SSL_CERT_FILE=/etc/ssl/ca.crt"}, WorkingDir: "/"}
	return mutate.ConfigFile(image, config)
}

// newLayer makes a layer of programs, links to them (whose target is no path), and
// the certificate to trust.
func newLayer(files map[string]string, ca []byte) (v1.Layer, error) {
	var b bytes.Buffer
	layer := tar.NewWriter(&b)
	add := func(header tar.Header, data []byte) error {
		header.Size = int64(len(data))
		if err := layer.WriteHeader(&header); err != nil {
			return err
		}
		_, err := layer.Write(data)
		return err
	}
	err := errors.Join(add(tar.Header{Name: "etc/ssl/ca.crt", Mode: 0o644}, ca), add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil))
	for _, file := range slices.Sorted(maps.Keys(files)) {
		source := files[file]
		if path.Base(source) == source {
			err = errors.Join(err, add(tar.Header{Name: file, Typeflag: tar.TypeSymlink, Linkname: source, Mode: 0o777}, nil))
			continue
		}
		data, e := os.ReadFile(source)
		if e != nil {
			return nil, e
		}
		err = errors.Join(err, add(tar.Header{Name: file, Mode: 0o755}, data))
	}
	if err := errors.Join(err, layer.Close()); err != nil {
		return nil, err
	}
	return static.NewLayer(b.Bytes(), types.DockerUncompressedLayer), nil
}
