// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

// Faults, limits and the log of calls are Cloud Storage's too, by the names of its
// API's methods.
func TestCloudStorage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := emulator.Start(emulator.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := gcs.EnsureBucket(filepath.Join(dir, "gcs"), "models"); err != nil {
		t.Fatal(err)
	}
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(server.Endpoints()["gcs"]+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	client.SetRetry(storage.WithPolicy(storage.RetryNever))
	script := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) error {
		w := client.Bucket("models").Object(name).NewWriter(t.Context())
		w.ChunkSize = 0 // as one request, which is not repeated
		_, err := w.Write([]byte("x"))
		return errors.Join(err, w.Close())
	}
	exists := func(name string) bool {
		_, err := gcs.Stat(filepath.Join(dir, "gcs"), "models", name)
		return err == nil
	}
	refused := func(err error, status int, words string) {
		t.Helper()
		if api, ok := errors.AsType[*googleapi.Error](err); !ok || api.Code != status || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %d …%s…", err, status, words)
		}
	}
	script("faults.json", `{"faults": [{"call": "gcs.objects.insert", "occurrence": 1, "action": "error", "code": "forbidden", "message": "ci may not write", "status": 403},
		{"call": "gcs.objects.insert", "occurrence": 2, "action": "lost_answer"}]}`)
	refused(write("refused"), 403, "ci may not write")
	if err := write("lost"); err == nil || exists("refused") || !exists("lost") {
		t.Errorf("a lost answer: %v; refused is there: %v, lost: %v", err, exists("refused"), exists("lost"))
	}
	if err := os.Remove(filepath.Join(dir, "faults.json")); err != nil {
		t.Fatal(err)
	}
	script("quotas.json", `{"gcs.objects.get": 0}`)
	_, err = client.Bucket("models").Object("lost").Attrs(t.Context())
	refused(err, 429, "rate")
	calls, err := server.Calls()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, c := range calls {
		seen = append(seen, c.Name+" "+c.Region)
	}
	for _, want := range []string{"gcs.objects.insert models", "gcs.objects.get models"} {
		if !slices.Contains(seen, want) {
			t.Errorf("%v were called, without %s", seen, want)
		}
	}
}
