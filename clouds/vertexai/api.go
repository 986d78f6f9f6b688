// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The API's versions. The second has what the first lacks: policies of endpoints,
// and deployments that scale to zero.
const (
	v1      = "v1"
	v1beta1 = "v1beta1"
)

// region is what one region of a project answers.
type region struct {
	d             *vertex
	project, name string
	base          string // of the region's host, without a slash at the end

	submissions, calls *rate.Limiter // nil without limit

	endpoints snapshots
	pending   pending
}

// The client-side limits, below those of a project and region
// (https://docs.cloud.google.com/vertex-ai/docs/quotas).
const (
	callsPerSecond, callBurst             = 8, 20
	submissionsPerSecond, submissionBurst = 1, 10
)

// at is the region of a location.
func (d *vertex) at(location string) *region {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.regions[location]
	if r == nil {
		project, name, _ := strings.Cut(location, "/")
		r = &region{d: d, project: project, name: name, base: strings.TrimSuffix(d.cfg.EndpointURL, "/")}
		if r.base == "" {
			r.base = publicHost(name)
			r.calls, r.submissions = rate.NewLimiter(callsPerSecond, callBurst), rate.NewLimiter(submissionsPerSecond, submissionBurst)
		}
		d.regions[location] = r
	}
	return r
}

// publicHost is where Google serves a region.
func publicHost(region string) string { return "https://" + region + "-aiplatform.googleapis.com" }

// in is the name of something in the region.
func (r *region) in(parts ...string) string {
	return "projects/" + r.project + "/locations/" + r.name + "/" + strings.Join(parts, "/")
}

func (r *region) endpoint(name string) string { return r.in("endpoints", name) }
func (r *region) model(name string) string    { return r.in("models", name) }

// segment is what follows a collection in a name: the E of "endpoints/E".
func segment(name, collection string) string {
	parts := strings.Split(name, "/")
	for i := 0; i+1 < len(parts); i += 2 {
		if parts[i] == collection {
			return parts[i+1]
		}
	}
	return ""
}

// answerLimit is how long a call may take: what takes longer is an operation, which
// is not waited for.
const answerLimit = 2 * time.Minute

// call is one request to the API.
type call struct {
	name    string // "endpoints.deployModel", for logs
	doing   string // "deploy fraud", for errors
	host    string // without a slash at the end; "" is the region's
	version string // "" is v1
	method  string // "" is GET
	path    string // "projects/…"
	query   url.Values
	in, out any  // JSON; nil for none
	submits bool // starts a long-running operation
	reads   bool // changes nothing, whatever its method
}

// do makes a call. Whatever is refused is an *mlerr.Error.
func (r *region) do(ctx context.Context, c call) error {
	if c.method = cmp.Or(c.method, http.MethodGet); c.method != http.MethodGet && !c.reads {
		r.endpoints.forget()
	}
	if c.host == "" { // the limits are those of the region's host
		if err := r.wait(ctx, c.submits); err != nil {
			return err
		}
	}
	var body io.Reader
	if c.in != nil {
		data, err := json.Marshal(c.in)
		if err != nil {
			return mlerr.Annotate(err, "cannot %s", c.doing)
		}
		body = bytes.NewReader(data)
	}
	address := cmp.Or(c.host, r.base) + "/" + cmp.Or(c.version, v1) + "/" + c.path
	if len(c.query) > 0 {
		address += "?" + c.query.Encode()
	}
	limited, stop := context.WithTimeout(ctx, answerLimit)
	defer stop()
	req, err := http.NewRequestWithContext(limited, c.method, address, body)
	if err != nil {
		return mlerr.Wrap(err, mlerr.InvalidArgument, "cannot %s", c.doing)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := r.send(req, c.name)
	if limited.Err() != nil && ctx.Err() == nil {
		return mlerr.New(mlerr.Unavailable, "cannot %s: no answer within %s", c.doing, answerLimit)
	}
	if err != nil {
		return failed(err, "cannot %s", c.doing)
	}
	if answer.status >= http.StatusBadRequest {
		return failed(answer.refusal(), "cannot %s", c.doing)
	}
	if c.out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.body, c.out); err != nil {
		return mlerr.New(mlerr.Unavailable, "cannot %s: the answer is no JSON", c.doing).Because(err)
	}
	return nil
}

func (r *region) wait(ctx context.Context, submits bool) error {
	limiter := r.calls
	if submits {
		limiter = r.submissions
	}
	if limiter == nil {
		return nil
	}
	err := limiter.Wait(ctx)
	if err == nil {
		return nil
	}
	code := mlerr.CodeOf(err)
	if code == mlerr.Unknown { // it would take longer than there is time
		code = mlerr.Timeout
	}
	return mlerr.Wrap(err, code, "waiting for the client-side rate limit")
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// mostBody is more than any answer of the API has.
const mostBody = 64 << 20

func (r *region) send(req *http.Request, name string) (*answer, error) {
	client, err := r.d.client()
	if err != nil {
		return nil, err
	}
	if r.d.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", r.d.cfg.UserAgent)
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		r.d.log.Debug("api call", "call", name, "duration", time.Since(began), "error", err)
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, mostBody))
	r.d.log.Debug("api call", "call", name, "duration", time.Since(began), "status", a.status, "request_id", requestID(a.header, nil))
	return a, err
}

const pageSize = 100

// pages lists everything, page by page. member is the name of the list in an answer.
func pages[T any](ctx context.Context, r *region, c call, member string) ([]T, error) {
	var all []T
	c.query = maps.Clone(c.query)
	if c.query == nil {
		c.query = url.Values{}
	}
	if !c.query.Has("pageSize") {
		c.query.Set("pageSize", strconv.Itoa(pageSize))
	}
	for {
		var page map[string]json.RawMessage
		c.out = &page
		if err := r.do(ctx, c); err != nil {
			return nil, err
		}
		var some []T
		var next string
		err := unmarshal(page[member], &some)
		if err == nil {
			err = unmarshal(page["nextPageToken"], &next)
		}
		if err != nil {
			return nil, mlerr.New(mlerr.Unavailable, "cannot %s: the answer cannot be read", c.doing).Because(err)
		}
		all = append(all, some...)
		if next == "" { // an empty page is not the end
			return all, nil
		}
		c.query.Set("pageToken", next)
	}
}

func unmarshal(data json.RawMessage, into any) error {
	if data == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

func mask(fields ...string) url.Values { return url.Values{"updateMask": {strings.Join(fields, ",")}} }
