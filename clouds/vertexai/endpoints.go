// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// endpointLabels are all labels of an endpoint, but for those of deployments that
// were adopted.
func endpointLabels(spec *driver.EndpointSpec) map[string]string {
	labels := map[string]string{labelManagedBy: managedBy, labelEndpoint: spec.Key.Name}
	account(labels, serviceAccount(&spec.Settings))
	if len(spec.Settings.Auth.Invokers) > 0 {
		labels[labelInvokers] = yes
	}
	if spec.Settings.RequestTimeout != 0 && !timed(&spec.Settings) {
		labels[labelTimeout] = yes
	}
	maps.Copy(labels, spec.Labels)
	return labels
}

// CreateEndpoint makes the endpoint without deployments. Its id is its name, so that
// nothing of the answer is needed to find it again.
func (d *vertex) CreateEndpoint(ctx context.Context, spec *driver.EndpointSpec) error {
	r, s, name := d.at(spec.Key.Location), &spec.Settings, spec.Key.Name
	e := wireEndpoint{DisplayName: name, Labels: endpointLabels(spec), EncryptionSpec: encrypted(s.Encryption.Key), Network: s.Network.Network,
		Dedicated: dedicated(s), ClientConnection: connection(s), Logging: logging(s)}
	e.Labels[labelIncomplete] = yes
	if s.Network.Access == accessPrivate && s.Network.Network == "" {
		e.PrivateService = &privateService{Enable: true, Allowlist: []string{r.project}}
	}
	err := r.start(ctx, "endpoints/"+name, call{name: "endpoints.create", doing: "create the endpoint " + spec.Key.ID(), method: http.MethodPost,
		path: r.in("endpoints"), query: url.Values{"endpointId": {name}}, in: e}, started{kind: creating})
	if !mlerr.Is(err, mlerr.AlreadyExists) {
		return err
	}
	now, findErr := r.getEndpoint(ctx, name)
	switch {
	case mlerr.Is(findErr, mlerr.NotFound): // made by a run that was cut off, and not to be seen yet
		return mlerr.Wrap(err, mlerr.Busy, "the endpoint %s is coming into being", spec.Key.ID())
	case findErr != nil:
		return findErr
	case owned(now, name):
		return nil
	}
	return err
}

func owned(e *wireEndpoint, name string) bool {
	return e.Labels[labelManagedBy] == managedBy && e.Labels[labelEndpoint] == name
}

// timed reports whether an endpoint's requests can have a time of their own.
func timed(s *driver.Settings) bool {
	return dedicated(s) || s.Network.Access == accessPrivate && s.Network.Network == ""
}

func connection(s *driver.Settings) *clientConnection {
	if s.RequestTimeout == 0 || !timed(s) {
		return nil
	}
	return &clientConnection{fmt.Sprintf("%ds", int(s.RequestTimeout/time.Second))}
}

func logging(s *driver.Settings) *requestLogging {
	if s.Capture == nil {
		return nil
	}
	return &requestLogging{Enabled: true, SamplingRate: float64(s.Capture.Percent) / 100, BigQuery: &bigQuery{s.Capture.Destination}}
}

// patch changes fields of an endpoint that nobody has changed since it was read.
func (r *region) patch(ctx context.Context, read *wireEndpoint, name string, change wireEndpoint, fields ...string) error {
	change.Etag = read.Etag
	return r.do(ctx, call{name: "endpoints.patch", doing: "update the endpoint " + name, method: http.MethodPatch, path: r.endpoint(name), query: mask(fields...), in: change})
}

// UpdateSettings changes what can change of an endpoint, and confirms its marks.
func (d *vertex) UpdateSettings(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	r, name, want, now := d.at(spec.Key.Location), spec.Key.Name, &spec.Settings, &seen.Settings
	if err := fixed(spec, now); err != nil {
		return err
	}
	read, err := r.getEndpoint(ctx, name)
	if err != nil {
		return err
	}
	change, fields := wireEndpoint{Labels: r.labels(spec, read), Dedicated: dedicated(want)}, []string{"labels"}
	for _, mark := range []string{labelIncomplete, labelUntested} {
		if read.Labels[mark] != "" {
			change.Labels[mark] = read.Labels[mark]
		}
	}
	change.Labels = r.keepUsers(change.Labels, read, spec)
	if dedicated(want) != dedicated(now) {
		fields = append(fields, "dedicated_endpoint_enabled")
	}
	granted := !slices.Equal(want.Auth.Invokers, now.Auth.Invokers)
	if granted && len(want.Auth.Invokers) == 0 {
		// Before the label goes by which the policy is looked at: a run that is cut off
		// in between must leave no grant that nobody sees any more.
		if err := r.setInvokers(ctx, name, nil); err != nil {
			return err
		}
	}
	slow := wireEndpoint{Name: r.endpoint(name)}
	if slow.Logging, err = r.patchSettings(ctx, read, name, change, fields, want, now); err != nil {
		return err
	}
	if granted && len(want.Auth.Invokers) > 0 {
		if err := r.setInvokers(ctx, name, want.Auth.Invokers); err != nil {
			return err
		}
	}
	if timed(want) && want.RequestTimeout != now.RequestTimeout {
		if slow.ClientConnection = connection(want); slow.ClientConnection == nil {
			slow.ClientConnection = &clientConnection{} // back to the platform's default
		}
	}
	if slow.ClientConnection == nil && slow.Logging == nil {
		return nil
	}
	return r.start(ctx, "endpoints/"+name, call{name: "endpoints.update", doing: "change the settings of " + spec.Key.ID(), method: http.MethodPost,
		path: r.endpoint(name) + ":update", in: map[string]any{"endpoint": slow}}, started{kind: updating})
}

// fixed refuses to change what an endpoint has from its creation on.
func fixed(spec *driver.EndpointSpec, now *driver.Settings) error {
	want := &spec.Settings
	for path, differs := range map[string]bool{"encryption.key": want.Encryption.Key != now.Encryption.Key,
		"network.access": want.Network.Access != now.Network.Access, "network.network": want.Network.Network != now.Network.Network} {
		if differs {
			return mlerr.New(mlerr.Unsupported, "%s of the Vertex AI endpoint %s is fixed when it is created", path, spec.Key.ID()).At("%s", path).
				WithHint("Give the endpoint another name, or destroy it first")
		}
	}
	return nil
}

// patchSettings changes fields of an endpoint, if any has to, and what it logs. Where
// that is refused of an endpoint with serving resources of its own, it is returned:
// of those the platform may take it as an operation only.
func (r *region) patchSettings(ctx context.Context, read *wireEndpoint, name string, change wireEndpoint, fields []string, want, now *driver.Settings) (*requestLogging, error) {
	const field = "predict_request_response_logging_config"
	if !equalCapture(want.Capture, now.Capture) {
		change.Logging = logging(want)
		err := r.patch(ctx, read, name, change, append(slices.Clone(fields), field)...)
		if !timed(want) || !mlerr.Is(err, mlerr.InvalidArgument) {
			return nil, err
		}
		if change.Logging == nil {
			change.Logging = &requestLogging{}
		}
	}
	refused := change.Logging
	change.Logging = nil
	if len(fields) == 1 && maps.Equal(change.Labels, read.Labels) {
		return refused, nil
	}
	return refused, r.patch(ctx, read, name, change, fields...)
}

// keepUsers leaves the user's labels as they are: SetLabels comes later.
func (r *region) keepUsers(labels map[string]string, read *wireEndpoint, spec *driver.EndpointSpec) map[string]string {
	for k := range spec.Labels {
		delete(labels, k)
	}
	maps.Copy(labels, users(read.Labels))
	return labels
}

func equalCapture(a, b *driver.Capture) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Percent == b.Percent && a.Destination == b.Destination
}

// labels are what the endpoint's labels are to be, with those of other tools, and of
// deployments that were adopted and are wanted.
func (r *region) labels(spec *driver.EndpointSpec, read *wireEndpoint) map[string]string {
	labels := endpointLabels(spec)
	maps.Copy(labels, platforms(read.Labels))
	names := r.names(spec.Key.Name, read)
	for i := range read.DeployedModels {
		dm := &read.DeployedModels[i]
		if _, own := ownName(r.name, spec.Key.Name, dm); own {
			continue
		}
		wanted := slices.ContainsFunc(spec.Deployments, func(dep driver.Deployment) bool { return dep.Name == names[dm.ID].name })
		if wanted || names[dm.ID].owned {
			labels[labelDeployment+names[dm.ID].name] = dm.ID
		}
	}
	return labels
}

// SetLabels makes the labels what spec says. The endpoint is then complete and tested.
func (d *vertex) SetLabels(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	r := d.at(spec.Key.Location)
	read, err := r.getEndpoint(ctx, spec.Key.Name)
	if err != nil {
		return err
	}
	return r.patch(ctx, read, spec.Key.Name, wireEndpoint{Labels: r.labels(spec, read)}, "labels")
}

// SetTraffic sets all shares in one change.
func (d *vertex) SetTraffic(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, shares []driver.Share) error {
	r, name := d.at(spec.Key.Location), spec.Key.Name
	read, err := r.getEndpoint(ctx, name)
	if err != nil {
		return err
	}
	split := maps.Clone(read.TrafficSplit)
	if split == nil {
		split = map[string]int{}
	}
	for _, s := range shares {
		split[s.ID] = s.Traffic
	}
	maps.DeleteFunc(split, func(_ string, percent int) bool { return percent == 0 })
	return r.patch(ctx, read, name, wireEndpoint{TrafficSplit: split}, "traffic_split")
}

// EndpointLeftovers is empty: everything is in the endpoint.
func (d *vertex) EndpointLeftovers(context.Context, driver.Key) ([]driver.Leftover, error) {
	return nil, nil
}

// Sweep has nothing to do.
func (d *vertex) Sweep(context.Context, driver.Key, []driver.Leftover) error { return nil }

// DeleteEndpoint does the next thing of what a deletion takes: no traffic, no
// deployments, no endpoint. Each is refused before the one before it is done.
func (d *vertex) DeleteEndpoint(ctx context.Context, seen *driver.EndpointState) error {
	r, name := d.at(seen.Key.Location), seen.Key.Name
	read, err := r.getEndpoint(ctx, name)
	if err != nil {
		return gone(err)
	}
	if len(read.DeployedModels) == 0 {
		return gone(r.start(ctx, "endpoints/"+name, call{name: "endpoints.delete", doing: "delete the endpoint " + seen.Key.ID(), method: http.MethodDelete,
			path: r.endpoint(name)}, started{kind: deleting}))
	}
	if slices.ContainsFunc(read.DeployedModels, func(dm deployedModel) bool { return dm.State != "" }) {
		return r.cancel(ctx, name)
	}
	if len(read.TrafficSplit) > 0 {
		if err := r.patch(ctx, read, name, wireEndpoint{}, "traffic_split"); err != nil {
			return gone(err)
		}
	}
	for i := range read.DeployedModels {
		dm := &read.DeployedModels[i]
		err := r.undeploy(ctx, name, dm.ID)
		if i > 0 && mlerr.Is(err, mlerr.Busy, mlerr.Conflict) {
			return nil // one after the other, then
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cancel asks the platform to give up what it is deploying, which it may or may not
// do, and is Busy until that has ended.
func (r *region) cancel(ctx context.Context, name string) error {
	running, err := r.deployments(ctx, name)
	if err != nil {
		return gone(err)
	}
	for _, op := range running {
		err := r.do(ctx, call{name: "operations.cancel", doing: "cancel the operation " + op, method: http.MethodPost, path: op + ":cancel", in: map[string]any{}})
		if err != nil {
			r.d.log.Debug("a deployment goes on", "operation", op, "error", err)
		}
	}
	return mlerr.New(mlerr.Busy, "something is still being deployed to the endpoint %s", name)
}

// deployments names the operations that deploy something to an endpoint, whoever has
// started them.
func (r *region) deployments(ctx context.Context, name string) ([]string, error) {
	ops, err := pages[operation](ctx, r, call{name: "endpoints.operations.list", doing: "list the operations on " + name, path: r.endpoint(name) + "/operations"}, "operations")
	var running []string
	for i := range ops {
		if !ops[i].Done && strings.Contains(string(ops[i].Metadata), "DeployModel") {
			running = append(running, ops[i].Name)
		}
	}
	return running, err
}

// Undeploy removes one deployment.
func (d *vertex) Undeploy(ctx context.Context, key driver.Key, id string) error {
	r := d.at(key.Location)
	r.pending.drop("endpoints/"+key.Name, func(s started) bool { return s.id == id && s.failure != nil })
	return r.undeploy(ctx, key.Name, id)
}

func (r *region) undeploy(ctx context.Context, name, id string) error {
	read, err := r.getEndpoint(ctx, name)
	if err != nil {
		return gone(err)
	}
	if !slices.ContainsFunc(read.DeployedModels, func(dm deployedModel) bool { return dm.ID == id }) {
		return nil
	}
	return gone(r.start(ctx, "endpoints/"+name, call{name: "endpoints.undeployModel", doing: "remove deployment " + id + " of the endpoint " + name, method: http.MethodPost,
		path: r.endpoint(name) + ":undeployModel", in: map[string]any{"deployedModelId": id}}, started{kind: undeploying, id: id}))
}

// percentOf is a sampling rate in percent.
func percentOf(rate float64) int {
	n, _ := strconv.Atoi(strconv.FormatFloat(rate*100, 'f', 0, 64))
	return n
}
