// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// endpoint is an online endpoint.
type endpoint struct {
	ID       string
	Created  time.Time
	Changed  time.Time
	ARM      *ml.OnlineEndpoint // as it is, without what is of the moment
	State    string             // Succeeded or Failed, when nothing is running
	Busy     string             // the operation that runs
	During   string             // its state meanwhile
	Latest   string             // the operation that was begun last
	Keys     map[string]string  // primary and secondary
	Tokens   map[string]time.Time
	Route    string // the path of predictions, of the deployment that was made last
	Turns    int    // counts requests, for the split
	Served   map[string]int
	Mirrored map[string]int
}

func (e *endpoint) at() target {
	t, _ := parseID(e.ID)
	return t
}

func (e *endpoint) managed() bool { return value(e.ARM.Properties.Compute) == "" }

// loadEndpoint reads an endpoint, nil if there is none.
func (r *request) loadEndpoint(at target) (*endpoint, error) {
	e := &endpoint{}
	found, err := r.tx.Get(kindEndpoint, at.key(), e)
	if err != nil || !found {
		return nil, err
	}
	return e, nil
}

// mustEndpoint refuses when there is no such endpoint.
func (r *request) mustEndpoint(at target) (*endpoint, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(at)
	if err == nil && e == nil {
		err = notFound(at)
	}
	return e, err
}

func (r *request) saveEndpoint(e *endpoint) error {
	return r.tx.Put(kindEndpoint, strings.ToLower(e.ID), e)
}

// view is an endpoint as it is answered.
func (r *request) view(e *endpoint) (map[string]any, error) {
	running, err := r.runningOn(e.Busy)
	if err != nil {
		return nil, err
	}
	arm := *e.ARM
	p := *arm.Properties
	arm.Properties = &p
	at := e.at()
	arm.ID, arm.Name, arm.Type = new(e.ID), new(at.name()), new(at.kind())
	state := ml.EndpointProvisioningState(r.shownState(e.State, e.During, running))
	p.ProvisioningState = &state
	base := r.base() + scoringBase + value(arm.Location) + "/" + strings.ToLower(at.name())
	p.ScoringURI, p.SwaggerURI = new(base+e.Route), new(base+"/swagger.json")
	if p.Traffic == nil {
		p.Traffic = map[string]*int32{}
	}
	if p.MirrorTraffic == nil {
		p.MirrorTraffic = map[string]*int32{}
	}
	p.Keys = nil
	p.Properties = r.systemProperties(p.Properties, "azureml.onlineendpointid", e.ID, e.Latest, value(arm.Location))
	return shown(arm, e.Created, e.Changed)
}

// shown is a resource as JSON with what all resources have.
func shown(arm any, created, changed time.Time) (map[string]any, error) {
	data, err := json.Marshal(arm)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	out["systemData"] = systemData(created, changed)
	return out, nil
}

// systemProperties adds to the caller's what the platform puts beside them.
func (r *request) systemProperties(own map[string]*string, name, id, latest, location string) map[string]*string {
	out := map[string]*string{}
	maps.Copy(out, own)
	out[name] = new(strings.ToLower(id))
	at, _ := parseID(id)
	out["AzureAsyncOperationUri"] = new("https://management.azure.com/subscriptions/" + at.sub + "/providers/" + machineLearning + "/locations/" + location +
		"/mfeOperationsStatus/oe:" + guid(strings.ToLower(at.up(len(at.names)-1).id())) + ":" + latest + "?api-version=2022-02-01-preview")
	return out
}

func getEndpoint(r *request) (*reply, error) {
	e, err := r.mustEndpoint(r.target)
	if err != nil {
		return nil, err
	}
	view, err := r.view(e)
	return ok(view), err
}

// read answers a resource by its id, as GET would.
func (r *request) read(id string) (*reply, error) {
	at, _ := parseID(id)
	again := *r
	again.target = at
	switch at.types[len(at.types)-1] {
	case "onlineEndpoints":
		return getEndpoint(&again)
	case "deployments":
		return getDeployment(&again)
	}
	return getAsset(&again)
}

func putEndpoint(r *request) (*reply, error) {
	ws, err := r.workspace()
	if err != nil {
		return nil, err
	}
	in, err := decode[ml.OnlineEndpoint](r.body)
	if err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(r.target)
	if err != nil {
		return nil, err
	}
	if err := r.checkEndpoint(ws, in); err != nil {
		return nil, err
	}
	if e == nil {
		return r.createEndpoint(in)
	}
	if err := r.idle(e); err != nil {
		return nil, err
	}
	if err := r.checkEndpointChange(e, in); err != nil {
		return nil, err
	}
	return r.changeEndpoint(e, in, "onlineEndpoints.createOrUpdate", http.StatusOK)
}

func (r *request) createEndpoint(in *ml.OnlineEndpoint) (*reply, error) {
	if len(in.Properties.Traffic)+len(in.Properties.MirrorTraffic) > 0 {
		return nil, nested("InferencingClientCreateEndpointFailed", "The traffic of endpoint %s names deployments that do not exist: %s.", r.name(), strings.Join(append(sortedKeys(in.Properties.Traffic), sortedKeys(in.Properties.MirrorTraffic)...), ", "))
	}
	if err := r.claim(in); err != nil {
		return nil, err
	}
	e := &endpoint{ID: r.id(), Created: r.now(), Changed: r.now(), ARM: in, During: "Creating", State: "Failed", Route: "/score", Keys: map[string]string{}}
	own := in.Properties.Keys
	for _, which := range []string{"primary", "secondary"} {
		e.Keys[which] = newKey()
	}
	if own != nil && value(own.PrimaryKey) != "" {
		e.Keys["primary"] = *own.PrimaryKey
	}
	if own != nil && value(own.SecondaryKey) != "" {
		e.Keys["secondary"] = *own.SecondaryKey
	}
	tidyEndpoint(in)
	in.Location = new(plainLocation(value(in.Location)))
	in.Identity = identityOf(in.Identity, e.ID)
	o := &operation{Subject: e.ID, Location: value(in.Location), First: true}
	if err := r.start("onlineEndpoints.create", o); err != nil {
		return nil, err
	}
	e.Busy, e.Latest = o.ID, o.ID
	if o.Early {
		e.State = "Succeeded"
	}
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	view, err := r.view(e)
	if err != nil {
		return nil, err
	}
	return r.accepted(http.StatusCreated, view, o), nil
}

// changeEndpoint begins a change: what is there stays until it has come to its end.
func (r *request) changeEndpoint(e *endpoint, in *ml.OnlineEndpoint, kindOf string, status int) (*reply, error) {
	tidyEndpoint(in)
	keepProperties(in.Properties, e.ARM.Properties)
	in.Location, in.Identity = e.ARM.Location, e.ARM.Identity
	wanted, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	o := &operation{Subject: e.ID, Location: value(e.ARM.Location), Request: wanted}
	if err := r.start(kindOf, o); err != nil {
		return nil, err
	}
	e.Busy, e.Latest, e.During = o.ID, o.ID, "Updating"
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	seen := *e
	seen.ARM = in
	view, err := r.view(&seen)
	if err != nil {
		return nil, err
	}
	if status == http.StatusAccepted {
		return r.accepted(status, nil, o), nil
	}
	return r.accepted(status, view, o), nil
}

func endpointChanged(r *request, o *operation) error {
	return r.endpointDone(o, func(e *endpoint) error {
		if o.Request == nil || o.Ignored {
			return nil
		}
		in := &ml.OnlineEndpoint{}
		if err := json.Unmarshal(o.Request, in); err != nil {
			return err
		}
		e.ARM = in
		return nil
	})
}

func (r *request) endpointDone(o *operation, change func(*endpoint) error) error {
	at, _ := parseID(o.Subject)
	e, err := r.loadEndpoint(at)
	if err != nil || e == nil {
		return err
	}
	if err := change(e); err != nil {
		return err
	}
	e.State, e.Busy, e.Changed = "Succeeded", "", o.Ends
	if o.Again {
		if err := r.maintain(e, o); err != nil {
			return err
		}
	}
	return r.saveEndpoint(e)
}

// maintain makes the endpoint busy once more, for nothing that anybody has asked for.
func (r *request) maintain(e *endpoint, o *operation) error {
	own := &operation{Subject: e.ID, Location: o.Location, Created: o.Ends}
	if err := r.start("onlineEndpoints.maintenance", own); err != nil {
		return err
	}
	e.Busy, e.Latest, e.During = own.ID, own.ID, "Updating"
	return nil
}

func endpointMaintained(r *request, o *operation) error {
	return r.endpointDone(o, func(*endpoint) error { return nil })
}

func endpointFailed(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	e, err := r.loadEndpoint(at)
	if err != nil || e == nil {
		return err
	}
	e.State, e.Busy = o.Status, ""
	return r.saveEndpoint(e)
}

func patchEndpoint(r *request) (*reply, error) {
	in, err := decode[ml.PartialMinimalTrackedResourceWithIdentity](r.body)
	if err != nil {
		return nil, err
	}
	e, err := r.mustEndpoint(r.target)
	if err != nil {
		return nil, err
	}
	if err := r.idle(e); err != nil {
		return nil, err
	}
	if in.Identity != nil {
		return nil, badRequest("The identity of an online endpoint cannot be changed after it has been created.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	wanted := *e.ARM
	if in.Tags != nil {
		wanted.Tags = in.Tags
	}
	return r.changeEndpoint(e, &wanted, "onlineEndpoints.update", http.StatusAccepted)
}

func deleteEndpoint(r *request) (*reply, error) {
	e, err := r.mustEndpoint(r.target)
	if err != nil {
		return nil, err
	}
	if err := r.idle(e); err != nil {
		return nil, err
	}
	all, err := r.deployments(e)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		running, err := r.runningOn(d.Busy)
		if err != nil {
			return nil, err
		}
		if running != nil {
			return nil, conflict("Conflict of operation, another operation on same entity is already running in workspace %s: deployment %s of endpoint %s is in %s provisioning state.", r.names[0], d.at().name(), r.name(), d.During)
		}
	}
	o := &operation{Subject: e.ID, Location: value(e.ARM.Location)}
	if err := r.start("onlineEndpoints.delete", o); err != nil {
		return nil, err
	}
	e.Busy, e.Latest, e.During = o.ID, o.ID, "Deleting"
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	return r.accepted(http.StatusAccepted, nil, o), nil
}

// endpointDeleted takes the deployments along, and nothing else: autoscale settings
// and role assignments stay behind.
func endpointDeleted(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	e, err := r.loadEndpoint(at)
	if err != nil || e == nil || o.Ignored {
		return err
	}
	all, err := r.deployments(e)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := r.tx.Delete(kindDeployment, strings.ToLower(d.ID)); err != nil {
			return err
		}
	}
	if err := r.tx.Delete(kindHost, hostKey(value(e.ARM.Location), at.name())); err != nil {
		return err
	}
	return r.tx.Delete(kindEndpoint, at.key())
}

func listEndpoints(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	size, err := r.limit("count")
	if err != nil {
		return nil, err
	}
	return r.page(kindEndpoint, r.key()+"/", size, func(_ string, data []byte) (any, error) {
		e := &endpoint{}
		if err := json.Unmarshal(data, e); err != nil || !r.listed(e) {
			return nil, err
		}
		return r.listView(e)
	})
}

// listed reports whether the filters of a list let an endpoint through.
func (r *request) listed(e *endpoint) bool {
	name, compute := r.query.Get("name"), r.query.Get("computeType")
	kindOf := "Kubernetes"
	if e.managed() {
		kindOf = "Managed"
	}
	return (name == "" || same(name, e.at().name())) && (compute == "" || compute == kindOf) && tagged(e.ARM.Tags, r.query.Get("tags"))
}

// tagged reports whether tags have those of a filter, "a=b,c".
func tagged(tags map[string]*string, filter string) bool {
	for one := range strings.SplitSeq(filter, ",") {
		name, want, valued := strings.Cut(one, "=")
		if name == "" {
			continue
		}
		if got, is := tags[name]; !is || (valued && value(got) != want) {
			return false
		}
	}
	return true
}

// listView is an endpoint in a list, where the platform writes ids in lower case.
func (r *request) listView(e *endpoint) (any, error) {
	view, err := r.view(e)
	if err == nil {
		view["id"] = lowered(e.ID)
	}
	return view, err
}

// lowered is an id as lists spell it.
func lowered(id string) string {
	at, _ := parseID(id)
	return strings.ToLower(at.scope) + "/providers/" + at.relative()
}
