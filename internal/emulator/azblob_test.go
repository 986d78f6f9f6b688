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

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
)

// Faults, limits and the log of calls are Blob storage's too, by the names of its
// operations.
func TestBlobStorage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := emulator.Start(emulator.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	blobs := filepath.Join(dir, "azblob")
	if err := azblob.EnsureContainer(blobs, "mlmodels", "models"); err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithNoCredential(server.Endpoints()["azblob"]+"/mlmodels/models?sig=x",
		&container.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	script := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) error {
		_, err := client.NewBlockBlobClient(name).UploadBuffer(t.Context(), []byte("x"), nil)
		return err
	}
	exists := func(name string) bool {
		_, err := azblob.Stat(blobs, "mlmodels", "models", name)
		return err == nil
	}
	refused := func(err error, status int, code string) {
		t.Helper()
		if e, ok := errors.AsType[*azcore.ResponseError](err); !ok || e.StatusCode != status || e.ErrorCode != code {
			t.Errorf("got %v, want %d %s", err, status, code)
		}
	}
	script("faults.json", `{"faults": [{"call": "azblob.putBlob", "occurrence": 1, "action": "error", "code": "AuthorizationPermissionMismatch", "message": "ci may not write", "status": 403},
		{"call": "azblob.putBlob", "occurrence": 2, "action": "lost_answer"}]}`)
	err = write("refused")
	if refused(err, 403, "AuthorizationPermissionMismatch"); !strings.Contains(err.Error(), "ci may not write") {
		t.Errorf("the reason is not in %v", err)
	}
	if err := write("lost"); err == nil || exists("refused") || !exists("lost") {
		t.Errorf("a lost answer: %v; refused is there: %v, lost: %v", err, exists("refused"), exists("lost"))
	}
	if err := os.Remove(filepath.Join(dir, "faults.json")); err != nil {
		t.Fatal(err)
	}
	script("quotas.json", `{"azblob.getBlobProperties": 0}`)
	_, err = client.NewBlobClient("lost").GetProperties(t.Context(), nil)
	refused(err, 503, "ServerBusy")
	calls, err := server.Calls()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, c := range calls {
		seen = append(seen, c.Name+" "+c.Region)
	}
	for _, want := range []string{"azblob.putBlob models", "azblob.getBlobProperties models"} {
		if !slices.Contains(seen, want) {
			t.Errorf("%v were called, without %s", seen, want)
		}
	}
}
