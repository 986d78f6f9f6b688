// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// headerDeployment names the deployment that has answered.
const headerDeployment = "X-Vertex-Ai-Deployed-Model-Id"

// mostTries is how often a request is sent until the wanted deployment answers it:
// which one does is chance. At a share of 5 percent none does in one of 5 million.
const mostTries = 300

// Invoke sends a request, and for one deployment so many until that one answers.
func (d *vertex) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	r := d.at(key.Location)
	e, err := r.remembered(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	if e.attached() && d.cfg.EndpointURL == "" {
		return nil, mlerr.New(mlerr.Unsupported, "%s is answered behind a service attachment only", key.ID()).
			WithHint("Send requests to a forwarding rule that leads to %s", r.url(key.Name, e))
	}
	for range mostTries {
		answered, by, err := r.predict(ctx, key, e, req)
		if err != nil {
			return nil, err
		}
		if id == "" || by == id || by == "" && e.TrafficSplit[id] == 100 {
			return answered, nil
		}
		if by == "" {
			return nil, mlerr.New(mlerr.Unavailable, "%s does not say which deployment has answered", key.ID())
		}
	}
	return nil, mlerr.New(mlerr.Unavailable, "deployment %s has answered none of %d requests to %s", id, mostTries, key.ID())
}

// predict sends one request. What the model itself refuses is an answer; what is
// refused before it comes to the model is an error.
func (r *region) predict(ctx context.Context, key driver.Key, e *wireEndpoint, req driver.Request) (_ *driver.Response, by string, err error) {
	address := r.url(key.Name, e)
	if r.d.cfg.EndpointURL != "" { // stands for the hosts of endpoints too
		address = r.reached(r.base, key.Name, e)
	}
	ctx, stop := context.WithTimeout(ctx, patience(e))
	defer stop()
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(req.Body))
	if err != nil {
		return nil, "", mlerr.Wrap(err, mlerr.InvalidArgument, "cannot invoke %s", key.ID())
	}
	out.Header.Set("Content-Type", req.ContentType)
	a, err := r.send(out, "endpoints.rawPredict")
	if err != nil {
		return nil, "", failed(err, "cannot invoke %s", key.ID())
	}
	by = a.header.Get(headerDeployment)
	if s := a.google(); a.status >= http.StatusBadRequest && by == "" && s != nil {
		return nil, "", refused(s, key)
	}
	name := by
	if n, ok := r.names(key.Name, e)[by]; ok {
		name = n.name
	}
	return &driver.Response{Status: a.status, Body: a.body, Deployment: name, RequestID: requestID(a.header, nil)}, by, nil
}

// patience is how long a model has for its answer, and its answer for the way.
func patience(e *wireEndpoint) time.Duration {
	const way = 30 * time.Second
	given := sharedTimeout
	if e.Dedicated || e.attached() {
		given = defaultInference
	}
	if c := e.ClientConnection; c != nil {
		if d, err := time.ParseDuration(c.InferenceTimeout); err == nil && d > 0 {
			given = d
		}
	}
	return given + way
}

// defaultInference is what requests to an endpoint with serving resources of its own
// have, if nothing is said.
const defaultInference = 10 * time.Minute

// refused is a request that no model has seen. An endpoint that has just been given
// its traffic may not know of it yet, and one that was at zero wakes up.
func refused(s *status, key driver.Key) error {
	err := failed(s, "cannot invoke %s", key.ID())
	switch {
	case s.name() == "FAILED_PRECONDITION", s.Code == http.StatusTooManyRequests && !mlerr.Is(err, mlerr.QuotaExceeded):
		return mlerr.Wrap(err, mlerr.NotYetVisible, "%s does not answer yet", key.ID())
	}
	return err
}
