// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// workspace is what one workspace answers.
type workspace struct {
	d                         *azureML
	location                  string // as the user spells it
	subscription, group, name string

	c clients

	endpoints snapshot[*endpoint]
	scalers   snapshot[*scaler]
	grants    snapshot[[]*assignment]
	pending   pending
	writing   keyed // by endpoint: there are no ETags, so that no two of our own writes may cross

	once  sync.Mutex
	about *ml.Workspace     // nil until it was read
	seen  map[string]callee // where endpoints answer, by name in lower case
}

// clients are those of the SDK, by the names that its documentation has.
type clients struct {
	Operations            *arm.Client
	Workspaces            *ml.WorkspacesClient
	ModelContainers       *ml.ModelContainersClient
	ModelVersions         *ml.ModelVersionsClient
	RegistryModels        *ml.RegistryModelContainersClient
	RegistryModelVersions *ml.RegistryModelVersionsClient
	EnvironmentVersions   *ml.EnvironmentVersionsClient
	Environments          *ml.EnvironmentContainersClient
	DataVersions          *ml.DataVersionsClient
	Datastores            *ml.DatastoresClient
	OnlineEndpoints       *ml.OnlineEndpointsClient
	OnlineDeployments     *ml.OnlineDeploymentsClient
	Computes              *ml.ComputeClient
	Usages                *ml.UsagesClient
	AutoscaleSettings     *armmonitor.AutoscaleSettingsClient
	Metrics               *armmonitor.MetricsClient
	MetricAlerts          *armmonitor.MetricAlertsClient
	MetricAlertsStatus    *armmonitor.MetricAlertsStatusClient
	RoleAssignments       *armauthorization.RoleAssignmentsClient
}

// at is the workspace of a location.
func (d *azureML) at(location string) (*workspace, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	folded := strings.ToLower(location)
	if w := d.workspaces[folded]; w != nil {
		return w, nil
	}
	parts := strings.Split(location, "/")
	if len(parts) != 3 {
		return nil, mlerr.New(mlerr.InvalidArgument, "%q is not a workspace", location).At("location").WithHint("Use resource-group/workspace")
	}
	w := &workspace{d: d, location: location, subscription: parts[0], group: parts[1], name: parts[2]}
	var err error
	if w.c, err = d.clients(w.subscription); err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "the Azure clients cannot be made").Because(err)
	}
	d.workspaces[folded] = w
	return w, nil
}

// options are how clients are made. The core repeats what fails, with its clock, so
// the SDK does not.
func (d *azureML) options() *arm.ClientOptions {
	o := d.account.ClientOptions()
	o.Retry = policy.RetryOptions{MaxRetries: -1}
	o.PerCallPolicies = append(o.PerCallPolicies, observer{d.log})
	return o
}

func (d *azureML) clients(subscription string) (c clients, err error) {
	cred, o := d.account.Credential(), d.options()
	made, err := ml.NewClientFactory(subscription, cred, o)
	if err != nil {
		return c, err
	}
	c = clients{
		Workspaces: made.NewWorkspacesClient(), ModelContainers: made.NewModelContainersClient(), ModelVersions: made.NewModelVersionsClient(),
		RegistryModels: made.NewRegistryModelContainersClient(), RegistryModelVersions: made.NewRegistryModelVersionsClient(),
		EnvironmentVersions: made.NewEnvironmentVersionsClient(), Environments: made.NewEnvironmentContainersClient(), DataVersions: made.NewDataVersionsClient(), Datastores: made.NewDatastoresClient(),
		OnlineEndpoints: made.NewOnlineEndpointsClient(), OnlineDeployments: made.NewOnlineDeploymentsClient(), Computes: made.NewComputeClient(), Usages: made.NewUsagesClient(),
	}
	monitor, err := armmonitor.NewClientFactory(subscription, cred, o)
	if err != nil {
		return c, err
	}
	c.AutoscaleSettings, c.Metrics = monitor.NewAutoscaleSettingsClient(), monitor.NewMetricsClient()
	c.MetricAlerts, c.MetricAlertsStatus = monitor.NewMetricAlertsClient(), monitor.NewMetricAlertsStatusClient()
	if c.RoleAssignments, err = armauthorization.NewRoleAssignmentsClient(subscription, cred, o); err != nil {
		return c, err
	}
	c.Operations, err = arm.NewClient("clouds/azureml", "v1.0.0", cred, o)
	return c, err
}

// id is the id of something in the workspace.
func (w *workspace) id(parts ...string) string {
	return "/subscriptions/" + w.subscription + "/resourceGroups/" + w.group + "/providers/Microsoft.MachineLearningServices/workspaces/" + w.name + "/" + strings.Join(parts, "/")
}

func (w *workspace) endpointID(name string) string { return w.id("onlineEndpoints", name) }

func (w *workspace) deploymentID(endpoint, name string) string {
	return w.id("onlineEndpoints", endpoint, "deployments", name)
}

// last is the last name of an id.
func last(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// answerLimit is how long a call may take: what takes longer is an operation, which
// is not waited for.
const answerLimit = 2 * time.Minute

// observer writes one line for each call, and ends those that get no answer.
type observer struct{ log hclog.Logger }

func (o observer) Do(req *policy.Request) (*http.Response, error) {
	ctx := req.Raw().Context()
	limited, stop := context.WithTimeout(ctx, answerLimit)
	defer stop()
	name, _ := ctx.Value(runtime.CtxAPINameKey{}).(string)
	if name == "" {
		name = req.Raw().Method + " " + req.Raw().URL.Path
	}
	began := time.Now()
	resp, err := req.WithContext(limited).Next()
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = mlerr.New(mlerr.Unavailable, "no answer within %s", answerLimit)
	}
	note(o.log, name, began, resp, err)
	return resp, err
}

func note(log hclog.Logger, name string, began time.Time, resp *http.Response, err error) {
	if err != nil {
		log.Debug("api call", "call", name, "duration", time.Since(began), "error", err)
		return
	}
	log.Debug("api call", "call", name, "duration", time.Since(began), "status", resp.StatusCode, "request_id", requestID(resp.Header))
}

// storageObserver writes one line for each call of Blob storage, and for each time that
// it is repeated. It ends none: bytes are read when the call has long been answered.
type storageObserver struct{ log hclog.Logger }

func (o storageObserver) Do(req *policy.Request) (*http.Response, error) {
	name, began := req.Raw().Method+" "+req.Raw().URL.Path, time.Now()
	if what := req.Raw().URL.Query().Get("comp"); what != "" {
		name += " (" + what + ")"
	}
	resp, err := req.Next()
	note(o.log, name, began, resp, err)
	return resp, err
}

// requestID is what Microsoft's support asks for.
func requestID(h http.Header) string {
	for _, name := range []string{"x-ms-correlation-request-id", "x-ms-request-id", "x-request-id"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// workspaceInfo is the workspace itself, which is read once.
func (w *workspace) workspaceInfo(ctx context.Context) (*ml.Workspace, error) {
	w.once.Lock()
	defer w.once.Unlock()
	if w.about != nil {
		return w.about, nil
	}
	got, err := w.c.Workspaces.Get(ctx, w.group, w.name, nil)
	if err != nil {
		err := failed(err, "cannot read the workspace %s", w.location)
		if mlerr.Is(err, mlerr.NotFound) { // which is not the absence of what is in it
			err = mlerr.Wrap(err, mlerr.InvalidArgument, "there is no workspace %s", w.location)
		}
		return nil, err
	}
	if got.Workspace.Properties == nil || got.Workspace.Location == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read the workspace %s: the answer says nothing of it", w.location)
	}
	w.about = &got.Workspace
	return w.about, nil
}

// keyed are locks by name.
type keyed struct {
	mu sync.Mutex
	of map[string]*sync.Mutex
}

// lock takes the lock of a name and returns what gives it back.
func (k *keyed) lock(name string) func() {
	k.mu.Lock()
	if k.of == nil {
		k.of = map[string]*sync.Mutex{}
	}
	m := k.of[strings.ToLower(name)]
	if m == nil {
		m = &sync.Mutex{}
		k.of[strings.ToLower(name)] = m
	}
	k.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// collect reads all pages of a list.
func collect[T, P any](ctx context.Context, pager *runtime.Pager[P], items func(P) []*T) ([]*T, error) {
	var all []*T
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range items(page) {
			if item == nil {
				return nil, fmt.Errorf("a list holds nothing where there should be a %T", item)
			}
			all = append(all, item)
		}
	}
	return all, nil
}

// deref is what a pointer points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
