// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// route is one method of the JSON API, or of what the XML API has for it.
type route struct {
	pattern string
	method  string
	serve   func(*call) error
}

func routes() []route {
	const bucket, object = "/storage/v1/b/{bucket}", "/storage/v1/b/{bucket}/o/{object}"
	all := []route{
		{"GET /storage/v1/b", "buckets.list", (*call).listBuckets},
		{"POST /storage/v1/b", "buckets.insert", (*call).insertBucket},
		{"GET " + bucket, "buckets.get", (*call).getBucket},
		{"DELETE " + bucket, "buckets.delete", (*call).deleteBucket},
		{"GET " + bucket + "/storageLayout", "buckets.getStorageLayout", (*call).storageLayout},
		{"GET " + bucket + "/managedFolders", "managedFolders.list", (*call).managedFolders},
		{"GET " + bucket + "/o", "objects.list", (*call).list},
		{"GET " + object, "objects.get", (*call).get},
		{"GET /download" + object, "objects.get", (*call).get},
		{"DELETE " + object, "objects.delete", (*call).remove},
		{"PATCH " + object, "objects.patch", (*call).patch},
		{"PUT " + object, "objects.update", (*call).update},
		{"POST " + object + "/compose", "objects.compose", (*call).compose},
		{"POST " + object + "/rewriteTo/b/{toBucket}/o/{toObject}", "objects.rewrite", (*call).rewrite},
		{"POST " + object + "/copyTo/b/{toBucket}/o/{toObject}", "objects.copy", (*call).copyTo},
		{"GET /{bucket}/{object...}", "objects.get", (*call).getXML},
	}
	for _, prefix := range []string{"", "/resumable"} {
		all = append(all,
			route{"POST " + prefix + "/upload" + bucket + "/o", "objects.insert", (*call).insert},
			route{"PUT " + prefix + "/upload" + bucket + "/o", "objects.insert", (*call).resume},
			route{"DELETE " + prefix + "/upload" + bucket + "/o", "objects.insert", (*call).cancel})
	}
	return all
}

// call is one request and its answer.
type call struct {
	store objects.Store
	w     http.ResponseWriter
	r     *http.Request
	query url.Values

	bucket, object string
}

func newMux(store objects.Store) *http.ServeMux {
	mux := http.NewServeMux()
	for _, to := range routes() {
		mux.HandleFunc(to.pattern, func(w http.ResponseWriter, r *http.Request) {
			c := &call{store, w, r, r.URL.Query(), r.PathValue("bucket"), r.PathValue("object")}
			if err := to.serve(c); err != nil {
				c.fail(err)
			}
		})
	}
	unserved := func(w http.ResponseWriter, r *http.Request) {
		Refuse(w, http.StatusNotImplemented, "notImplemented", r.Method+" "+r.URL.Path+" is not served.")
	}
	mux.HandleFunc("/", unserved)
	mux.HandleFunc("GET /storage/v1/{unserved...}", unserved) // and no object of the XML API's
	return mux
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

var bucketSegment = regexp.MustCompile(`^(?:/[a-z]+)*/storage/v1/b/([^/]+)|^/([^/]+)/`)

// Name is the JSON API's name of what a request is for, "objects.insert", and the
// bucket that it is about.
func (s *Server) Name(r *http.Request) (method, bucket string) {
	method = r.Method + " " + r.URL.Path
	_, pattern := s.mux.Handler(r)
	for _, to := range routes() {
		if to.pattern == pattern {
			method = to.method
		}
	}
	if m := bucketSegment.FindStringSubmatch(r.URL.EscapedPath()); m != nil {
		bucket = m[1] + m[2]
	}
	return method, bucket
}

// refusal is an error that the API answers.
type refusal struct {
	status          int
	reason, message string
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, reason, format string, args ...any) error {
	return &refusal{status, reason, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "invalid", format, args...)
}

// refusalOf is what the API answers to an error.
func (c *call) refusalOf(err error) *refusal {
	known, ok := errors.AsType[*refusal](err)
	switch {
	case ok:
		return known
	case errors.Is(err, objects.ErrNoBucket):
		return &refusal{http.StatusNotFound, "notFound", "The specified bucket does not exist."}
	case errors.Is(err, objects.ErrNoKey):
		return &refusal{http.StatusNotFound, "notFound", "No such object: " + c.bucket + "/" + c.object}
	}
	return &refusal{http.StatusInternalServerError, "backendError", err.Error()}
}

func (c *call) fail(err error) {
	e := c.refusalOf(err)
	switch {
	case e.status == http.StatusNotModified:
		c.w.WriteHeader(e.status)
	case c.query.Get("alt") == "media" && c.r.Method == http.MethodGet: // in plain words
		http.Error(c.w, e.message, e.status)
	default:
		Refuse(c.w, e.status, e.reason, e.message)
	}
}

// Refuse answers an error as the JSON API does.
func Refuse(w http.ResponseWriter, status int, reason, message string) {
	type detail struct {
		Message string `json:"message"`
		Domain  string `json:"domain"`
		Reason  string `json:"reason"`
	}
	var body struct {
		Error struct {
			Code    int      `json:"code"`
			Message string   `json:"message"`
			Errors  []detail `json:"errors"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = status, message
	body.Error.Errors = []detail{{message, "global", reason}}
	answer(w, status, body)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

// failXML answers an error as the XML API does.
func (c *call) failXML(err error) error {
	e := c.refusalOf(err)
	code := map[int]string{http.StatusNotFound: "NoSuchKey", http.StatusPreconditionFailed: "PreconditionFailed", http.StatusInternalServerError: "InternalError"}[e.status]
	if errors.Is(err, objects.ErrNoBucket) {
		code = "NoSuchBucket"
	}
	if code == "" {
		code = "InvalidArgument"
	}
	if e.status == http.StatusNotModified {
		c.w.WriteHeader(e.status)
		return nil
	}
	c.w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	c.w.WriteHeader(e.status)
	_, _ = io.WriteString(c.w, xml.Header)
	_ = xml.NewEncoder(c.w).Encode(struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: code, Message: e.message})
	return nil
}

// maxAttributes is what is read of a request's JSON, in bytes.
const maxAttributes = 1 << 20

// decode reads a request's JSON strictly.
func decode(r io.Reader, into any) error {
	d := json.NewDecoder(io.LimitReader(r, maxAttributes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "parseError", "Invalid JSON payload received. %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// number reads a numeric query parameter; ok is false if it is not there.
func (c *call) number(name string) (n int64, ok bool, err error) {
	text := c.query.Get(name)
	if text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		err = invalid("Invalid value for %s: %q", name, text)
	}
	return n, true, err
}

// conditions holds a call to ifGenerationMatch and the like, of what is there; nil
// is nothing. prefix is "if" or "ifSource".
func (c *call) conditions(prefix string, is *objects.Object) error {
	var generation, metageneration int64
	if is != nil {
		generation, metageneration = is.Generation, is.Metageneration
	}
	for _, condition := range []struct {
		name string
		got  int64
		same bool
	}{{"GenerationMatch", generation, true}, {"GenerationNotMatch", generation, false},
		{"MetagenerationMatch", metageneration, true}, {"MetagenerationNotMatch", metageneration, false}} {
		want, asked, err := c.number(prefix + condition.name)
		switch {
		case err != nil:
			return err
		case !asked || (want == condition.got) == condition.same:
		case !condition.same && c.r.Method == http.MethodGet:
			return refuse(http.StatusNotModified, "notModified", "Not Modified")
		default:
			return refuse(http.StatusPreconditionFailed, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
		}
	}
	return nil
}
