// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// getEndpoint reads an endpoint with what is still being deployed to it.
func (r *region) getEndpoint(ctx context.Context, name string) (*wireEndpoint, error) {
	var e wireEndpoint
	err := r.do(ctx, call{name: "endpoints.get", doing: "read the endpoint " + name, path: r.endpoint(name), query: url.Values{"allDeploymentStates": {"true"}}, out: &e})
	if err != nil {
		return nil, err
	}
	r.recent(name, &e)
	return &e, nil
}

// ObserveEndpoint reads an endpoint. What is known and settled is confirmed by a list
// that all reads of a refresh share.
func (d *vertex) ObserveEndpoint(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	r, subject := d.at(key.Location), "endpoints/"+key.Name
	if known != nil && known.Phase == driver.Ready && len(r.pending.list(subject)) == 0 {
		if e, err := r.endpoints.find(ctx, r, key.Name); e != nil || err != nil {
			if err != nil {
				return nil, err
			}
			return r.observed(ctx, key, e, nil, known)
		} // a list may lag: only a read tells that it is gone
	}
	running, err := r.running(ctx, subject)
	if err != nil {
		return nil, err
	}
	e, err := r.getEndpoint(ctx, key.Name)
	if mlerr.Is(err, mlerr.NotFound) {
		if c := find(running, creating, ""); c != nil {
			r.told(subject, creating)
			return unborn(r, key, c), nil
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if err := r.learnIdle(ctx, key.Name, e); err != nil {
		return nil, err
	}
	return r.observed(ctx, key, e, running, known)
}

// unborn is an endpoint whose creation this process has begun.
func unborn(r *region, key driver.Key, c *started) *driver.EndpointState {
	s := &driver.EndpointState{Key: key, NativeID: r.endpoint(key.Name), Phase: driver.Changing, Marks: driver.Marks{Owned: true, Incomplete: true}}
	if c.failure != nil {
		s.Phase, s.Reason = driver.Failed, c.failure.Error()
	}
	return s
}

// observed translates an endpoint, with what is not in it.
func (r *region) observed(ctx context.Context, key driver.Key, e *wireEndpoint, running []started, known *driver.EndpointState) (*driver.EndpointState, error) {
	if err := r.d.proven(key, e.Name); err != nil {
		return nil, err
	}
	s := r.state(key, e)
	var err error
	if s.Settings.Auth.Invokers, err = r.observedInvokers(ctx, key.Name, e, s.Marks.Owned, known); err != nil {
		return nil, err
	}
	r.overlay(s, running)
	sort.Slice(s.Deployments, func(i, j int) bool {
		a, b := &s.Deployments[i], &s.Deployments[j]
		return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
	})
	return s, nil
}

// learnIdle asks the version of the API that knows of scaling to zero, if something
// does.
func (r *region) learnIdle(ctx context.Context, name string, e *wireEndpoint) error {
	if !e.idles() {
		return nil
	}
	var full wireEndpoint
	err := r.do(ctx, call{name: "endpoints.get", doing: "read the endpoint " + name, version: v1beta1, path: r.endpoint(name), query: url.Values{"allDeploymentStates": {"true"}}, out: &full})
	if err != nil {
		return err
	}
	e.learn(&full)
	return nil
}

// idles reports whether something scales to zero.
func (e *wireEndpoint) idles() bool { return slices.ContainsFunc(e.DeployedModels, scalesToZero) }

func scalesToZero(dm deployedModel) bool {
	return dm.DedicatedResources != nil && dm.DedicatedResources.MinReplicaCount == 0
}

// learn takes over what only the other version of the API shows.
func (e *wireEndpoint) learn(full *wireEndpoint) {
	for i := range e.DeployedModels {
		for j := range full.DeployedModels {
			if e.DeployedModels[i].ID == full.DeployedModels[j].ID && scalesToZero(e.DeployedModels[i]) {
				e.DeployedModels[i].DedicatedResources = full.DeployedModels[j].DedicatedResources
			}
		}
	}
}

// overlay adds what operations of this process tell: of an endpoint that changes,
// and why a deployment that is gone has failed.
func (r *region) overlay(s *driver.EndpointState, running []started) {
	subject := "endpoints/" + s.Key.Name
	at := func(id string) *driver.DeploymentState {
		for i := range s.Deployments {
			if s.Deployments[i].ID == id {
				return &s.Deployments[i]
			}
		}
		return nil
	}
	for i := range running {
		o := &running[i]
		d := at(o.id)
		switch failed := o.failure != nil; {
		case o.kind == deploying:
			if d == nil {
				made := r.deployment(s.Key, &wireEndpoint{}, &o.deployment, called{name: nameIn(o.deployment.DisplayName), owned: true})
				s.Deployments = append(s.Deployments, made)
				d = &s.Deployments[len(s.Deployments)-1]
			}
			if d.Phase = driver.Changing; failed {
				d.Phase, d.Reason = driver.Failed, explain(o.failure)
			}
		case failed:
			s.Reason = cmp.Or(s.Reason, o.failure.Error())
		case o.kind == deleting:
			s.Phase = driver.Deleting
		case o.kind == undeploying && d != nil:
			d.Phase = driver.Deleting
			s.Phase = driver.Changing
		case o.kind == mutating && d != nil:
			d.Phase = driver.Changing
		case o.kind == creating, o.kind == updating:
			s.Phase = driver.Changing
		}
	}
	r.told(subject, creating, updating, undeploying, mutating, deleting)
}

func nameIn(display string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(display, prefixName), "/")
	return name
}

// state translates what the endpoint itself shows.
func (r *region) state(key driver.Key, e *wireEndpoint) *driver.EndpointState {
	s := &driver.EndpointState{Key: key, NativeID: e.Name, Phase: driver.Ready, URL: r.url(key.Name, e), InvokePolicy: r.invokePolicy(key.Name), Labels: users(e.Labels),
		Marks: driver.Marks{Owned: owned(e, key.Name), Incomplete: e.Labels[labelIncomplete] == yes, Untested: e.Labels[labelUntested] == yes}}
	if e.CreateTime != nil {
		s.Created = e.CreateTime.UTC()
	}
	set := &s.Settings
	set.Network = driver.Network{Access: accessPublic, Network: e.Network}
	if e.Network != "" || e.attached() {
		set.Network.Access = accessPrivate
	}
	set.Auth.Mode, set.Encryption.Key = authIAM, e.EncryptionSpec.key()
	if l := e.Logging; l != nil && l.Enabled {
		set.Capture = &driver.Capture{Percent: percentOf(l.SamplingRate), Include: []string{captureRequest, captureResponse}}
		if l.BigQuery != nil {
			set.Capture.Destination = l.BigQuery.OutputURI
		}
	}
	if c := e.ClientConnection; c != nil {
		set.RequestTimeout, _ = time.ParseDuration(c.InferenceTimeout)
	} else if e.Labels[labelTimeout] == yes && !e.Dedicated && !e.attached() {
		set.RequestTimeout = sharedTimeout
	}
	names := r.names(key.Name, e)
	busiest, most := "", -1
	for i := range e.DeployedModels {
		dm := &e.DeployedModels[i]
		s.Deployments = append(s.Deployments, r.deployment(key, e, dm, names[dm.ID]))
		if e.TrafficSplit[dm.ID] > most {
			busiest, most = dm.ServiceAccount, e.TrafficSplit[dm.ID]
		}
	}
	special := driver.VertexAIEndpoint{Dedicated: e.Dedicated, ServiceAccount: accountIn(e.Labels)}
	if !s.Marks.Owned {
		special.ServiceAccount = busiest // nobody has said what is wanted
	}
	if special != (driver.VertexAIEndpoint{}) {
		set.VertexAI = &special
	}
	return s
}

// attached reports whether an endpoint is one of Private Service Connect.
func (e *wireEndpoint) attached() bool { return e.PrivateService != nil && e.PrivateService.Enable }

// called is what a deployment is called in the configuration, and whether it is ours.
type called struct {
	name  string
	owned bool
}

// names finds the names of all deployments: in the display name of those that we
// made, in the endpoint's labels of those that were adopted. Of others the display
// name serves too, if it could be a name and is that of one only: not on an endpoint
// of ours of one that we made, which somebody else's must not stand in for.
func (r *region) names(endpoint string, e *wireEndpoint) map[string]called {
	all, theirs, taken := map[string]called{}, map[string]int{}, map[string]bool{}
	for i := range e.DeployedModels {
		dm := &e.DeployedModels[i]
		if name, ok := ownName(r.name, endpoint, dm); ok {
			all[dm.ID] = called{name, true}
			taken[name] = owned(e, endpoint)
		} else {
			theirs[dm.DisplayName]++
		}
	}
	for k, id := range e.Labels {
		if name, ok := strings.CutPrefix(k, labelDeployment); ok && all[id] == (called{}) {
			all[id] = called{name, true}
		}
	}
	for i := range e.DeployedModels {
		dm := &e.DeployedModels[i]
		if all[dm.ID] != (called{}) {
			continue
		}
		all[dm.ID] = called{name: "d" + dm.ID}
		if theirs[dm.DisplayName] == 1 && !taken[dm.DisplayName] && checkName("", "deployment", dm.DisplayName, nil) == nil {
			all[dm.ID] = called{name: dm.DisplayName}
		}
	}
	return all
}

// url is where predictions are sent, without the platform's envelope. In rehearsal it is
// the platform's address too: an emulator's own lives no longer than its process. With
// Private Service Connect the address is the consumer's to choose: what is known, once
// something is deployed, is the service attachment that a forwarding rule leads to.
func (r *region) url(name string, e *wireEndpoint) string {
	if e.attached() {
		attachment := e.PrivateService.Attachment
		for i := range e.DeployedModels {
			if p := e.DeployedModels[i].PrivateEndpoints; p != nil {
				attachment = cmp.Or(attachment, p.Attachment)
			}
		}
		return attachment
	}
	base := r.base
	if r.d.cfg.EndpointURL == "" || r.d.cfg.Isolated {
		base = publicHost(r.name)
		if e.Dedicated && e.DedicatedDNS != "" {
			base = "https://" + strings.TrimPrefix(e.DedicatedDNS, "https://")
		}
	}
	return r.reached(base, name, e)
}

// reached is where predictions are sent at a host.
func (r *region) reached(base, name string, e *wireEndpoint) string {
	for i := range e.DeployedModels {
		if p := e.DeployedModels[i].PrivateEndpoints; e.Network != "" && p != nil && p.PredictURI != "" {
			return p.PredictURI
		}
	}
	return base + "/" + v1 + "/" + r.endpoint(name) + ":rawPredict"
}

// invokePolicy is what a caller has to be granted.
func (r *region) invokePolicy(name string) string {
	data, err := json.Marshal(map[string]string{"role": invokerRole, "permission": "aiplatform.endpoints.predict", "resource": r.endpoint(name)})
	if err != nil {
		panic("a policy is plain data: " + err.Error())
	}
	return string(data)
}
