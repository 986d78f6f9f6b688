// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// Server is the object store in a directory, as an http.Handler.
type Server struct {
	// Now is the time that signatures are held to.
	Now func() time.Time

	store objects.Store
}

// New serves the object store kept in dir, which is created when missing.
func New(dir string) (*Server, error) {
	store, err := objects.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Server{time.Now, store}, nil
}

// call is one request and its answer.
type call struct {
	now   func() time.Time
	store objects.Store
	w     http.ResponseWriter
	r     *http.Request
	query url.Values

	account, container, blob string
}

func (c *call) bucket() string { return bucket(c.account, c.container) }

// operation is one of the REST API.
type operation struct {
	name       string // in faults and in the log of calls, after "azblob."
	permission string // of a signature; one of them is enough
	serve      func(*call) error
}

var accountHost = regexp.MustCompile(`^([a-z0-9]+)\.blob\.`)

// read tells what a request names.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (*call, error) {
	c := &call{now: s.Now, store: s.store, w: w, r: r, query: r.URL.Query()}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if m := accountHost.FindStringSubmatch(r.Host); m != nil {
		c.account = m[1]
	} else {
		c.account, path, _ = strings.Cut(path, "/")
	}
	container, blob, _ := strings.Cut(path, "/")
	var err error
	if c.container, err = url.PathUnescape(container); err == nil {
		c.blob, err = url.PathUnescape(blob)
	}
	if err != nil {
		return c, refuse(http.StatusBadRequest, "InvalidUri", "The request URI is invalid.")
	}
	return c, nil
}

// operation tells which operation a request is for.
func (c *call) operation() operation {
	kind, comp := c.query.Get("restype"), c.query.Get("comp")
	what := c.r.Method + " " + strings.Trim(kind+" "+comp, " ")
	switch {
	case c.container == "":
		return ofService(what)
	case c.blob == "":
		return ofContainer(what)
	}
	source := c.r.Header.Get("X-Ms-Copy-Source") != ""
	switch what {
	case "GET ":
		return operation{"getBlob", "r", (*call).get}
	case "HEAD ":
		return operation{"getBlobProperties", "r", (*call).head}
	case "DELETE ":
		return operation{"deleteBlob", "d", (*call).remove}
	case "PUT block":
		if source {
			return operation{"putBlockFromURL", "cw", (*call).putBlockFromURL}
		}
		return operation{"putBlock", "cw", (*call).putBlock}
	case "PUT blocklist":
		return operation{"putBlockList", "cw", (*call).putBlockList}
	case "GET blocklist":
		return operation{"getBlockList", "r", (*call).getBlockList}
	case "PUT metadata":
		return operation{"setBlobMetadata", "w", (*call).setMetadata}
	case "PUT properties":
		return operation{"setBlobProperties", "w", (*call).setProperties}
	case "PUT ":
		switch kind := c.r.Header.Get("X-Ms-Blob-Type"); {
		case kind == "" && source:
			return operation{"copyBlob", "cw", (*call).copy}
		case kind == "BlockBlob" && source:
			return operation{"putBlobFromURL", "cw", (*call).putFromURL}
		case kind == "" || kind == "BlockBlob":
			return operation{"putBlob", "cw", (*call).putBlob}
		}
	}
	return unserved(what)
}

func unserved(what string) operation {
	return operation{what, "", func(c *call) error {
		return refuse(http.StatusNotImplemented, "NotImplemented", "%s %s is not served.", c.r.Method, c.r.URL.RequestURI())
	}}
}

func ofService(what string) operation {
	switch what {
	case "GET list":
		return operation{"listContainers", "l", (*call).listContainers}
	case "GET service properties":
		return operation{"getServiceProperties", "r", (*call).serviceProperties}
	case "GET account properties", "HEAD account properties":
		return operation{"getAccountInformation", "r", (*call).accountInformation}
	}
	return unserved(what)
}

func ofContainer(what string) operation {
	switch what {
	case "PUT container":
		return operation{"createContainer", "cw", (*call).createContainer}
	case "GET container", "HEAD container", "GET container metadata":
		return operation{"getContainerProperties", "rl", (*call).getContainer}
	case "DELETE container":
		return operation{"deleteContainer", "d", (*call).deleteContainer}
	case "GET container list":
		return operation{"listBlobs", "l", (*call).list}
	}
	return unserved(what)
}

// Name is the name of what a request is for, "putBlob", and the container that it is
// about.
func (s *Server) Name(r *http.Request) (operation, container string) {
	c, _ := s.read(nil, r) // what cannot be read has a name as well
	return c.operation().name, c.container
}

const apiVersion = "2026-02-06"

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if h.Get("X-Ms-Request-Id") == "" {
		h.Set("X-Ms-Request-Id", rand.Text())
	}
	h.Set("X-Ms-Version", apiVersion)
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		h.Set("X-Ms-Client-Request-Id", id)
	}
	c, err := s.read(w, r)
	if err == nil {
		err = c.answer()
	}
	if err != nil {
		c.fail(err)
	}
}

func (c *call) answer() error {
	if !accountName.MatchString(c.account) {
		return refuse(http.StatusBadRequest, "InvalidUri", "The request URI names no storage account: '%s'.", c.account)
	}
	if c.container != "" && !validContainer(c.container) {
		return refuse(http.StatusBadRequest, "InvalidResourceName", "The specified resource name contains invalid characters.")
	}
	if len(c.blob) > longestName {
		return refuse(http.StatusBadRequest, "InvalidUri", "The name of a blob has at most %d characters.", longestName)
	}
	o := c.operation()
	if err := c.admit(o.permission); err != nil {
		return err
	}
	return o.serve(c)
}

const longestName = 1024 // of a blob

// admit lets in who shows a credential. What a signature says holds.
func (c *call) admit(permission string) error {
	if c.r.Header.Get("Authorization") != "" {
		return nil
	}
	if c.query.Get("sig") == "" {
		return refuse(http.StatusUnauthorized, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")
	}
	if text := c.query.Get("se"); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil || c.now().After(until) {
			return refuse(http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request. Signature not valid in the specified time frame: expiry [%s].", text)
		}
	}
	if granted := c.query.Get("sp"); granted != "" && permission != "" && !strings.ContainsAny(granted, permission) {
		return refuse(http.StatusForbidden, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")
	}
	return nil
}

// refusal is an error that the API answers.
type refusal struct {
	status        int
	code, message string
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

func conditionNotMet() error {
	return refuse(http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
}

func (c *call) fail(err error) {
	e, is := errors.AsType[*refusal](err)
	switch {
	case is:
	case errors.Is(err, objects.ErrNoBucket):
		e = &refusal{http.StatusNotFound, "ContainerNotFound", "The specified container does not exist."}
	case errors.Is(err, objects.ErrNoKey):
		e = &refusal{http.StatusNotFound, "BlobNotFound", "The specified blob does not exist."}
	default:
		e = &refusal{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	if c.r.Method == http.MethodHead || e.status == http.StatusNotModified {
		c.w.Header().Set("X-Ms-Error-Code", e.code)
		c.w.WriteHeader(e.status)
		return
	}
	Refuse(c.w, e.status, e.code, e.message)
}

// Refuse answers an error as Blob storage does.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Ms-Error-Code", code)
	write(w, status, struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: code, Message: message + "\nRequestId:" + w.Header().Get("X-Ms-Request-Id")})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(v) // the client is gone if this fails
}
