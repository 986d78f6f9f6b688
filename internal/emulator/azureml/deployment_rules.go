// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// mustSettings are those of a deployment that has been checked.
func mustSettings(in *ml.OnlineDeployment) settings {
	s, _ := settingsOf(in)
	return s
}

const (
	mostDeployments  = 20
	mostInstances    = 50
	mostCollections  = 5
	longestManaged   = 180 * time.Second
	longestOnCluster = 300 * time.Second
)

func checkSKU(sku *ml.SKU) error {
	switch {
	case sku == nil || value(sku.Name) == "":
		return badRequest("The sku of a deployment is required.")
	case !same(*sku.Name, "Default"):
		return badRequest("The sku name '%s' is invalid: it must be 'Default'.", *sku.Name)
	case value(sku.Capacity) < 1 || value(sku.Capacity) > mostInstances:
		return badRequest("The sku capacity %d of a deployment is invalid: it must be between 1 and %d.", value(sku.Capacity), mostInstances)
	}
	return nil
}

// checkDeployment refuses what no deployment of the endpoint can be.
func (r *request) checkDeployment(ws *workspace, e *endpoint, in *ml.OnlineDeployment) error {
	if err := checkName("deployment", r.name()); err != nil {
		return err
	}
	if in.Properties == nil {
		return badRequest("The required property 'properties' is missing.")
	}
	s, known := settingsOf(in)
	switch {
	case !known:
		return badRequest("The value '%s' is not valid for 'endpointComputeType'.", value(in.Properties.GetOnlineDeploymentProperties().EndpointComputeType))
	case plainLocation(value(in.Location)) != value(e.ARM.Location):
		return badRequest("The location '%s' of the deployment differs from the location '%s' of its endpoint.", value(in.Location), value(e.ARM.Location))
	case (s.compute == ml.EndpointComputeTypeManaged) != e.managed():
		return badRequest("The endpointComputeType '%s' does not fit the compute of endpoint %s.", s.compute, e.at().name())
	case in.Identity != nil:
		return badRequest("A deployment has no identity of its own: that of its endpoint is used.")
	case s.compute == ml.EndpointComputeTypeKubernetes && len(e.at().name())+len(r.name()) > longestNames:
		return badRequest("The names of endpoint %s and deployment %s are longer than %d characters together.", e.at().name(), r.name(), longestNames)
	}
	if err := checkSKU(in.SKU); err != nil {
		return err
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	for _, check := range []func(*workspace, settings) error{r.checkServed, r.checkMachine, r.checkServing, r.checkCollector, r.checkOnCluster} {
		if err := check(ws, s); err != nil {
			return err
		}
	}
	return nil
}

// checkServed holds model, environment and code to each other.
func (r *request) checkServed(_ *workspace, s settings) error {
	model, err := r.referenced("models", value(s.model))
	if err != nil {
		return err
	}
	environment, err := r.referenced("environments", value(s.environment))
	if err != nil {
		return err
	}
	noCode := model.ready("mlflow_model") || model.ready("triton_model")
	own := environment != nil && environment.Properties["inferenceConfig"] != nil
	switch {
	case value(s.environment) == "" && !noCode:
		return badRequest("The required property 'environmentId' is missing: only MLflow and Triton models can be deployed without one.")
	case value(s.model) == "" && s.code == nil && !own:
		return badRequest("A deployment needs a model, code, or an environment with an inferenceConfig.")
	case s.code != nil && own:
		return badRequest("codeConfiguration cannot be used with an environment that has an inferenceConfig.")
	case s.code == nil && !own && !noCode:
		return badRequest("The required property 'codeConfiguration' is missing: the environment %s has no inferenceConfig.", value(s.environment))
	case s.code != nil && value(s.code.ScoringScript) == "":
		return badRequest("The required property 'codeConfiguration.scoringScript' is missing.")
	case value(s.mount) != "" && !strings.HasPrefix(*s.mount, "/"):
		return badRequest("The modelMountPath '%s' is not an absolute path.", *s.mount)
	case model.ready("mlflow_model") && s.code == nil && !own && value(s.egress) == ml.EgressPublicNetworkAccessTypeDisabled:
		return nested("NotSupported", "An MLflow model cannot be deployed without code when egressPublicNetworkAccess is Disabled.")
	}
	if s.code != nil {
		_, err = r.referenced("codes", value(s.code.CodeID))
	}
	return err
}

// checkMachine holds the machine and its network to what there is.
func (r *request) checkMachine(ws *workspace, s settings) error {
	managed := s.compute == ml.EndpointComputeTypeManaged
	if managed && value(s.instance) == "" {
		return badRequest("The required property 'instanceType' is missing.")
	}
	if _, is := sizeOf(value(s.instance)); managed && !is {
		return nested("NotSupported", "The instance type '%s' is not supported in region %s. Supported instance types are listed at https://aka.ms/amlonlinevmlist.", *s.instance, ws.location())
	}
	if s.egress != nil && !slices.Contains(ml.PossibleEgressPublicNetworkAccessTypeValues(), *s.egress) {
		return badRequest("The value '%s' is not valid for 'egressPublicNetworkAccess'.", *s.egress)
	}
	if s.egress != nil && managed && ws.isolated() {
		return badRequest("egressPublicNetworkAccess cannot be used in workspace %s, which has a managed network.", r.names[0])
	}
	for name := range s.env {
		if name == "" || strings.ContainsAny(name, "= ") {
			return badRequest("The environment variable name '%s' is invalid.", name)
		}
	}
	return nil
}

// checkServing holds probes, timeouts and scaling to their bounds.
func (r *request) checkServing(_ *workspace, s settings) error {
	longest := longestOnCluster
	if s.compute == ml.EndpointComputeTypeManaged {
		longest = longestManaged
	}
	if q := s.requests; q != nil {
		if d, err := period("requestSettings.requestTimeout", q.RequestTimeout, 0); err != nil || d > longest {
			if err == nil {
				err = badRequest("The requestSettings.requestTimeout %s is longer than %s.", *q.RequestTimeout, isoDuration(longest))
			}
			return err
		}
		if q.MaxConcurrentRequestsPerInstance != nil && *q.MaxConcurrentRequestsPerInstance < 1 {
			return badRequest("The requestSettings.maxConcurrentRequestsPerInstance %d is less than 1.", *q.MaxConcurrentRequestsPerInstance)
		}
		if _, err := period("requestSettings.maxQueueWait", q.MaxQueueWait, 0); err != nil {
			return err
		}
	}
	if s.liveness != nil && s.liveness.SuccessThreshold != nil && *s.liveness.SuccessThreshold != 1 {
		return badRequest("The livenessProbe.successThreshold is %d: it must be 1.", *s.liveness.SuccessThreshold)
	}
	for name, probe := range map[string]*ml.ProbeSettings{"livenessProbe": s.liveness, "readinessProbe": s.readiness} {
		if err := checkProbe(name, probe); err != nil {
			return err
		}
	}
	if s.compute == ml.EndpointComputeTypeManaged && s.scale != nil && value(s.scale.GetOnlineScaleSettings().ScaleType) != ml.ScaleTypeDefault {
		return nested("NotSupported", "The scaleType %s is not supported for managed deployments: use autoscale settings of Microsoft.Insights.", value(s.scale.GetOnlineScaleSettings().ScaleType))
	}
	return nil
}

func checkProbe(name string, p *ml.ProbeSettings) error {
	if p == nil {
		return nil
	}
	for what, v := range map[string]*string{"initialDelay": p.InitialDelay, "period": p.Period, "timeout": p.Timeout} {
		if _, err := period(name+"."+what, v, time.Second); err != nil {
			return err
		}
	}
	for what, n := range map[string]*int32{"failureThreshold": p.FailureThreshold, "successThreshold": p.SuccessThreshold} {
		if n != nil && *n < 1 {
			return badRequest("The %s.%s is %d: it must be at least 1.", name, what, *n)
		}
	}
	return nil
}

// period reads a duration that may be absent, and not be shorter than least.
func period(name string, text *string, least time.Duration) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	d, is := duration(*text)
	switch {
	case !is:
		return 0, badRequest("The value '%s' of %s is not an ISO 8601 duration.", *text, name)
	case d < least:
		return 0, badRequest("The %s %s is shorter than %s.", name, *text, isoDuration(least))
	}
	return d, nil
}

func (r *request) checkCollector(_ *workspace, s settings) error {
	c := s.collector
	if c == nil {
		return nil
	}
	if n := len(c.Collections); n == 0 || n > mostCollections {
		return badRequest("The dataCollector has %d collections: it must have between 1 and %d.", n, mostCollections)
	}
	if c.RollingRate != nil && !slices.Contains(ml.PossibleRollingRateTypeValues(), *c.RollingRate) {
		return badRequest("The value '%s' is not valid for 'rollingRate'.", *c.RollingRate)
	}
	for name, one := range c.Collections {
		if one == nil || (one.SamplingRate != nil && (*one.SamplingRate < 0 || *one.SamplingRate > 1)) {
			return badRequest("The samplingRate of collection %s must be between 0 and 1.", name)
		}
		if one.DataCollectionMode != nil && !slices.Contains(ml.PossibleDataCollectionModeValues(), *one.DataCollectionMode) {
			return badRequest("The value '%s' is not valid for 'dataCollectionMode'.", *one.DataCollectionMode)
		}
		if _, err := r.referenced("data", value(one.DataID)); err != nil {
			return err
		}
	}
	return nil
}

// checkDeploymentChange refuses what a deployment cannot become.
func (r *request) checkDeploymentChange(d *deployment, in *ml.OnlineDeployment) error {
	is, s := d.settings(), mustSettings(in)
	switch {
	case !same(instanceOf(is), instanceOf(s)):
		return badRequest("The instanceType of a deployment cannot be changed after it has been created. Create another deployment and move the traffic.")
	case value(is.egress) != value(s.egress) && s.egress != nil:
		return badRequest("The egressPublicNetworkAccess of a deployment cannot be changed after it has been created.")
	}
	return r.checkProperties(s.properties, is.properties, "azureml.onlinedeploymentid", d.ID, d.Latest, value(d.ARM.Location))
}

// checkRoom holds a deployment to the limits of its endpoint, and of the
// subscription: managed machines need a fifth more cores than they have.
func (r *request) checkRoom(e *endpoint, key string, in *ml.OnlineDeployment) error {
	if e != nil {
		all, err := r.deployments(e)
		if err != nil {
			return err
		}
		if len(all) >= mostDeployments {
			return nested("OutOfQuota", "The limit of %d deployments in endpoint %s has been reached.", mostDeployments, e.at().name())
		}
	}
	s := mustSettings(in)
	size, managed := sizeOf(value(s.instance))
	limit, limited := r.o.Quotas()[size.family]
	if s.compute != ml.EndpointComputeTypeManaged || !managed || !limited {
		return nil
	}
	used, err := r.cores(size.family, key)
	if err != nil {
		return err
	}
	if need := size.quota(int(value(in.SKU.Capacity))); used+need > limit {
		return nested("OutOfQuota", "Not enough quota available for %s in SubscriptionId %s. Current usage/limit: %d/%d. Additional needed: %d Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota", value(s.instance), r.sub, used, limit, need)
	}
	return nil
}

// cores are those that the managed deployments of the subscription use of a family,
// without the one of a key.
func (r *request) cores(family, but string) (n int, err error) {
	err = r.tx.Each(kindDeployment, "/subscriptions/"+strings.ToLower(r.sub)+"/", func(key string, data []byte) error {
		d := &deployment{}
		if err := json.Unmarshal(data, d); err != nil || key == but {
			return err
		}
		if size, is := sizeOf(value(d.settings().instance)); is && size.family == family && d.settings().compute == ml.EndpointComputeTypeManaged {
			n += size.quota(d.capacity())
		}
		return nil
	})
	return n, err
}

func setProperties(in *ml.OnlineDeployment, properties map[string]*string) {
	switch p := in.Properties.(type) {
	case *ml.ManagedOnlineDeployment:
		p.Properties = properties
	case *ml.KubernetesOnlineDeployment:
		p.Properties = properties
	}
}

// tidyDeployment is what becomes of a request: what it leaves out has the platform's
// defaults, and durations are in the platform's words.
func tidyDeployment(in *ml.OnlineDeployment, ws *workspace) {
	in.ID, in.Name, in.Type, in.SystemData = nil, nil, nil, nil
	in.Location = new(plainLocation(value(in.Location)))
	in.SKU.Name = new("Default")
	setProperties(in, merged(mustSettings(in).properties, nil))
	scale := func(s *ml.OnlineScaleSettingsClassification) {
		if *s == nil {
			*s = &ml.DefaultScaleSettings{ScaleType: new(ml.ScaleTypeDefault)}
		}
	}
	logs := func(enabled **bool) {
		if *enabled == nil {
			*enabled = new(false)
		}
	}
	switch p := in.Properties.(type) {
	case *ml.ManagedOnlineDeployment:
		p.ProvisioningState = nil
		p.LivenessProbe, p.ReadinessProbe, p.RequestSettings = tidyProbe(p.LivenessProbe), tidyProbe(p.ReadinessProbe), tidyRequests(p.RequestSettings)
		scale(&p.ScaleSettings)
		logs(&p.AppInsightsEnabled)
		if p.EgressPublicNetworkAccess == nil && !ws.isolated() {
			p.EgressPublicNetworkAccess = new(ml.EgressPublicNetworkAccessTypeEnabled)
		}
	case *ml.KubernetesOnlineDeployment:
		p.ProvisioningState = nil
		p.LivenessProbe, p.ReadinessProbe, p.RequestSettings = tidyProbe(p.LivenessProbe), tidyProbe(p.ReadinessProbe), tidyRequests(p.RequestSettings)
		tidyOnCluster(p, in.SKU)
		logs(&p.AppInsightsEnabled)
	}
}

func tidied(text *string, usual time.Duration) *string {
	if text == nil {
		return new(isoDuration(usual))
	}
	d, _ := duration(*text) // it has been checked
	return new(isoDuration(d))
}

func tidyProbe(p *ml.ProbeSettings) *ml.ProbeSettings {
	if p == nil {
		p = &ml.ProbeSettings{}
	}
	count := func(n *int32, usual int32) *int32 {
		if n == nil {
			return new(usual)
		}
		return n
	}
	return &ml.ProbeSettings{InitialDelay: tidied(p.InitialDelay, 10*time.Second), Period: tidied(p.Period, 10*time.Second), Timeout: tidied(p.Timeout, 2*time.Second),
		SuccessThreshold: count(p.SuccessThreshold, 1), FailureThreshold: count(p.FailureThreshold, 30)}
}

func tidyRequests(q *ml.OnlineRequestSettings) *ml.OnlineRequestSettings {
	if q == nil {
		q = &ml.OnlineRequestSettings{}
	}
	out := &ml.OnlineRequestSettings{RequestTimeout: tidied(q.RequestTimeout, 5*time.Second), MaxQueueWait: tidied(q.MaxQueueWait, 500*time.Millisecond), MaxConcurrentRequestsPerInstance: new(int32(1))}
	if q.MaxConcurrentRequestsPerInstance != nil {
		out.MaxConcurrentRequestsPerInstance = q.MaxConcurrentRequestsPerInstance
	}
	return out
}

// started is what a new deployment does: it fetches its model, and starts a container.
func (r *request) started(d *deployment) error {
	s := d.settings()
	model, err := r.referenced("models", value(s.model))
	if _, is := err.(*refusal); is { //nolint:errorlint // refusals are not wrapped
		return nested("BadArgument", "The model %s cannot be downloaded: it does not exist any more.", value(s.model))
	}
	if err != nil || model == nil {
		return err
	}
	uri, _ := model.Properties["modelUri"].(string)
	there, err := r.stored(d.at(), uri)
	if err != nil {
		return err
	}
	if !there {
		return nested("BadArgument", "User error: the model %s cannot be downloaded: nothing is stored at %s.", value(s.model), uri)
	}
	return nil
}

// deploymentFailure is how a deployment fails.
func deploymentFailure(_ *request, mode string) (*refusal, error) {
	const guide = " Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-"
	failed := func(code, message string) (*refusal, error) {
		return &refusal{Status: http.StatusBadRequest, Code: code, Message: message + guide + strings.ToLower(code), Inner: code}, nil
	}
	switch mode {
	case "":
		return failed("ResourceNotReady", "User container has crashed or terminated.")
	case "never_ready":
		return failed("ResourceNotReady", "User container has not become ready: its readiness probe has failed.")
	case "image":
		return failed("ImageBuildFailure", "Image build failed. For more information, see the build log in the default storage of the workspace.")
	case "quota":
		return failed("OutOfQuota", "Not enough subscription CPU quota.")
	case "stock_out":
		return failed("OutOfQuota", "The specified Azure ML Compute region has no capacity for the instance type.")
	case "identity":
		return failed("BadArgument", "Authorization error for the user assigned identity: it cannot read the storage of the workspace.")
	case "network":
		return failed("WorkspaceManagedNetworkNotReady", "The managed network of the workspace has not been provisioned.")
	case "internal":
		e, err := usualFailure(nil, "")
		return e, err
	case "canceled":
		return canceled(), nil
	}
	return nil, fmt.Errorf("faults.json: %q is not a mode of failure of a deployment on Azure ML", mode)
}
