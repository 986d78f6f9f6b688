// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// deployment is a deployment of an online endpoint.
type deployment struct {
	ID      string
	Created time.Time
	Changed time.Time
	ARM     *ml.OnlineDeployment // as it is, without what is of the moment
	State   string               // Succeeded, Failed or Canceled, when nothing is running
	Busy    string               // the operation that runs
	During  string               // its state meanwhile
	Latest  string               // the operation that was begun last
	Ever    bool                 // it has served
	Reason  string               // why it failed last
}

func (d *deployment) at() target {
	t, _ := parseID(d.ID)
	return t
}

// managed reports whether it is on the platform's own machines, and not on a cluster.
func (d *deployment) managed() bool { return d.settings().compute == ml.EndpointComputeTypeManaged }

// settings are those of a deployment on either kind of compute.
type settings struct {
	compute     ml.EndpointComputeType
	model       *string
	environment *string
	code        *ml.CodeConfiguration
	instance    *string
	mount       *string
	egress      *ml.EgressPublicNetworkAccessType
	env         map[string]*string
	requests    *ml.OnlineRequestSettings
	liveness    *ml.ProbeSettings
	readiness   *ml.ProbeSettings
	collector   *ml.DataCollector
	scale       ml.OnlineScaleSettingsClassification
	resources   *ml.ContainerResourceRequirements
	properties  map[string]*string
	description *string
}

// settingsOf reads the settings; ok is false for a kind of compute that is not known.
func settingsOf(in *ml.OnlineDeployment) (s settings, ok bool) {
	switch p := in.Properties.(type) {
	case *ml.ManagedOnlineDeployment:
		return settings{ml.EndpointComputeTypeManaged, p.Model, p.EnvironmentID, p.CodeConfiguration, p.InstanceType, p.ModelMountPath, p.EgressPublicNetworkAccess,
			p.EnvironmentVariables, p.RequestSettings, p.LivenessProbe, p.ReadinessProbe, p.DataCollector, p.ScaleSettings, nil, p.Properties, p.Description}, true
	case *ml.KubernetesOnlineDeployment:
		return settings{ml.EndpointComputeTypeKubernetes, p.Model, p.EnvironmentID, p.CodeConfiguration, p.InstanceType, p.ModelMountPath, p.EgressPublicNetworkAccess,
			p.EnvironmentVariables, p.RequestSettings, p.LivenessProbe, p.ReadinessProbe, p.DataCollector, p.ScaleSettings, p.ContainerResourceRequirements, p.Properties, p.Description}, true
	}
	return s, false
}

func (d *deployment) settings() settings {
	s, _ := settingsOf(d.ARM) // only what is known is kept
	return s
}

func (d *deployment) capacity() int { return int(value(d.ARM.SKU.Capacity)) }

func (r *request) loadDeployment(at target) (*deployment, error) {
	d := &deployment{}
	found, err := r.tx.Get(kindDeployment, at.key(), d)
	if err != nil || !found {
		return nil, err
	}
	return d, nil
}

func (r *request) saveDeployment(d *deployment) error {
	return r.tx.Put(kindDeployment, strings.ToLower(d.ID), d)
}

// deployments are those of an endpoint.
func (r *request) deployments(e *endpoint) (all []*deployment, err error) {
	err = r.tx.Each(kindDeployment, strings.ToLower(e.ID)+"/", func(_ string, data []byte) error {
		d := &deployment{}
		all = append(all, d)
		return json.Unmarshal(data, d)
	})
	return all, err
}

// mustDeployment refuses when there is no such deployment, or no such endpoint.
func (r *request) mustDeployment() (*endpoint, *deployment, error) {
	at := r.target
	if len(at.types) > len(at.names) {
		at.types = at.types[:len(at.names)]
	}
	e, err := r.loadEndpoint(at.up(1))
	if err != nil {
		return nil, nil, err
	}
	if e == nil {
		return nil, nil, parentNotFound(at.up(1))
	}
	d, err := r.loadDeployment(at)
	if err == nil && d == nil {
		err = notFound(at)
	}
	return e, d, err
}

func parentNotFound(parent target) error {
	return refuse(http.StatusNotFound, "ParentResourceNotFound", "Failed to perform the operation on a nested resource: the parent resource '%s' was not found.", parent.relative())
}

// deploymentView is a deployment as it is answered.
func (r *request) deploymentView(d *deployment) (map[string]any, error) {
	running, err := r.runningOn(d.Busy)
	if err != nil {
		return nil, err
	}
	arm := *d.ARM
	at := d.at()
	arm.ID, arm.Name, arm.Type = new(d.ID), new(at.name()), new(at.kind())
	view, err := shown(arm, d.Created, d.Changed)
	if err != nil {
		return nil, err
	}
	p, _ := view["properties"].(map[string]any)
	p["provisioningState"] = r.shownState(d.State, d.During, running)
	p["properties"] = r.systemProperties(d.settings().properties, "azureml.onlinedeploymentid", d.ID, d.Latest, value(arm.Location))
	return view, nil
}

func getDeployment(r *request) (*reply, error) {
	_, d, err := r.mustDeployment()
	if err != nil {
		return nil, err
	}
	view, err := r.deploymentView(d)
	return ok(view), err
}

func putDeployment(r *request) (*reply, error) {
	ws, err := r.workspace()
	if err != nil {
		return nil, err
	}
	in, err := decode[ml.OnlineDeployment](r.body)
	if err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(r.up(1))
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, parentNotFound(r.up(1))
	}
	d, err := r.loadDeployment(r.target)
	if err != nil {
		return nil, err
	}
	if err := r.quiet(e, d, "create"); err != nil {
		return nil, err
	}
	if err := r.checkDeployment(ws, e, in); err != nil {
		return nil, err
	}
	if d != nil {
		return r.updateDeployment(d, in)
	}
	if err := r.checkRoom(e, r.key(), in); err != nil {
		return nil, err
	}
	tidyDeployment(in, ws)
	d = &deployment{ID: r.id(), Created: r.now(), Changed: r.now(), ARM: in, State: "Failed", During: "Creating"}
	return r.begin(d, &operation{First: true}, "onlineDeployments.create", http.StatusCreated)
}

func (r *request) updateDeployment(d *deployment, in *ml.OnlineDeployment) (*reply, error) {
	ws, err := r.workspace()
	if err != nil {
		return nil, err
	}
	if !d.Ever {
		return nil, badRequest("Deployment %s failed during initial provisioning and is in an unrecoverable state. Delete and re-create it.", r.name())
	}
	if err := r.checkDeploymentChange(d, in); err != nil {
		return nil, err
	}
	if err := r.checkRoom(nil, r.key(), in); err != nil {
		return nil, err
	}
	tidyDeployment(in, ws)
	setProperties(in, merged(mustSettings(in).properties, d.settings().properties))
	in.Location = d.ARM.Location
	return r.change(d, in, "onlineDeployments.createOrUpdate", http.StatusOK)
}

// change begins a change of a deployment, which goes on serving as it was.
func (r *request) change(d *deployment, in *ml.OnlineDeployment, kindOf string, status int) (*reply, error) {
	wanted, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	d.During = "Updating"
	if value(in.SKU.Capacity) != value(d.ARM.SKU.Capacity) {
		d.During = "Scaling"
	}
	return r.begin(d, &operation{Request: wanted}, kindOf, status)
}

// begin starts an operation on a deployment and answers with it.
func (r *request) begin(d *deployment, o *operation, kindOf string, status int) (*reply, error) {
	o.Subject, o.Location = d.ID, value(d.ARM.Location)
	if err := r.start(kindOf, o); err != nil {
		return nil, err
	}
	d.Busy, d.Latest = o.ID, o.ID
	if o.Early && o.First {
		d.State = "Succeeded"
	}
	if err := r.saveDeployment(d); err != nil {
		return nil, err
	}
	if status == http.StatusAccepted {
		return r.accepted(status, nil, o), nil
	}
	seen := *d
	if o.Request != nil {
		seen.ARM = &ml.OnlineDeployment{}
		if err := json.Unmarshal(o.Request, seen.ARM); err != nil {
			return nil, err
		}
	}
	view, err := r.deploymentView(&seen)
	if err != nil {
		return nil, err
	}
	return r.accepted(status, view, o), nil
}

func deploymentChanged(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	d, err := r.loadDeployment(at)
	if err != nil || d == nil {
		return err
	}
	if o.Request != nil && !o.Ignored {
		in := &ml.OnlineDeployment{}
		if err := json.Unmarshal(o.Request, in); err != nil {
			return err
		}
		d.ARM = in
	}
	if o.First {
		if err := r.started(d); err != nil {
			return err
		}
	}
	d.State, d.Busy, d.Changed, d.Ever, d.Reason = "Succeeded", "", o.Ends, true, ""
	if err := r.saveDeployment(d); err != nil {
		return err
	}
	return r.routed(d, o)
}

// routed makes the path of predictions that of the deployment, and lets the endpoint
// be busy again when a fault wants that.
func (r *request) routed(d *deployment, o *operation) error {
	e, err := r.loadEndpoint(d.at().up(1))
	if err != nil || e == nil {
		return err
	}
	route, err := r.scoringRoute(d)
	if err != nil {
		return err
	}
	e.Route = route.shown
	if o.Again && e.Busy == "" {
		if err := r.maintain(e, o); err != nil {
			return err
		}
	}
	return r.saveEndpoint(e)
}

// deploymentFailed leaves the deployment: a new one can only be deleted, and another
// serves as it did before.
func deploymentFailed(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	d, err := r.loadDeployment(at)
	if err != nil || d == nil {
		return err
	}
	d.State, d.Busy, d.Reason = o.Status, "", o.Fails.Message
	return r.saveDeployment(d)
}

func patchDeployment(r *request) (*reply, error) {
	in, err := decode[ml.PartialMinimalTrackedResourceWithSKU](r.body)
	if err != nil {
		return nil, err
	}
	e, d, err := r.mustDeployment()
	if err != nil {
		return nil, err
	}
	if err := r.quiet(e, d, "update"); err != nil {
		return nil, err
	}
	if !d.Ever {
		return nil, badRequest("Deployment %s failed during initial provisioning and is in an unrecoverable state. Delete and re-create it.", r.name())
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	wanted := *d.ARM
	if in.Tags != nil {
		wanted.Tags = in.Tags
	}
	if in.SKU != nil {
		sku := *d.ARM.SKU
		if in.SKU.Name != nil {
			sku.Name = in.SKU.Name
		}
		if in.SKU.Capacity != nil {
			sku.Capacity = in.SKU.Capacity
		}
		wanted.SKU = &sku
	}
	if err := checkSKU(wanted.SKU); err != nil {
		return nil, err
	}
	if err := r.checkRoom(nil, r.key(), &wanted); err != nil {
		return nil, err
	}
	return r.change(d, &wanted, "onlineDeployments.update", http.StatusAccepted)
}

func deleteDeployment(r *request) (*reply, error) {
	e, d, err := r.mustDeployment()
	if err != nil {
		return nil, err
	}
	if err := r.quiet(e, d, "delete"); err != nil {
		return nil, err
	}
	name := strings.ToLower(r.name())
	for what, weights := range map[string]map[string]*int32{"traffic": e.ARM.Properties.Traffic, "mirror traffic": e.ARM.Properties.MirrorTraffic} {
		if weight := value(weights[name]); weight > 0 {
			return nil, nested("InferencingClientDeleteDeploymentFailed", "Cannot delete deployment %s of endpoint %s: it has %d percent of the %s. Set that to 0 first.", r.name(), e.at().name(), weight, what)
		}
	}
	d.During = "Deleting"
	return r.begin(d, &operation{}, "onlineDeployments.delete", http.StatusAccepted)
}

func deploymentDeleted(r *request, o *operation) error {
	if o.Ignored {
		return nil
	}
	at, _ := parseID(o.Subject)
	return r.tx.Delete(kindDeployment, at.key())
}

func listDeployments(r *request) (*reply, error) {
	if _, err := r.mustEndpoint(r.up(0)); err != nil {
		return nil, err
	}
	size, err := r.limit("$top")
	if err != nil {
		return nil, err
	}
	return r.page(kindDeployment, r.key()+"/", size, func(_ string, data []byte) (any, error) {
		d := &deployment{}
		if err := json.Unmarshal(data, d); err != nil {
			return nil, err
		}
		view, err := r.deploymentView(d)
		if err == nil {
			view["id"] = lowered(d.ID)
		}
		return view, err
	})
}

// quiet refuses a change of a deployment while the endpoint or the deployment is
// being changed. On Kubernetes they are changed one after the other.
func (r *request) quiet(e *endpoint, d *deployment, what string) error {
	running, err := r.runningOn(e.Busy)
	if err != nil {
		return err
	}
	if running != nil {
		return nested("InferencingClientCallFailed", "Cannot %s a deployment in endpoint %s because it is in %s provisioning state.", what, e.at().name(), e.During)
	}
	all := []*deployment{d}
	if !e.managed() {
		if all, err = r.deployments(e); err != nil {
			return err
		}
	}
	for _, one := range all {
		if one == nil {
			continue
		}
		if running, err = r.runningOn(one.Busy); err != nil {
			return err
		}
		if running != nil {
			return conflict("Conflict of operation, another operation on same entity is already running in workspace %s: deployment %s is in %s provisioning state.", r.names[0], one.at().name(), one.During)
		}
	}
	if e.State == "Failed" && what == "create" {
		return nested("InferencingClientCallFailed", "Cannot create a deployment in endpoint %s because it is in Failed provisioning state.", e.at().name())
	}
	return nil
}
