// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const chunk = 256 << 10

// uploading is a client that sends a resumable upload by hand.
type uploading struct {
	t   *testing.T
	url string
}

func begin(t *testing.T, server, query, body string) uploading {
	t.Helper()
	resp, err := http.Post(server+"/upload/storage/v1/b/"+bucket+"/o?uploadType=resumable"+query, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return uploading{t, resp.Header.Get("Location")}
}

// send returns the status, how much has arrived, and what is answered.
func (u uploading) send(contentRange, body string) (status int, arrived, answer string) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), http.MethodPut, u.url, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	if contentRange != "" {
		req.Header.Set("Content-Range", contentRange)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Range"), string(data)
}

func (u uploading) want(status int, arrived, words, contentRange, body string) {
	u.t.Helper()
	s, a, answer := u.send(contentRange, body)
	if s != status || a != arrived || !strings.Contains(answer, words) {
		u.t.Errorf("%q: %d, %q, %s; want %d, %q, …%s…", contentRange, s, a, answer, status, arrived, words)
	}
}

// An upload goes on where it was cut off, in whatever process serves the directory
// then, and tells a client that has lost an answer.
func TestResume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	part := strings.Repeat("x", chunk)
	u := begin(t, serve(t, dir), "&name=a%20b&ifGenerationMatch=0", `{"contentType": "a/b"}`)
	const more, have1, have2 = http.StatusPermanentRedirect, "bytes=0-262143", "bytes=0-524287"
	u.want(more, "", "", "bytes */*", "")
	u.want(more, have1, "", "bytes 0-262143/*", part)
	u.want(http.StatusBadRequest, "", "multiple of 262144", "bytes 262144-262153/*", "0123456789")
	u.want(http.StatusBadRequest, "", "exceeds already uploaded", "bytes 524288-786431/*", part)
	other := serve(t, dir)
	_, path, _ := strings.Cut(u.url, "/upload")
	u.url = other + "/upload" + path
	u.want(more, have1, "", "bytes */*", "")
	u.want(more, have2, "", "bytes 0-524287/*", part+part) // what is sent again is not kept twice
	u.want(http.StatusOK, "", `"size":"524290"`, "bytes 524288-524289/524290", "yz")
	u.want(http.StatusOK, "", `"contentType":"a/b"`, "bytes */524290", "")
	if got := read(t, open(t, dir).Bucket(bucket).Object("a b"), 524_286, -1); got != "xxyz" {
		t.Errorf("the object ends in %q", got)
	}

	second := begin(t, other, "&name=whole", "")
	second.want(http.StatusOK, "", `"size":"3"`, "", "abc")
	late := begin(t, other, "&name=race&ifGenerationMatch=0", "")
	begin(t, other, "&name=race&ifGenerationMatch=0", "").want(http.StatusOK, "", "", "bytes 0-2/3", "abc")
	late.want(http.StatusPreconditionFailed, "", "conditionNotMet", "bytes 0-2/3", "xyz")
	late.want(http.StatusNotFound, "", "notFound", "bytes */*", "")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	u := begin(t, serve(t, t.TempDir()), "&name=k", "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, u.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 499 {
		t.Error(resp.Status)
	}
	u.want(http.StatusNotFound, "", "", "bytes */*", "")
}

// Requests that the service would refuse are refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := serve(t, t.TempDir())
	for _, c := range []struct {
		reason, method, path, body string
		status                     int
		words                      string
	}{
		{"an unknown attribute", "POST", "/upload/storage/v1/b/models/o?uploadType=resumable&name=k", `{"shade": 1}`, 400, "shade"},
		{"no name", "POST", "/upload/storage/v1/b/models/o?uploadType=media", "x", 400, "object name"},
		{"no way to upload", "POST", "/upload/storage/v1/b/models/o?name=k", "x", 400, "uploadType"},
		{"no bucket", "POST", "/upload/storage/v1/b/none/o?uploadType=media&name=k", "x", 404, "bucket does not exist"},
		{"no number", "GET", "/storage/v1/b/models/o/k?ifGenerationMatch=x", "", 404, "No such object: models/k"},
		{"media is refused in words", "GET", "/storage/v1/b/models/o/k?alt=media", "", 404, "No such object"},
		{"no object of the XML API", "GET", "/models/k", "", 404, "<Code>NoSuchKey</Code>"},
		{"no bucket of the XML API", "GET", "/none/k", "", 404, "<Code>NoSuchBucket</Code>"},
		{"what is not served", "GET", "/storage/v1/b/models/acl", "", 501, "not served"},
		{"a page of none", "GET", "/storage/v1/b/models/o?maxResults=0", "", 400, "maxResults"},
		{"a token of nobody's", "GET", "/storage/v1/b/models/o?pageToken=%25", "", 400, "token"},
		{"no project", "POST", "/storage/v1/b", `{"name": "other"}`, 400, "project"},
		{"a bucket again", "POST", "/storage/v1/b?project=p", `{"name": "models"}`, 409, "already own it"},
		{"nothing to compose", "POST", "/storage/v1/b/models/o/k/compose", `{}`, 400, "between 1 and 32"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, server+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.words) {
			t.Errorf("%s: %s %s, %v; want %d …%s…", c.reason, resp.Status, body, err, c.status, c.words)
		}
	}
}
