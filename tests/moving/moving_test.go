// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package moving_test moves models among all platforms, through their drivers and
// the core, against the emulators.
package moving_test

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/go-cmp/cmp"
	registryname "github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/clouds/sagemaker"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// world is the platforms of one emulator, by name. "kubernetes-oci" is the same
// cluster, with artifacts in a registry.
type world struct {
	t      *testing.T
	dir    string
	server *emulator.Server
	clouds map[string]*clouds.Cloud

	registry string // of images
}

const (
	bucket  = "ml-staging"
	account = "mlstaging" // of Azure storage, where the bucket is a container
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clouds: map[string]*clouds.Cloud{}}
	server, err := emulator.Start(emulator.Options{StateDir: w.dir, Speed: 1000})
	w.must(err)
	w.server = server
	t.Cleanup(func() { _ = server.Close() })
	w.must(s3.EnsureBucket(filepath.Join(w.dir, "s3"), bucket))
	w.must(gcs.EnsureBucket(filepath.Join(w.dir, "gcs"), bucket))
	w.must(azblob.EnsureContainer(filepath.Join(w.dir, "azblob"), account, bucket))
	w.must(server.EnsureNamespace(t.Context(), "ml"))
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	w.registry = strings.TrimPrefix(images.URL, "http://")
	urls := server.Endpoints()
	w.open("sagemaker", func() (driver.Driver, error) {
		return sagemaker.Open(sagemaker.Config{Region: "eu-west-1", AccessKey: "test", SecretKey: secret.New("test"), EndpointURL: urls["sagemaker"], Isolated: true,
			ExecutionRoleARN: "arn:aws:iam::123456789012:role/serving", StagingURI: "s3://" + bucket + "/aws"})
	})
	cluster := func(staging string) func() (driver.Driver, error) {
		return func() (driver.Driver, error) {
			return kubernetes.Open(kubernetes.Config{Host: urls["kubernetes"], Isolated: true, Namespace: "ml", StagingURI: staging,
				S3: kubernetes.S3{Region: "eu-west-1", EndpointURL: urls["s3"], AccessKey: secret.New("test"), SecretKey: secret.New("test")}})
		}
	}
	w.open("kubernetes", cluster("s3://"+bucket+"/cluster"))
	w.open("kubernetes-oci", cluster("oci://"+w.registry+"/ml/models"))
	w.open("vertex_ai", func() (driver.Driver, error) {
		return vertexai.Open(vertexai.Config{Project: "p1", Region: "europe-west4", StagingURI: "gs://" + bucket + "/google",
			EndpointURL: urls["vertex_ai"], StorageEndpointURL: urls["gcs"], Isolated: true})
	})
	w.openAzure(urls)
	return w
}

// openAzure opens a workspace that knows the container where artifacts are staged.
func (w *world) openAzure(urls map[string]string) {
	w.t.Helper()
	const subscription, group, workspace = "00000000-0000-0000-0000-000000000001", "models", "team"
	config := azure.Config{SubscriptionID: subscription, EndpointURL: urls["azure_ml"], Isolated: true}
	signedIn, err := azure.Open(config)
	w.must(err)
	stores, err := armmachinelearning.NewDatastoresClient(subscription, signedIn.Credential(), signedIn.ClientOptions())
	w.must(err)
	_, err = stores.CreateOrUpdate(w.t.Context(), group, workspace, "staging", armmachinelearning.Datastore{Properties: &armmachinelearning.AzureBlobDatastore{
		DatastoreType: new(armmachinelearning.DatastoreTypeAzureBlob), AccountName: new(account), ContainerName: new(bucket),
		Credentials: &armmachinelearning.NoneDatastoreCredentials{CredentialsType: new(armmachinelearning.CredentialsTypeNone)}}}, nil)
	w.must(err)
	w.open("azure_ml", func() (driver.Driver, error) {
		return azureml.Open(azureml.Config{Account: config, ResourceGroup: group, Workspace: workspace,
			StagingURI: "https://" + account + ".blob.core.windows.net/" + bucket + "/azure", StorageEndpointURL: urls["azblob"]})
	})
}

func (w *world) open(name string, open func() (driver.Driver, error)) {
	w.t.Helper()
	d, err := open()
	w.must(err)
	w.clouds[name] = clouds.New(d, clouds.Options{})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v (%s)", err, mlerr.Hint(err))
	}
}

func (w *world) key(on, name string) driver.Key {
	w.t.Helper()
	return w.keyAt(on, "", name)
}

// keyAt is a key in a location, "" for the usual one.
func (w *world) keyAt(on, location, name string) driver.Key {
	w.t.Helper()
	c := w.clouds[on]
	key, err := c.Key(c.Features().Platform, location, strings.ReplaceAll(name, "_", "-"))
	w.must(err)
	return key
}

// register publishes what is at an address, and returns the version.
func (w *world) register(on, name, uri, format string) (driver.VersionRef, *driver.Version) {
	w.t.Helper()
	c := w.clouds[on]
	spec := &driver.ModelSpec{Key: w.key(on, name), Artifact: driver.Artifact{URI: uri, Format: format}, Serving: serving(on, format), Approval: driver.Approved, RetainVersions: 10}
	w.must(c.CheckModel(spec))
	var err error
	spec.Artifact.Digest, err = c.ArtifactDigest(w.t.Context(), uri, "")
	w.must(err)
	return w.apply(on, spec)
}

func (w *world) apply(on string, spec *driver.ModelSpec) (driver.VersionRef, *driver.Version) {
	w.t.Helper()
	return w.change(on, spec, clouds.How{Create: true, Limit: time.Minute})
}

func (w *world) change(on string, spec *driver.ModelSpec, how clouds.How) (driver.VersionRef, *driver.Version) {
	w.t.Helper()
	state, err := w.clouds[on].ApplyModel(w.t.Context(), spec, how)
	w.must(err)
	v := state.Newest()
	return driver.VersionRef{Key: state.Key, Version: v.Version}, v
}

// move registers the artifact of a version elsewhere.
func (w *world) move(from string, ref driver.VersionRef, on, name, format string) (driver.VersionRef, *driver.Version) {
	w.t.Helper()
	return w.apply(on, w.movedSpec(from, ref, on, w.key(on, name), format))
}

// movedSpec is a model whose artifact is that of a version.
func (w *world) movedSpec(from string, ref driver.VersionRef, on string, key driver.Key, format string) *driver.ModelSpec {
	w.t.Helper()
	offer, err := w.clouds[from].Offer(w.t.Context(), ref)
	w.must(err)
	spec := &driver.ModelSpec{Key: key, Artifact: driver.Artifact{URI: ref.String(), Format: format, Digest: offer.Digest},
		Serving: serving(on, format), Approval: driver.Approved, RetainVersions: 10, Original: func(context.Context) (driver.Original, error) { return offer.Original, nil }}
	w.must(w.clouds[on].CheckModel(spec))
	return spec
}

// serving is what serves a format where no preset does.
func serving(on, format string) driver.Serving {
	if on == "azure_ml" && format == "huggingface" {
		return driver.Serving{Image: "registry.azurecr.io/generate:1", Port: 8080, PredictPath: "/generate", HealthPath: "/health"}
	}
	return driver.Serving{}
}

// contents are the files that a platform offers of a version.
func (w *world) contents(on string, ref driver.VersionRef) (files map[string]string, single bool) {
	w.t.Helper()
	offer, err := w.clouds[on].Offer(w.t.Context(), ref)
	w.must(err)
	files = map[string]string{}
	single, err = offer.Original.Files(w.t.Context(), func(path string, _ int64, open func(context.Context) (io.ReadCloser, error)) {
		r, err := open(w.t.Context())
		w.must(err)
		text, err := io.ReadAll(r)
		w.must(err)
		w.must(r.Close())
		files[path] = string(text)
	})
	w.must(err)
	return files, single
}

// tree writes files, and returns the path of the only one, or of their directory.
func (w *world) tree(files map[string]string, single bool) string {
	w.t.Helper()
	dir := w.t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		w.must(os.MkdirAll(filepath.Dir(path), 0o750))
		w.must(os.WriteFile(path, []byte(content), 0o600))
		if single {
			return path
		}
	}
	return dir
}

var models = []struct {
	format string
	single bool
	files  map[string]string
}{
	{"onnx", true, map[string]string{"fraud.onnx": "graph"}},
	{"triton", false, map[string]string{"fraud/config.pbtxt": "backend: \"onnxruntime\"", "fraud/1/model.onnx": "graph"}},
	{"xgboost", true, map[string]string{"fraud.ubj": "trees"}},
	{"sklearn", true, map[string]string{"forest.joblib": "trees"}},
	{"sklearn", false, map[string]string{"forest.joblib": "trees", "notes.md": "n"}},
	{"tensorflow", false, map[string]string{"3/saved_model.pb": "p", "3/variables/variables.index": "v"}},
	{"tensorflow", false, map[string]string{"3/saved_model.pb": "p", "3/variables/variables.index": "v", "README.md": "r"}},
	{"huggingface", false, map[string]string{"config.json": "{}", "deep/weights": "w"}},
}

// A model goes from every platform to every other, and on from there, and is the
// same bytes with the same digest each time, in the shape that each runtime wants.
func TestEveryDirection(t *testing.T) {
	t.Parallel()
	for _, m := range models {
		name := m.format + " " + strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(m.files)), " "), "/", ":")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			names := slices.Sorted(maps.Keys(w.clouds))
			path := w.tree(m.files, m.single)
			for _, from := range names {
				ref, first := w.register(from, "from-"+from, path, m.format)
				for _, to := range names {
					moved, there := w.move(from, ref, to, "from-"+from+"-to-"+to, m.format)
					if there.Artifact.Digest != first.Artifact.Digest || there.Phase != driver.Ready {
						t.Errorf("%s to %s: the digest is %s (%s), and was %s", from, to, there.Artifact.Digest, there.Phase, first.Artifact.Digest)
					}
					files, single := w.contents(to, moved)
					if single != m.single || !m.single && !cmp.Equal(files, m.files) || m.single && !slices.Equal(values(files), values(m.files)) {
						t.Errorf("%s to %s: the artifact is %v (single %v), and was %v", from, to, files, single, m.files)
					}
					back, again := w.move(to, moved, from, "from-"+from+"-to-"+to+"-and-back", m.format)
					if again.Artifact.Digest != first.Artifact.Digest {
						t.Errorf("%s to %s and back: %s has the digest %s, and had %s", from, to, back, again.Artifact.Digest, first.Artifact.Digest)
					}
				}
			}
		})
	}
}

func values(m map[string]string) []string { return slices.Sorted(maps.Values(m)) }

// What cannot be moved is refused before anything is done, at artifact.uri.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func(reason string, err error, code mlerr.Code, says string) {
		t.Helper()
		if !mlerr.Is(err, code) || mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "" || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v (%s) at %q with the hint %q; want %s …%s…", reason, err, mlerr.CodeOf(err), mlerr.PathOf(err), mlerr.Hint(err), code, says)
		}
	}
	offer := func(on string, ref driver.VersionRef) error {
		_, err := w.clouds[on].Offer(t.Context(), ref)
		return err
	}
	for _, on := range []string{"sagemaker", "kubernetes", "vertex_ai", "azure_ml"} {
		refused("no model "+on, offer(on, driver.VersionRef{Key: w.key(on, "none"), Version: "1"}), mlerr.NotFound, "no such version")
	}
	ref, v := w.register("sagemaker", "fraud", w.tree(map[string]string{"fraud.onnx": "graph"}, true), "onnx")
	at, err := artifact.Parse(v.Artifact.URI)
	w.must(err)
	w.must(s3.Put(filepath.Join(w.dir, "s3"), at.Bucket, at.Key, strings.NewReader("something else")))
	w.must(gcs.Put(filepath.Join(w.dir, "gcs"), bucket, "fraud/model.onnx", strings.NewReader("graph")))
	target := &driver.ModelSpec{Key: w.key("vertex_ai", "fraud"), Artifact: driver.Artifact{URI: ref.String(), Format: "onnx", Digest: v.Artifact.Digest}, Approval: driver.Approved, RetainVersions: 1,
		Original: func(ctx context.Context) (driver.Original, error) {
			offer, err := w.clouds["sagemaker"].Offer(ctx, ref)
			if err != nil {
				return nil, err
			}
			return offer.Original, nil
		}}
	w.must(w.clouds["vertex_ai"].CheckModel(target))
	_, err = w.clouds["vertex_ai"].ApplyModel(t.Context(), target, clouds.How{Create: true, Limit: time.Minute})
	refused("other bytes than were registered", err, mlerr.InvalidArgument, "archive")

	for name, c := range map[string]struct{ uri, format, says string }{
		"volume":  {"pvc://models/fraud/", "huggingface", "only pods can read pvc://models/fraud/"},
		"web":     {"https://models.example/fraud.ubj", "xgboost", "only pods can read https://models.example/fraud.ubj"},
		"storage": {"gs://models/fraud/", "huggingface", "only pods can read gs://models/fraud/"},
		"image":   {w.image("theirs"), "huggingface", "an image that was not made of an artifact"},
	} {
		spec := &driver.ModelSpec{Key: w.key("kubernetes", name), Artifact: driver.Artifact{URI: c.uri, Format: c.format}, Approval: driver.Approved, RetainVersions: 1}
		w.must(w.clouds["kubernetes"].CheckModel(spec))
		spec.Artifact.Digest, err = w.clouds["kubernetes"].ArtifactDigest(t.Context(), c.uri, strings.Repeat("0", 64))
		w.must(err)
		there, _ := w.apply("kubernetes", spec)
		refused(name, offer("kubernetes", there), mlerr.Unsupported, c.says)
	}
	for uri, says := range map[string]string{"sagemaker/fraud@7": "is no version_id", "sagemaker/eu-west-1/fraud@champion": "versions on sagemaker have numbers"} {
		spec := &driver.ModelSpec{Key: w.key("kubernetes", "moved"), Artifact: driver.Artifact{URI: uri, Format: "onnx"}, Approval: driver.Approved, RetainVersions: 1}
		refused(uri, w.clouds["kubernetes"].CheckModel(spec), mlerr.InvalidArgument, says)
	}
}

// image is the address of an image that somebody else has pushed.
func (w *world) image(name string) string {
	w.t.Helper()
	made, err := random.Image(10, 1)
	w.must(err)
	ref, err := registryname.ParseReference(w.registry + "/" + name + ":1")
	w.must(err)
	w.must(remote.Write(ref, made))
	return "oci://" + w.registry + "/" + name + ":1"
}
