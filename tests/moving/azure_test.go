// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package moving_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The same bytes have the same digest by every address that Azure has for them, and
// are published once; an address that stands for nothing is refused.
func TestAddressesOfAzure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := filepath.Join(w.dir, "azblob")
	w.must(azblob.Put(store, account, bucket, "given/fraud.onnx", strings.NewReader("graph")))
	for name, text := range map[string]string{"MLmodel": "flavors: {}", "data/model.pkl": "trees"} {
		w.must(azblob.Put(store, account, bucket, "given/forest/"+name, strings.NewReader(text)))
	}
	const long = "azureml://subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/models/workspaces/team/"
	container := "https://" + account + ".blob.core.windows.net/" + bucket + "/"
	file, _ := w.register("azure_ml", "file", w.tree(map[string]string{"fraud.onnx": "graph"}, true), "onnx")
	tree, _ := w.register("azure_ml", "tree", w.tree(map[string]string{"MLmodel": "flavors: {}", "data/model.pkl": "trees"}, false), "mlflow")
	for _, c := range []struct {
		format    string
		model     string
		version   string
		addresses []string
	}{
		{"onnx", "file", file.Version, []string{container + "given/fraud.onnx", "azureml://datastores/staging/paths/given/fraud.onnx", long + "datastores/staging/paths/given/fraud.onnx",
			"azureml://models/file/versions/" + file.Version, long + "models/file/versions/" + file.Version}},
		{"mlflow", "tree", tree.Version, []string{container + "given/forest/", container + "given/forest", "azureml://datastores/staging/paths/given/forest", "azureml://datastores/staging/paths/given/forest/", "azureml://models/tree/versions/" + tree.Version}},
	} {
		for _, address := range c.addresses {
			if ref, v := w.register("azure_ml", c.model, address, c.format); ref.Version != c.version {
				t.Errorf("%s has the digest %s and is version %s, and the same bytes are version %s", address, v.Artifact.Digest, ref.Version, c.version)
			}
		}
	}
	for reason, address := range map[string]string{
		"no blob": container + "given/none.onnx", "no container": strings.Replace(container, bucket, "other", 1) + "x", "nothing below a prefix": container + "none/",
		"no datastore": "azureml://datastores/none/paths/x", "no model": "azureml://models/none/versions/1", "no version": "azureml://models/file/versions/none",
	} {
		_, err := w.clouds["azure_ml"].ArtifactDigest(t.Context(), address, "")
		if !mlerr.Is(err, mlerr.NotFound) || mlerr.PathOf(err) != "artifact.uri" {
			t.Errorf("%s: %v (%s) at %q", reason, err, mlerr.CodeOf(err), mlerr.PathOf(err))
		}
	}
}
