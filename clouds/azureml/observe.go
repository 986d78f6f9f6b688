// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// deployments lists the deployments of an endpoint, of which there are 20 at most.
func (w *workspace) deployments(ctx context.Context, endpoint string) ([]*deployment, error) {
	all, err := collect(ctx, w.c.OnlineDeployments.NewListPager(w.group, w.name, endpoint, nil),
		func(p ml.OnlineDeploymentsClientListResponse) []*deployment { return p.Value })
	if err != nil {
		return nil, failed(err, "cannot list the deployments of the endpoint %s", endpoint)
	}
	return slices.DeleteFunc(all, func(d *deployment) bool { return d.Properties == nil || d.Name == nil }), nil
}

// listPage is how many endpoints a page of a list is to have.
const listPage = 100

// listed are all endpoints of the workspace, by name in lower case.
func (w *workspace) listed(ctx context.Context) (map[string]*endpoint, error) {
	return w.endpoints.get(ctx, func(ctx context.Context) (map[string]*endpoint, error) {
		all, err := collect(ctx, w.c.OnlineEndpoints.NewListPager(w.group, w.name, &ml.OnlineEndpointsClientListOptions{Count: new(int32(listPage))}),
			func(p ml.OnlineEndpointsClientListResponse) []*endpoint { return p.Value })
		if err != nil {
			return nil, failed(err, "cannot list the endpoints of %s", w.location)
		}
		found := make(map[string]*endpoint, len(all))
		for _, e := range all {
			if e.Name != nil && e.Properties != nil {
				found[strings.ToLower(*e.Name)] = e
			}
		}
		return found, nil
	})
}

// ObserveEndpoint reads an endpoint.
func (d *azureML) ObserveEndpoint(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	if settled(known) && len(w.pending.list(key.Name)) == 0 {
		if s, err := w.confirmed(ctx, key, known); s != nil || err != nil {
			return s, err
		}
	}
	running, err := w.running(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	if known != nil && (changing(known.Phase) || slices.ContainsFunc(known.Deployments, func(d driver.DeploymentState) bool { return changing(d.Phase) })) {
		return w.glance(ctx, key, running, known)
	}
	return w.read(ctx, key, running, known)
}

// settled reports whether nothing is known to be missing of an endpoint, or left over.
func settled(known *driver.EndpointState) bool {
	return known != nil && known.Phase == driver.Ready && known.Unfinished == "" &&
		!slices.ContainsFunc(known.Deployments, func(d driver.DeploymentState) bool { return d.Phase != driver.Ready })
}

func changing(p driver.Phase) bool { return p == driver.Changing || p == driver.Deleting }

// confirmed reads what is known from lists. It is nil where they are not enough: a list
// may lag, so that only a read tells that something is gone or is changing. No list has
// the deployments of several endpoints.
func (w *workspace) confirmed(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	var e *endpoint
	var all []*deployment
	var scalers map[string]*scaler
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		listed, err := w.listed(inner)
		e = listed[strings.ToLower(key.Name)]
		return err
	})
	group.Go(func() (err error) {
		scalers, err = w.sharedScalers(inner)
		return err
	})
	group.Go(func() (err error) {
		all, err = w.deployments(inner, key.Name)
		return gone(err)
	})
	same := false
	group.Go(func() (err error) {
		same, err = w.invokersConfirmed(inner, key, known)
		return err
	})
	if err := group.Wait(); err != nil || e == nil || !same || moving(e) {
		return nil, err
	}
	w.remember(key.Name, e)
	w.rememberPaths(key.Name, e, all)
	s := w.state(key, e, all)
	for i := range s.Deployments {
		if s.Deployments[i].Phase != driver.Ready {
			return nil, nil //nolint:nilnil // as above
		}
		w.scaled(&s.Deployments[i], key.Name, e, scalers)
	}
	s.Settings.Auth.Invokers, s.Memo = known.Settings.Auth.Invokers, known.Memo
	s.Leftovers = w.danglers(key.Name, all, scalers)
	return s, nil
}

func total(shares map[string]*int32) int {
	n := 0
	for _, v := range shares {
		n += int(deref(v))
	}
	return n
}

// glance is a cheap read, of what tells whether the platform is still at work. The
// rest is as it is known.
func (w *workspace) glance(ctx context.Context, key driver.Key, running []started, known *driver.EndpointState) (*driver.EndpointState, error) {
	e, all, err := w.pair(ctx, key.Name)
	if mlerr.Is(err, mlerr.NotFound) {
		return w.absent(key, running, err)
	}
	if err != nil {
		return nil, err
	}
	s := w.state(key, e, all)
	for i := range s.Deployments {
		for j := range known.Deployments {
			if s.Deployments[i].ID == known.Deployments[j].ID && clusterSeen(e) == "" {
				s.Deployments[i].Scaling = known.Deployments[j].Scaling
			}
		}
	}
	s.Settings.Auth.Invokers = known.Settings.Auth.Invokers
	w.overlay(s, running)
	return s, nil
}

// pair reads an endpoint and its deployments.
func (w *workspace) pair(ctx context.Context, name string) (e *endpoint, all []*deployment, err error) {
	group, inner := errgroup.WithContext(ctx)
	var absent error
	group.Go(func() (err error) {
		if e, err = w.getEndpoint(inner, name); mlerr.Is(err, mlerr.NotFound) {
			absent, err = err, nil // whatever its deployments say
		}
		return err
	})
	group.Go(func() (err error) {
		all, err = w.deployments(inner, name)
		return gone(err)
	})
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	if absent == nil {
		w.rememberPaths(name, e, all)
	}
	return e, all, absent
}

// absent is an endpoint that is not there: not yet, where this process has begun to
// make it.
func (w *workspace) absent(key driver.Key, running []started, err error) (*driver.EndpointState, error) {
	if c := find(running, creating, ""); c != nil {
		return w.unborn(key, c), nil
	}
	return nil, err
}

// read reads an endpoint with its deployments, what scales them and who may call it.
func (w *workspace) read(ctx context.Context, key driver.Key, running []started, known *driver.EndpointState) (*driver.EndpointState, error) {
	var e *endpoint
	var all []*deployment
	var scalers map[string]*scaler
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		e, all, err = w.pair(inner, key.Name)
		return err
	})
	group.Go(func() (err error) {
		scalers, err = w.listScalers(inner)
		return err
	})
	err := group.Wait()
	if mlerr.Is(err, mlerr.NotFound) && e == nil {
		return w.absent(key, running, err)
	}
	if err != nil {
		return nil, err
	}
	s := w.state(key, e, all)
	for i := range s.Deployments {
		w.scaled(&s.Deployments[i], key.Name, e, scalers)
	}
	w.overlay(s, running)
	w.told(key.Name, creating, updating, deleting, scaling, undeploying)
	w.pending.drop(key.Name, func(o started) bool { return o.canceled() })
	w.tellLogs(ctx, s)
	if s.Settings.Auth.Invokers, err = w.invokers(ctx, key.Name, s, known); err != nil {
		return nil, err
	}
	if s.Phase == driver.Ready && !slices.ContainsFunc(s.Deployments, func(d driver.DeploymentState) bool { return d.Phase == driver.Changing }) {
		s.Leftovers = w.danglers(key.Name, all, scalers)
	}
	return s, nil
}

// unborn is an endpoint whose creation this process has begun.
func (w *workspace) unborn(key driver.Key, c *started) *driver.EndpointState {
	s := &driver.EndpointState{Key: key, NativeID: w.endpointID(key.Name), Phase: driver.Changing, Marks: driver.Marks{Owned: true, Incomplete: true}}
	if c.failure != nil {
		s.Phase, s.Reason = driver.Failed, explain(c.failure)
		w.told(key.Name, creating)
	}
	return s
}

// state translates what the endpoint and its deployments show.
func (w *workspace) state(key driver.Key, e *endpoint, all []*deployment) *driver.EndpointState {
	s := &driver.EndpointState{Key: key}
	found := names(key.Name, e, all)
	for _, d := range all {
		s.Deployments = append(s.Deployments, w.deploymentState(key, e, d, found[deref(d.Name)]))
	}
	sort.Slice(s.Deployments, func(i, j int) bool {
		a, b := &s.Deployments[i], &s.Deployments[j]
		return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
	})
	w.fill(s, e, busiestOf(s.Deployments))
	return s
}

// busiestOf are the settings of the deployment with most requests, nil if there is none.
func busiestOf(all []driver.DeploymentState) *driver.Settings {
	var busiest *driver.DeploymentState
	for i := range all {
		if d := &all[i]; busiest == nil || d.Traffic > busiest.Traffic {
			busiest = d
		}
	}
	if busiest == nil {
		return nil
	}
	return &busiest.Carried
}

// fill translates what the endpoint itself shows.
func (w *workspace) fill(s *driver.EndpointState, e *endpoint, busiest *driver.Settings) {
	name := s.Key.Name
	s.NativeID, s.URL, s.Labels, s.InvokePolicy = w.endpointID(name), w.d.shown(deref(e.Properties.ScoringURI)), users(e.Tags), w.invokePolicy(name)
	s.Marks = driver.Marks{Owned: owned(e, name), Incomplete: tag(e.Tags, tagIncomplete) == yes, Untested: tag(e.Tags, tagUntested) == yes}
	s.Phase, s.Repair, s.Reason = driver.Ready, "", ""
	if e.SystemData != nil && e.SystemData.CreatedAt != nil {
		s.Created = e.SystemData.CreatedAt.UTC()
	}
	switch deref(e.Properties.ProvisioningState) {
	case ml.EndpointProvisioningStateCreating, ml.EndpointProvisioningStateUpdating:
		s.Phase = driver.Changing
	case ml.EndpointProvisioningStateDeleting:
		s.Phase = driver.Deleting
	case ml.EndpointProvisioningStateFailed, ml.EndpointProvisioningStateCanceled:
		s.Phase, s.Reason = driver.Failed, "its state is "+string(*e.Properties.ProvisioningState)
		if len(s.Deployments) > 0 { // it goes on with what it was before
			s.Phase, s.Repair = driver.Ready, "its last change has failed"
		}
	}
	invokers := s.Settings.Auth.Invokers
	s.Settings = settingsOf(e, s.Marks.Owned, busiest)
	s.Settings.Auth.Invokers = invokers
}

// overlay adds what operations of this process tell: of an endpoint that changes
// though it claims to have, and why something has failed.
func (w *workspace) overlay(s *driver.EndpointState, running []started) {
	at := func(id string) *driver.DeploymentState {
		for i := range s.Deployments {
			if strings.EqualFold(s.Deployments[i].ID, id) {
				return &s.Deployments[i]
			}
		}
		return nil
	}
	for i := range running {
		o, d := &running[i], at(running[i].id)
		if o.canceled() {
			s.Interrupted = explain(o.failure)
		}
		switch {
		case o.failure != nil && d != nil:
			d.Reason = explain(o.failure)
			if o.failure.has("OutOfQuota") {
				d.Reason += ": " + quotaWords(&d.Deployment)
			}
		case o.failure != nil:
			s.Reason = explain(o.failure)
		case o.id == "" && o.kind != deleting && s.Phase == driver.Ready:
			s.Phase = driver.Changing
		case o.kind == deleting:
			s.Phase = driver.Deleting
		case o.kind == undeploying && d != nil:
			d.Phase = driver.Deleting
			s.Phase = driver.Changing
		case d != nil && d.Phase == driver.Ready:
			d.Phase = driver.Changing
		}
	}
}

// canceled is an operation that the platform has given up for no reason of ours.
func (s *started) canceled() bool { return s.failure != nil && s.failure.has("OperationCanceled") }

// logTail is how many lines of a container's log are told.
const logTail = 50

// tellLogs adds to the reason of what has failed what its containers printed last.
func (w *workspace) tellLogs(ctx context.Context, s *driver.EndpointState) {
	for i := range s.Deployments {
		d := &s.Deployments[i]
		if d.Phase != driver.Failed || !d.Owned {
			continue
		}
		for _, container := range []ml.ContainerType{ml.ContainerTypeStorageInitializer, ml.ContainerTypeInferenceServer} {
			got, err := w.c.OnlineDeployments.GetLogs(ctx, w.group, w.name, s.Key.Name, d.ID, ml.DeploymentLogsRequest{ContainerType: &container, Tail: new(int32(logTail))}, nil)
			if err != nil { // there may be none
				w.d.log.Debug("no log", "deployment", d.ID, "container", container, "error", err)
				continue
			}
			if text := strings.TrimSpace(deref(got.Content)); text != "" {
				d.Reason = strings.TrimPrefix(d.Reason+"\n"+string(container)+":\n"+text, "\n")
			}
		}
	}
}

// invokePolicy is what a caller has to be granted.
func (w *workspace) invokePolicy(name string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string]string{"action": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action", "scope": w.endpointID(name)})
	if err != nil {
		panic("a policy is plain data: " + err.Error())
	}
	return strings.TrimSpace(b.String())
}

// sameSettings compares by content.
func sameSettings(a, b *driver.Settings) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// remember notes where an endpoint answers.
func (w *workspace) remember(name string, e *endpoint) {
	w.once.Lock()
	defer w.once.Unlock()
	if w.seen == nil {
		w.seen = map[string]callee{}
	}
	c := w.seen[strings.ToLower(name)]
	c.address, c.mode = deref(e.Properties.ScoringURI), authMode(deref(e.Properties.AuthMode))
	c.host = strings.TrimSuffix(deref(e.Properties.SwaggerURI), "/swagger.json")
	w.seen[strings.ToLower(name)] = c
}

// rememberPaths notes where the servers of an endpoint's deployments answer.
func (w *workspace) rememberPaths(name string, e *endpoint, all []*deployment) {
	w.once.Lock()
	defer w.once.Unlock()
	c, most := w.seen[strings.ToLower(name)], -1
	c.paths = map[string]string{}
	for _, d := range all {
		id := strings.ToLower(deref(d.Name))
		c.paths[id] = tag(d.Properties.GetOnlineDeploymentProperties().Properties, propertyPath)
		if n := share(e.Properties.Traffic, id); n > most {
			c.busiest, most = id, n
		}
	}
	w.seen[strings.ToLower(name)] = c
}
