// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// The kinds of documents.
const (
	kindWorkspace  = "azure_ml.workspace"
	kindAsset      = "azure_ml.asset"  // a version
	kindFamily     = "azure_ml.assets" // a container of versions
	kindEndpoint   = "azure_ml.endpoint"
	kindDeployment = "azure_ml.deployment"
	kindHost       = "azure_ml.host" // which endpoint has a name in a region
	kindAutoscale  = "azure_ml.autoscale"
	kindAlert      = "azure_ml.alert"
	kindAssignment = "azure_ml.assignment"
	kindRole       = "azure_ml.role"
	kindOperation  = "azure_ml.operation"
	kindRunning    = "azure_ml.running" // when an operation ends, for those that have not
)

// operation is a long-running operation.
type operation struct {
	ID       string // a GUID
	Kind     string // of the table below
	Subject  string // the id of what it changes
	Location string
	Created  time.Time
	Ends     time.Time
	Status   string // InProgress, Succeeded, Failed, Canceled

	Request json.RawMessage `json:",omitempty"` // what the subject is to become
	First   bool            // it makes the subject
	Early   bool            // it is said to be done before it is
	Ignored bool            // it is done, and nothing has changed
	Again   bool            // the platform makes a change of its own when it is done
	Fails   *refusal        // why it is going to end in vain
}

// kinds are what operations do, by what begins them.
var kinds map[string]kind

type kind struct {
	takes time.Duration                                   // on the platform
	end   func(r *request, o *operation) error            // its effect; a refusal makes it fail
	undo  func(r *request, o *operation) error            // when it has failed; nil is nothing
	fails func(r *request, mode string) (*refusal, error) // what a fault makes of it
}

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	kinds = map[string]kind{
		"onlineEndpoints.create":           {time.Minute, endpointChanged, endpointFailed, usualFailure},
		"onlineEndpoints.createOrUpdate":   {30 * time.Second, endpointChanged, endpointFailed, usualFailure},
		"onlineEndpoints.update":           {30 * time.Second, endpointChanged, endpointFailed, usualFailure},
		"onlineEndpoints.delete":           {time.Minute, endpointDeleted, endpointFailed, usualFailure},
		"onlineEndpoints.regenerateKeys":   {30 * time.Second, keysRegenerated, endpointFailed, usualFailure},
		"onlineEndpoints.maintenance":      {30 * time.Second, endpointMaintained, endpointFailed, usualFailure},
		"onlineDeployments.create":         {5 * time.Minute, deploymentChanged, deploymentFailed, deploymentFailure},
		"onlineDeployments.createOrUpdate": {3 * time.Minute, deploymentChanged, deploymentFailed, deploymentFailure},
		"onlineDeployments.update":         {time.Minute, deploymentChanged, deploymentFailed, deploymentFailure},
		"onlineDeployments.delete":         {time.Minute, deploymentDeleted, deploymentFailed, usualFailure},
		"registryAssets.createOrUpdate":    {30 * time.Second, assetWritten, assetFailed, usualFailure},
		"registryAssets.delete":            {30 * time.Second, assetDeleted, assetFailed, usualFailure},
		"autoscaleSettings.act":            {time.Minute, scaledOut, nil, usualFailure},
	}
}

// start begins an operation on a resource. takes is what begins it.
func (r *request) start(kindOf string, o *operation) error {
	n, err := r.tx.Next("azure_ml.operation")
	if err != nil {
		return err
	}
	o.ID, o.Kind, o.Status = guid(fmt.Sprint("operation ", n)), kindOf, "InProgress"
	if o.Created.IsZero() {
		o.Created = r.now()
	}
	o.Ends = o.Created.Add(r.scaled(kinds[kindOf].takes))
	if err := r.script(o); err != nil {
		return err
	}
	if err := r.tx.Put(kindRunning, o.ID, o.Ends); err != nil {
		return err
	}
	return r.tx.Put(kindOperation, o.ID, o)
}

// script makes an operation go as a fault says.
func (r *request) script(o *operation) error {
	if r.fault == nil {
		return nil
	}
	switch r.fault.Action {
	case fault.Maintenance:
		o.Again = true
	case fault.FailTransition:
		switch r.fault.Mode {
		case "early":
			o.Early = true
			return nil
		case "ignored":
			o.Ignored = true
			return nil
		}
		e, err := kinds[o.Kind].fails(r, r.fault.Mode)
		if err != nil {
			return err
		}
		e.Code, e.Message = cmp.Or(r.fault.Code, e.Code), cmp.Or(r.fault.Message, e.Message)
		o.Fails = e
	}
	return nil
}

// usualFailure is how an operation on anything but a deployment fails.
func usualFailure(_ *request, mode string) (*refusal, error) {
	switch mode {
	case "":
		return refuse(http.StatusInternalServerError, "InternalServerError", "An internal server error occurred. Please try again. If the problem persists, contact support."), nil
	case "canceled":
		return canceled(), nil
	}
	return nil, fmt.Errorf("faults.json: %q is not a mode of failure of this operation of Azure ML", mode)
}

func canceled() *refusal {
	return refuse(http.StatusConflict, "OperationCanceled", "The operation was canceled by another operation that has a higher priority.")
}

// settle lets every operation end whose time has come, in the order of their ends.
func (r *request) settle() error {
	for {
		due, err := r.due()
		if err != nil || due == "" {
			return err
		}
		var o operation
		if _, err := r.tx.Get(kindOperation, due, &o); err != nil {
			return err
		}
		if err := r.finish(&o); err != nil {
			return err
		}
	}
}

// due is the operation that ends first of those whose time has come, "" if none.
func (r *request) due() (id string, err error) {
	var first time.Time
	now := r.now()
	err = r.tx.Each(kindRunning, "", func(key string, data []byte) error {
		var at time.Time
		if err := json.Unmarshal(data, &at); err != nil {
			return err
		}
		if !at.After(now) && (id == "" || at.Before(first)) {
			id, first = key, at
		}
		return nil
	})
	return id, err
}

// finish lets an operation end, well or not. What it does it does at its own time.
func (r *request) finish(o *operation) error {
	k := kinds[o.Kind]
	at := *r
	at.fault = nil // it is no matter of the call that happens to be answered
	at.target, _ = parseID(o.Subject)
	failure := o.Fails
	if failure == nil {
		if err := k.end(&at, o); err != nil {
			e, is := err.(*refusal) //nolint:errorlint // refusals are not wrapped
			if !is {
				return err
			}
			failure = e
		}
	}
	o.Status = "Succeeded"
	if failure != nil {
		if o.Status = "Failed"; failure.Code == "OperationCanceled" {
			o.Status = "Canceled"
		}
		o.Fails = failure
		if k.undo != nil {
			if err := k.undo(&at, o); err != nil {
				return err
			}
		}
	}
	if err := r.tx.Delete(kindRunning, o.ID); err != nil {
		return err
	}
	return r.tx.Put(kindOperation, o.ID, o)
}

// accepted answers with the operation that has begun: in Azure-AsyncOperation for
// what has a body, in Location for what has none.
func (r *request) accepted(status int, body any, o *operation) *reply {
	id := "oe:" + guid(r.up(len(r.names)-1).key()) + ":" + o.ID
	version := r.http.URL.Query().Get("api-version")
	url := func(kind string) string {
		return r.base() + "/subscriptions/" + r.sub + "/providers/" + machineLearning + "/locations/" + o.Location + "/" + kind + "/" + id + "?api-version=" + version
	}
	out := &reply{status: status, body: body, header: pacing(map[string]string{"X-Ms-Async-Operation-Timeout": "PT1H"})}
	if body != nil {
		out.header["Azure-AsyncOperation"] = url("mfeOperationsStatus")
	} else {
		out.header["Location"] = url("mfeOperationResults")
	}
	return out
}

// pacing asks clients to come back in a while, which is short here: a client that
// knows milliseconds need not wait a whole second.
func pacing(header map[string]string) map[string]string {
	header["Retry-After"], header["Retry-After-Ms"] = "1", "100"
	return header
}

// operation finds what a poll is about.
func (r *request) operation() (*operation, error) {
	id := r.name()
	var o operation
	found, err := r.tx.Get(kindOperation, id[strings.LastIndex(id, ":")+1:], &o)
	if err == nil && !found {
		err = refuse(http.StatusNotFound, "NotFound", "The operation %s was not found.", id)
	}
	return &o, err
}

// operationStatus answers 200 also for an operation that has failed.
func operationStatus(r *request) (*reply, error) {
	o, err := r.operation()
	if err != nil {
		return nil, err
	}
	out := map[string]any{"id": r.http.URL.Path, "name": r.name(), "status": o.Status, "startTime": o.Created.Format(time.RFC3339Nano)}
	if o.Status == "InProgress" {
		out["percentComplete"] = 0
		return &reply{status: http.StatusOK, body: out, header: pacing(map[string]string{})}, nil
	}
	out["endTime"], out["percentComplete"] = o.Ends.Format(time.RFC3339Nano), 100
	if o.Status != "Succeeded" {
		out["error"] = o.Fails.body()
	}
	return ok(out), nil
}

// operationResult answers 202 until the operation has ended.
func operationResult(r *request) (*reply, error) {
	o, err := r.operation()
	if err != nil {
		return nil, err
	}
	switch {
	case o.Status == "InProgress":
		return &reply{status: http.StatusAccepted, header: pacing(map[string]string{"Location": r.base() + r.http.URL.RequestURI()})}, nil
	case o.Status != "Succeeded":
		failure := *o.Fails
		if failure.Status >= http.StatusInternalServerError {
			failure.Status = http.StatusBadRequest // that the operation is read is no error of the server's
		}
		return nil, &failure
	case strings.HasSuffix(o.Kind, ".delete") || strings.HasSuffix(o.Kind, ".regenerateKeys"):
		return &reply{status: http.StatusOK}, nil
	}
	return r.read(o.Subject)
}

// running reports whether an operation on a resource has not ended, and which.
func (r *request) runningOn(busy string) (*operation, error) {
	if busy == "" {
		return nil, nil //nolint:nilnil // none
	}
	var o operation
	found, err := r.tx.Get(kindOperation, busy, &o)
	if err != nil || !found || o.Status != "InProgress" {
		return nil, err
	}
	return &o, nil
}

// shownState is a resource's state while an operation runs: one that is said to be
// done early shows nothing of it for half of its time.
func (r *request) shownState(rest, during string, o *operation) string {
	if o == nil || (o.Early && r.now().Sub(o.Created) < o.Ends.Sub(o.Created)/2) {
		return rest
	}
	return during
}

// prefixed are the keys of a kind below a resource.
func (r *request) prefixed(kindOf, prefix string) ([]string, error) {
	keys, err := r.tx.Keys(kindOf, prefix, "", 0)
	return slices.Clip(keys), err
}
