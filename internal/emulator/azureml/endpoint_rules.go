// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// endpointName is what endpoints and deployments are called.
var endpointName = regexp.MustCompile(`^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$`)

func checkName(what, name string) error {
	if len(name) < 3 || len(name) > 32 || !endpointName.MatchString(name) {
		return badRequest("The %s name '%s' is invalid: it must have 3 to 32 letters, digits and '-', begin with a letter and end with a letter or a digit.", what, name)
	}
	return nil
}

// plainLocation is a region as ids have it: "eastus" of "East US".
func plainLocation(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

const (
	mostTags      = 50
	longestTag    = 512
	longestTagged = 256
)

func checkTags(tags map[string]*string) error {
	if len(tags) > mostTags {
		return refuse(http.StatusBadRequest, "TooManyTags", "The resource has %d tags. It can have at most %d.", len(tags), mostTags)
	}
	for name, v := range tags {
		switch {
		case name == "" || strings.ContainsAny(name, `<>%&\?/`) || len(name) > longestTag:
			return refuse(http.StatusBadRequest, "InvalidTagNameCharacters", "The tag name '%s' is invalid: it can have at most %d characters, and none of <, >, %%, &, \\, ?, /.", name, longestTag)
		case len(value(v)) > longestTagged:
			return refuse(http.StatusBadRequest, "InvalidTagValueLength", "The value of tag '%s' is longer than %d characters.", name, longestTagged)
		}
	}
	return nil
}

// checkEndpoint refuses what no endpoint can be.
func (r *request) checkEndpoint(ws *workspace, in *ml.OnlineEndpoint) error {
	if err := checkName("endpoint", r.name()); err != nil {
		return err
	}
	p := in.Properties
	switch {
	case p == nil:
		return badRequest("The required property 'properties' is missing.")
	case value(in.Location) == "":
		return refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	case plainLocation(*in.Location) != ws.location():
		return badRequest("The location '%s' of the endpoint differs from the location '%s' of its workspace.", *in.Location, ws.location())
	case value(p.AuthMode) == "":
		return badRequest("The required property 'authMode' is missing.")
	case !slices.Contains(ml.PossibleEndpointAuthModeValues(), *p.AuthMode):
		return badRequest("The value '%s' is not valid for 'authMode'.", *p.AuthMode)
	case p.PublicNetworkAccess != nil && !slices.Contains(ml.PossiblePublicNetworkAccessTypeValues(), *p.PublicNetworkAccess):
		return badRequest("The value '%s' is not valid for 'publicNetworkAccess'.", *p.PublicNetworkAccess)
	case in.SKU != nil || in.Kind != nil:
		return badRequest("An online endpoint has no sku and no kind.")
	}
	if value(p.Compute) == "" && value(ws.ARM.Properties.V1LegacyMode) {
		return nested("NotSupported", "Managed online endpoints are not supported in workspace %s, whose v1_legacy_mode is true.", r.names[0])
	}
	if value(p.Compute) != "" {
		if value(p.AuthMode) == ml.EndpointAuthModeAADToken {
			return nested("NotSupported", "AADToken is supported for managed online endpoints only.")
		}
		if err := r.checkCompute(*p.Compute); err != nil {
			return err
		}
	}
	if in.Identity != nil && (in.Identity.Type == nil || !slices.Contains(ml.PossibleManagedServiceIdentityTypeValues(), *in.Identity.Type)) {
		return badRequest("The value '%s' is not valid for the type of an identity.", value(in.Identity.Type))
	}
	return checkTags(in.Tags)
}

// checkEndpointChange refuses what an endpoint cannot become.
func (r *request) checkEndpointChange(e *endpoint, in *ml.OnlineEndpoint) error {
	is, p := e.ARM.Properties, in.Properties
	switch {
	case !same(value(is.Compute), value(p.Compute)):
		return badRequest("The compute of an online endpoint cannot be changed after it has been created.")
	case !sameIdentity(e.ARM.Identity, in.Identity):
		return badRequest("The identity of an online endpoint cannot be changed after it has been created.")
	case value(is.Description) != value(p.Description):
		return badRequest("The description of an online endpoint cannot be changed after it has been created.")
	}
	if err := r.checkProperties(p.Properties, is.Properties, "azureml.onlineendpointid", e.ID, e.Latest, value(e.ARM.Location)); err != nil {
		return err
	}
	return r.checkTraffic(e, p)
}

// checkProperties refuses other values for properties that are there.
func (r *request) checkProperties(in, is map[string]*string, name, id, latest, location string) error {
	for key, old := range r.systemProperties(is, name, id, latest, location) {
		for k, v := range in {
			if strings.EqualFold(k, key) && value(v) != value(old) {
				return badRequest("The property '%s' cannot be changed: properties can be added only.", key)
			}
		}
	}
	return nil
}

// keepProperties keeps the properties that there were, and none of the system's.
func keepProperties(in, is *ml.OnlineEndpointProperties) {
	in.Properties = merged(in.Properties, is.Properties)
}

func merged(in, is map[string]*string) map[string]*string {
	out := map[string]*string{}
	for _, from := range []map[string]*string{is, in} {
		for k, v := range from {
			switch strings.ToLower(k) {
			case "azureml.onlineendpointid", "azureml.onlinedeploymentid", "azureasyncoperationuri":
			default:
				out[k] = v
			}
		}
	}
	return out
}

// checkTraffic refuses weights that do not fit the deployments.
func (r *request) checkTraffic(e *endpoint, p *ml.OnlineEndpointProperties) error {
	all, err := r.deployments(e)
	if err != nil {
		return err
	}
	ready := func(name string) error {
		for _, d := range all {
			if !same(d.at().name(), name) {
				continue
			}
			if !d.Ever {
				return nested("InferencingClientUpdateEndpointFailed", "Traffic cannot be sent to deployment %s of endpoint %s, which is in %s provisioning state.", name, r.name(), cmp.Or(d.State, "Creating"))
			}
			return nil
		}
		return nested("InferencingClientUpdateEndpointFailed", "The traffic of endpoint %s names the deployment %s, which does not exist.", r.name(), name)
	}
	live, err := sum("traffic", p.Traffic, ready)
	if err != nil {
		return err
	}
	if live != 0 && live != 100 {
		return badRequest("The traffic of endpoint %s sums up to %d: it must be 100, or empty.", r.name(), live)
	}
	mirrored, err := sum("mirrorTraffic", p.MirrorTraffic, ready)
	if err != nil {
		return err
	}
	switch {
	case len(p.MirrorTraffic) > 1:
		return badRequest("The mirror traffic of endpoint %s names %d deployments: it can have only one.", r.name(), len(p.MirrorTraffic))
	case mirrored > 50:
		return badRequest("The mirror traffic of endpoint %s is %d percent: it can have at most 50.", r.name(), mirrored)
	case mirrored > 0 && !e.managed():
		return nested("NotSupported", "Mirror traffic is supported for managed online endpoints only.")
	}
	for name := range p.MirrorTraffic {
		for live, weight := range p.Traffic {
			if mirrored > 0 && same(name, live) && value(weight) > 0 {
				return badRequest("The deployment %s of endpoint %s has live traffic, and cannot have mirror traffic as well.", name, r.name())
			}
		}
	}
	return nil
}

// sum adds weights up, each of which must be to a deployment that is ready.
func sum(what string, weights map[string]*int32, ready func(string) error) (total int32, err error) {
	for _, name := range sortedKeys(weights) {
		weight := value(weights[name])
		if weight < 0 || weight > 100 {
			return 0, badRequest("The %s of deployment %s is %d: it must be between 0 and 100.", what, name, weight)
		}
		if weight > 0 {
			if err := ready(name); err != nil {
				return 0, err
			}
		}
		total += weight
	}
	return total, nil
}

// tidyEndpoint is what becomes of a request: keys are not kept in it, weights have
// lower-case names, and what is the platform's to say is left out.
func tidyEndpoint(in *ml.OnlineEndpoint) {
	p := in.Properties
	in.ID, in.Name, in.Type, in.SystemData = nil, nil, nil, nil
	p.ProvisioningState, p.ScoringURI, p.SwaggerURI, p.Keys = nil, nil, nil, nil
	if p.PublicNetworkAccess == nil {
		p.PublicNetworkAccess = new(ml.PublicNetworkAccessTypeEnabled)
	}
	p.Traffic, p.MirrorTraffic = lowerKeys(p.Traffic), lowerKeys(p.MirrorTraffic)
	p.Properties = merged(p.Properties, nil)
}

func lowerKeys(weights map[string]*int32) map[string]*int32 {
	out := map[string]*int32{}
	for name, weight := range weights {
		if value(weight) > 0 {
			out[strings.ToLower(name)] = weight
		}
	}
	return out
}

// identityOf is an identity as the platform shows it: with a principal of its own.
func identityOf(in *ml.ManagedServiceIdentity, id string) *ml.ManagedServiceIdentity {
	if in == nil {
		in = &ml.ManagedServiceIdentity{Type: new(ml.ManagedServiceIdentityTypeSystemAssigned)}
	}
	if strings.Contains(string(*in.Type), string(ml.ManagedServiceIdentityTypeSystemAssigned)) {
		in.PrincipalID, in.TenantID = new(guid("principal "+strings.ToLower(id))), new(tenant)
	}
	for name := range in.UserAssignedIdentities {
		in.UserAssignedIdentities[name] = &ml.UserAssignedIdentity{PrincipalID: new(guid("principal " + strings.ToLower(name))), ClientID: new(guid("client " + strings.ToLower(name)))}
	}
	return in
}

// tenant is the one that everything is in.
const tenant = "72f988bf-0000-4000-8000-2d7cd011db47"

func sameIdentity(is, in *ml.ManagedServiceIdentity) bool {
	if in == nil {
		return value(is.Type) == ml.ManagedServiceIdentityTypeSystemAssigned
	}
	if !same(string(value(is.Type)), string(value(in.Type))) || len(is.UserAssignedIdentities) != len(in.UserAssignedIdentities) {
		return false
	}
	for name := range in.UserAssignedIdentities {
		if !slices.ContainsFunc(sortedKeys(is.UserAssignedIdentities), func(other string) bool { return same(name, other) }) {
			return false
		}
	}
	return true
}

func hostKey(location, name string) string { return location + "/" + strings.ToLower(name) }

const mostEndpoints = 100

// claim takes a name that is not yet used in the region, by whomever.
func (r *request) claim(in *ml.OnlineEndpoint) error {
	location := plainLocation(value(in.Location))
	var other string
	key := hostKey(location, r.name())
	found, err := r.tx.Get(kindHost, key, &other)
	if err != nil {
		return err
	}
	if found {
		e := refuse(http.StatusConflict, "Conflict", "There is already an endpoint with the name %s in region %s. An endpoint's name must be unique within a region.", r.name(), location)
		e.Detail = "EndpointAlreadyExists"
		return e
	}
	taken, err := r.prefixed(kindHost, location+"/")
	if err != nil {
		return err
	}
	if most := cmp.Or(r.o.Quotas()["azure_ml.endpoints"], mostEndpoints); len(taken) >= most {
		return nested("OutOfQuota", "The limit of %d endpoints in region %s has been reached.", most, location)
	}
	return r.tx.Put(kindHost, key, r.key())
}

// idle refuses a change while another one is running.
func (r *request) idle(e *endpoint) error {
	running, err := r.runningOn(e.Busy)
	if err != nil || running == nil {
		return err
	}
	return conflict("Conflict of operation, another operation on same entity is already running in workspace %s: endpoint %s is in %s provisioning state.", r.names[0], e.at().name(), e.During)
}
