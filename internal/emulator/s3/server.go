// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/johannesboyne/gofakes3"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

const (
	defaultType = "binary/octet-stream"
	namespace   = "http://s3.amazonaws.com/doc/2006-03-01/"
)

// Subresources of buckets and objects that are not served. Without this list
// a request for one would be taken for one for the bucket or object itself.
var unserved = []string{"accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering",
	"inventory", "legal-hold", "lifecycle", "logging", "metrics", "notification", "object-lock", "ownershipControls",
	"policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore", "retention", "select",
	"tagging", "torrent", "website"}

// ServeHTTP routes one request through gofakes3 with a backend of its own, so
// that the backend sees what gofakes3's interface does not hand on: conditions
// of CompleteMultipartUpload, checksums, metadata directives.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp := &response{ResponseWriter: w}
	b := &backend{store: s.store, req: r, resp: resp}
	id := s.requests.Add(1)
	query := r.URL.Query()
	if slices.ContainsFunc(unserved, query.Has) {
		resp.fail(http.StatusNotImplemented, "NotImplemented", "A header or query you provided implies functionality that is not implemented.")
		return
	}
	var err error
	if b.body, err = decode(r); err != nil {
		resp.fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		return
	}
	if r.Method == http.MethodPut && query.Has("uploadId") && r.Header.Get("X-Amz-Copy-Source") != "" {
		b.serveCopyPart(query)
		return
	}
	gofakes3.New(b, gofakes3.WithRequestID(id)).Server().ServeHTTP(resp, r)
	resp.finishHeader() // of an answer without a body, whose header is not written yet
}

// response lets the backend decide what gofakes3 would write wrongly: the ETag
// of a multipart objects.Object, and the status of codes that gofakes3 does not know.
type response struct {
	http.ResponseWriter
	etag   string // in quotes; "" leaves gofakes3's
	status int    // replaces 500; 0 leaves it
}

func (w *response) WriteHeader(status int) {
	if status == http.StatusInternalServerError && w.status != 0 {
		status = w.status
	}
	w.finishHeader()
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	w.finishHeader()
	return w.ResponseWriter.Write(p)
}

func (w *response) finishHeader() {
	if w.etag != "" {
		w.Header().Set("ETag", w.etag)
	}
	// Clients that take metadata's names as they come expect S3's lower case.
	for name, values := range w.Header() {
		if strings.HasPrefix(name, metaPrefix) {
			delete(w.Header(), name)
			w.Header()[strings.ToLower(name)] = values
		}
	}
}

// errorBody is the XML of an S3 error.
type errorBody struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

func (w *response) fail(status int, code, message string) {
	w.writeXML(status, errorBody{Code: code, Message: message})
}

func (w *response) writeXML(status int, v any) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(v) // the client is gone if this fails
}

// Headers that are stored with an object and come back with it, besides
// x-amz-meta-*.
var storedHeaders = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type",
	"Expires", "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
	"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "X-Amz-Storage-Class"}

const metaPrefix = "X-Amz-Meta-"

// storable picks the headers of a request that are stored with an object.
func storable(h http.Header) map[string]string {
	kept := map[string]string{"Content-Type": defaultType}
	for name := range h {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if strings.HasPrefix(name, metaPrefix) || slices.Contains(storedHeaders, name) {
			kept[name] = strings.Join(h.Values(name), ",")
		}
	}
	return kept
}

// userMetadata returns the object's x-amz-meta-* headers by lower-case name.
func userMetadata(o objects.Object) map[string]string {
	meta := map[string]string{}
	for name, value := range o.Header {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok {
			meta[strings.ToLower(rest)] = value
		}
	}
	return meta
}
