// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Headers of the data plane.
const (
	headerDeployment  = "Azureml-Model-Deployment"
	headerModelStatus = "Ms-Azureml-Model-Error-Statuscode" // what the container has answered, where the endpoint answers 424
)

// callee is what is needed to call an endpoint.
type callee struct {
	address, mode string
	host          string            // the address without the path of any server
	paths         map[string]string // by deployment: where its server answers, if the platform does not know
	busiest       string
}

// remembered is where an endpoint answers as it was last read, read now if it was not.
func (w *workspace) remembered(ctx context.Context, name string) (callee, error) {
	w.once.Lock()
	c, ok := w.seen[strings.ToLower(name)]
	w.once.Unlock()
	if ok && c.address != "" {
		return c, nil
	}
	if _, err := w.getEndpoint(ctx, name); err != nil {
		return callee{}, err
	}
	w.once.Lock()
	defer w.once.Unlock()
	return w.seen[strings.ToLower(name)], nil
}

// Invoke sends one request.
func (d *azureML) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	to, err := w.remembered(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	address, err := to.url(id)
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot invoke %s", key.ID())
	}
	sent, err := w.bearer(ctx, key.Name, to.mode)
	if err != nil {
		return nil, err
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(req.Body))
	if err != nil {
		return nil, mlerr.Wrap(err, mlerr.InvalidArgument, "cannot invoke %s", key.ID())
	}
	out.Header.Set("Authorization", "Bearer "+sent.Reveal())
	out.Header.Set("Content-Type", req.ContentType)
	if d.cfg.Account.UserAgent != "" {
		out.Header.Set("User-Agent", d.cfg.Account.UserAgent)
	}
	if id != "" {
		out.Header.Set(headerDeployment, id)
	}
	began := time.Now()
	resp, err := d.transport().Do(out)
	if err != nil {
		d.log.Debug("api call", "call", "score", "duration", time.Since(began), "error", err)
		return nil, mlerr.New(unanswered(err), "cannot invoke %s", key.ID()).Because(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostBody))
	d.log.Debug("api call", "call", "score", "duration", time.Since(began), "status", resp.StatusCode, "request_id", requestID(resp.Header))
	if err != nil {
		return nil, mlerr.New(unanswered(err), "cannot invoke %s", key.ID()).Because(err)
	}
	return answered(key, resp, body, id, to.mode)
}

// mostBody is more than any answer of an endpoint has.
const mostBody = 64 << 20

// transport is what requests to endpoints go through.
func (d *azureML) transport() policy.Transporter {
	if d.cfg.Account.Transport != nil {
		return d.cfg.Account.Transport
	}
	return http.DefaultClient
}

// url is where a deployment answers. A server of the platform's own that has paths of
// its own, as Triton, is reached below the endpoint's host.
func (c *callee) url(id string) (string, error) {
	address, path := c.address, c.paths[strings.ToLower(cmp.Or(id, c.busiest))]
	if path != "" && c.host != "" {
		address = c.host
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", mlerr.New(mlerr.NotYetVisible, "it has no address yet")
	}
	if u.Scheme != "https" && !loopback(u) {
		return "", mlerr.New(mlerr.InvalidArgument, "its address %s would be sent a credential in the clear", c.address)
	}
	if path != "" {
		u = u.JoinPath(path)
	}
	return u.String(), nil
}

// rehearsed is the address of an endpoint in a rehearsal, which has another port in each.
var rehearsed = regexp.MustCompile(`^http://[^/]+/inference/([^/]+)/([^/]+)(/.*)?$`)

// shown is where an endpoint is said to answer: in a rehearsal, where it would for real,
// so that it is the same in the next one.
func (d *azureML) shown(address string) string {
	if !d.cfg.Account.Isolated {
		return address
	}
	return rehearsed.ReplaceAllString(address, "https://$2.$1.inference.ml.azure.com$3")
}

// loopback reports whether an address is of this machine.
func loopback(u *url.URL) bool {
	host := u.Hostname()
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// answered tells the model's answer from the platform's. What stands in the way of a
// request right after a change passes by itself.
func answered(key driver.Key, resp *http.Response, body []byte, id, mode string) (*driver.Response, error) {
	r := &driver.Response{Status: resp.StatusCode, Body: body, Deployment: cmp.Or(resp.Header.Get(headerDeployment), id), RequestID: requestID(resp.Header)}
	code := mlerr.NotYetVisible
	refuse := func(words, hint string) error {
		s := &said{status: resp.StatusCode}
		s.read(body)
		e := mlerr.New(code, "cannot invoke %s: %s", key.ID(), words).Because(s).WithHint("%s", hint)
		e.RequestID = r.RequestID
		return e
	}
	if status, err := strconv.Atoi(resp.Header.Get(headerModelStatus)); err == nil && status != 0 {
		r.Status = status
		return r, nil
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		if mode == authIAM { // assignments take up to ten minutes to be known everywhere
			code = mlerr.NotYetGranted
		}
		return nil, refuse("it does not take the credential", "Let the credentials call the endpoint: auth.invokers, or a role with the action onlineEndpoints/score")
	case http.StatusNotFound:
		return nil, refuse("nothing answers there", "Give a deployment traffic, or look whether its container answers at serving.predict_path")
	case http.StatusTooManyRequests:
		return nil, refuse("it has too many requests to answer", "")
	case http.StatusConflict, http.StatusServiceUnavailable:
		return nil, refuse("it is not ready to answer", "")
	}
	return r, nil
}
