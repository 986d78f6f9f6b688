// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// made are files as a source.
type made []artifact.Entry

func (m made) String() string                                    { return "made" }
func (m made) Single() bool                                      { return false }
func (m made) Entries(context.Context) ([]artifact.Entry, error) { return m, nil }

// arrangedIn writes an arrangement to disk, and returns where.
func arrangedIn(t *testing.T, directory string, files map[string]string, single string) string {
	t.Helper()
	src := artifact.Local(filepath.Join(tree(t, files), single))
	entries, err := src.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	arranged, err := artifact.Arrange(directory, "fraud", src.Single(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree(t, contentsOf(t, made(arranged)))
}

// What is put around a framework's files is what MLflow reads.
func TestMLflowModels(t *testing.T) {
	t.Parallel()
	for directory, needs := range map[string]string{runtimes.AzureSklearn: "scikit-learn==1.6.*", runtimes.AzureXGBoost: "xgboost==2.1.*", runtimes.AzurePyTorch: "torch==2.6.*"} {
		at := arrangedIn(t, directory, map[string]string{"model": "bytes"}, "model")
		var model struct {
			Flavors map[string]struct {
				LoaderModule string `json:"loader_module"`
				Code, Data   string
				Env          map[string]string
			}
		}
		var conda struct{ Dependencies []any }
		read(t, filepath.Join(at, "MLmodel"), &model)
		read(t, filepath.Join(at, "conda.yaml"), &conda)
		pyfunc := model.Flavors["python_function"]
		if pyfunc.LoaderModule != "ml_loader" || pyfunc.Code != "code" || pyfunc.Data != "data" || pyfunc.Env["conda"] != "conda.yaml" {
			t.Errorf("%s: %+v", directory, model)
		}
		pip, ok := conda.Dependencies[len(conda.Dependencies)-1].(map[string]any)
		if want := []any{"mlflow", needs}; !ok || len(pip["pip"].([]any)) < 2 || cmp.Diff(want, pip["pip"].([]any)[:2]) != "" {
			t.Errorf("%s needs %v", directory, conda.Dependencies)
		}
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// frameworks stand for what the loaders import: they tell what was loaded, and give
// back what they predict from.
var frameworks = map[string]string{
	"joblib.py": "class M:\n    def __init__(self, p):\n        self.p = p\n    def predict(self, d):\n        return (self.p, d)\nload = M\n",
	"xgboost.py": "class Booster:\n    def load_model(self, p):\n        self.p = p\n    def predict(self, d):\n        return (self.p, d)\n" +
		"def DMatrix(d):\n    return d\n",
	"numpy.py": "float32 = 'f'\ndef asarray(d, dtype=None):\n    return d\n",
	"torch.py": "class A:\n    def __init__(self, v):\n        self.v = v\n    def numpy(self):\n        return self.v\nclass no_grad:\n    def __enter__(self):\n        pass\n" +
		"    def __exit__(self, *a):\n        pass\ndef from_numpy(d):\n    return A(d)\nclass jit:\n    class load:\n        def __init__(self, p, map_location):\n            self.p = p\n" +
		"        def eval(self):\n            return self\n        def __call__(self, a):\n            return A((self.p, a.v))\n",
	"tensorflow.py": "class T:\n    dtype = 'f'\n    def __init__(self, v=None):\n        self.v = v\n    def numpy(self):\n        return self\n    def tolist(self):\n        return self.v\n" +
		"def constant(v, dtype):\n    return T(v)\nclass S:\n    structured_input_signature = ((), {'x': T()})\n    def __init__(self, p):\n        self.p = p\n" +
		"    def __call__(self, x):\n        return {'y': T((self.p, x.v))}\nclass saved_model:\n    class load:\n        def __init__(self, p):\n            self.signatures = {'serving_default': S(p)}\n",
}

// The loaders run, and find the model among other files.
func TestLoaders(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("not installed: python3")
	}
	stubs := tree(t, frameworks)
	for _, c := range []struct {
		directory string
		files     map[string]string
		want      string
	}{
		{runtimes.AzureSklearn, map[string]string{"forest.joblib": "f", "a.md": "x"}, "('data/forest.joblib', [1])"},
		{runtimes.AzureXGBoost, map[string]string{"features.json": "f", "model.bst": "x"}, "('data/model.bst', [1])"},
		{runtimes.AzurePyTorch, map[string]string{"net.pt": "f"}, "('data/net.pt', [1])"},
		{runtimes.AzureTensorFlow, map[string]string{"saved_model.pb": "f", "variables/v": "v"}, "{'y': ('data/', [1])}"},
	} {
		at := arrangedIn(t, c.directory, c.files, "")
		cmd := exec.CommandContext(t.Context(), python, "-B", "-c", "import ml_loader; print(ml_loader._load_pyfunc('data/').predict([1]))")
		cmd.Dir, cmd.Env = at, append(os.Environ(), "PYTHONPATH="+stubs+":"+filepath.Join(at, "code"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s: %v, got %s, want %s", c.directory, err, got, c.want)
		}
	}
}
