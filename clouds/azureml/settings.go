// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

type (
	endpoint   = ml.OnlineEndpoint
	deployment = ml.OnlineDeployment
)

// Settings of an endpoint that each of its deployments is made with. What is wanted
// is noted on the endpoint, what was made on the deployment.
const (
	carriedCapture = "capture"
	carriedTimeout = "request_timeout"
	carriedEgress  = "azure_ml.egress_public"
)

// carry notes those settings.
func carry(tags map[string]string, s *driver.Settings) {
	if s.RequestTimeout != 0 {
		tags[tagTimeout] = s.RequestTimeout.String()
	}
	if c := s.Capture; c != nil {
		tags[tagPercent], tags[tagDestination], tags[tagInclude] = strconv.Itoa(c.Percent), c.Destination, strings.Join(c.Include, ",")
	}
	if p := egressPublic(s); p != nil {
		tags[tagEgress] = strconv.FormatBool(*p)
	}
}

// carried reads what carry has noted.
func carried(tags map[string]*string) driver.Settings {
	var s driver.Settings
	s.RequestTimeout, _ = time.ParseDuration(tag(tags, tagTimeout)) // 0 if there is none
	if percent, err := strconv.Atoi(tag(tags, tagPercent)); err == nil {
		s.Capture = &driver.Capture{Percent: percent, Destination: tag(tags, tagDestination), Include: strings.Split(tag(tags, tagInclude), ",")}
	}
	if p, err := strconv.ParseBool(tag(tags, tagEgress)); err == nil {
		s.AzureML = &driver.AzureMLEndpoint{EgressPublic: &p}
	}
	return s
}

func egressPublic(s *driver.Settings) *bool {
	if s.AzureML == nil {
		return nil
	}
	return s.AzureML.EgressPublic
}

func identityOf(s *driver.Settings) string {
	if s.AzureML == nil {
		return ""
	}
	return s.AzureML.Identity
}

// The portable words for what the platform calls otherwise.
const (
	accessPublic  = "public"
	accessPrivate = "private"

	authIAM   = "iam"
	authKey   = "key"
	authToken = "token"

	captureRequest  = "request"
	captureResponse = "response"
)

var authModes = map[string]ml.EndpointAuthMode{authIAM: ml.EndpointAuthModeAADToken, authKey: ml.EndpointAuthModeKey, authToken: ml.EndpointAuthModeAMLToken}

// authMode is the portable word for one of the platform's.
func authMode(m ml.EndpointAuthMode) string {
	for name, theirs := range authModes {
		if strings.EqualFold(string(theirs), string(m)) {
			return name
		}
	}
	return string(m)
}

// publicAccess is nil where the cluster says who reaches an endpoint.
func publicAccess(s *driver.Settings) *ml.PublicNetworkAccessType {
	switch {
	case clusterOf(s) != "":
		return nil
	case s.Network.Access == accessPrivate:
		return new(ml.PublicNetworkAccessTypeDisabled)
	}
	return new(ml.PublicNetworkAccessTypeEnabled)
}

// settingsOf are an endpoint's own settings. Those that its deployments are made with
// are those that were noted, or of an endpoint that somebody else made those of its
// busiest deployment.
func settingsOf(e *endpoint, owned bool, busiest *driver.Settings) driver.Settings {
	p := e.Properties
	s := carried(e.Tags)
	if !owned && busiest != nil {
		s = driver.Settings{RequestTimeout: busiest.RequestTimeout, Capture: busiest.Capture, AzureML: busiest.AzureML}
	}
	s.Network.Access = accessPublic
	if p.PublicNetworkAccess != nil && strings.EqualFold(string(*p.PublicNetworkAccess), string(ml.PublicNetworkAccessTypeDisabled)) {
		s.Network.Access = accessPrivate
	}
	s.Auth.Mode = authMode(deref(p.AuthMode))
	s.Encryption.Key = tag(e.Tags, tagKey)
	if id, cluster := userAssigned(e), clusterSeen(e); id != "" || cluster != "" {
		special := driver.AzureMLEndpoint{Identity: id, EgressPublic: egressPublic(&s), Compute: cluster}
		s.AzureML = &special
	}
	return s
}

// userAssigned is the identity that an endpoint was given, in lower case: the platform
// changes the case of ids. "" is one that the platform has made.
func userAssigned(e *endpoint) string {
	if e.Identity == nil || e.Identity.Type == nil || !strings.Contains(strings.ToLower(string(*e.Identity.Type)), "userassigned") {
		return ""
	}
	written := tag(e.Tags, tagIdentity)
	var all []string
	for id := range e.Identity.UserAssignedIdentities {
		if strings.EqualFold(id, written) {
			return strings.ToLower(id)
		}
		all = append(all, strings.ToLower(id))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// identity is what an endpoint's containers run as.
func identity(userAssigned string) *ml.ManagedServiceIdentity {
	if userAssigned == "" {
		return &ml.ManagedServiceIdentity{Type: new(ml.ManagedServiceIdentityTypeSystemAssigned)}
	}
	return &ml.ManagedServiceIdentity{Type: new(ml.ManagedServiceIdentityTypeUserAssigned), UserAssignedIdentities: map[string]*ml.UserAssignedIdentity{userAssigned: {}}}
}

// sameIdentity repeats an identity as it was read, without what cannot be sent.
func sameIdentity(read *ml.ManagedServiceIdentity) *ml.ManagedServiceIdentity {
	if read == nil {
		return nil
	}
	same := &ml.ManagedServiceIdentity{Type: read.Type}
	for id := range read.UserAssignedIdentities {
		if same.UserAssignedIdentities == nil {
			same.UserAssignedIdentities = map[string]*ml.UserAssignedIdentity{}
		}
		same.UserAssignedIdentities[id] = &ml.UserAssignedIdentity{}
	}
	return same
}

// iso writes a duration as ISO 8601 does, in seconds.
func iso(d time.Duration) *string {
	return new("PT" + strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "S")
}

// uniso reads a duration such as PT1M30S or PT500MS, as the platform writes them. 0 is
// any other text.
func uniso(text string) time.Duration {
	rest, ok := strings.CutPrefix(strings.ToUpper(text), "P")
	if !ok {
		return 0
	}
	date, clock, _ := strings.Cut(rest, "T")
	var days time.Duration
	if n, err := strconv.Atoi(strings.TrimSuffix(date, "D")); err == nil {
		days = time.Duration(n) * 24 * time.Hour
	}
	d, err := time.ParseDuration(strings.ToLower(cmp.Or(clock, "0s")))
	if err != nil {
		return 0
	}
	return days + d
}

// defaultTimeout is how long a request may take when nothing is said.
const defaultTimeout = 5 * time.Second

// collector is what records requests. Data are the ids of the assets that they are
// recorded as, by collection.
func collector(c *driver.Capture, data map[string]string) *ml.DataCollector {
	if c == nil {
		return nil
	}
	collections := map[string]*ml.Collection{}
	for _, name := range c.Include {
		collections[name] = &ml.Collection{DataCollectionMode: new(ml.DataCollectionModeEnabled), SamplingRate: new(float64(c.Percent) / 100)}
		if id := data[name]; id != "" {
			collections[name].DataID = new(id)
		}
	}
	return &ml.DataCollector{Collections: collections, RollingRate: new(ml.RollingRateTypeHour)}
}

// captureOf is what a deployment records, nil for nothing. Destinations are noted: what
// is shown is an asset.
func captureOf(c *ml.DataCollector, destination string) *driver.Capture {
	if c == nil {
		return nil
	}
	var found *driver.Capture
	for name, collection := range c.Collections {
		if collection == nil || collection.DataCollectionMode == nil || *collection.DataCollectionMode != ml.DataCollectionModeEnabled || (name != captureRequest && name != captureResponse) {
			continue
		}
		if found == nil {
			found = &driver.Capture{Destination: destination, Percent: 100}
		}
		found.Include = append(found.Include, name)
		if collection.SamplingRate != nil {
			found.Percent = percentOf(*collection.SamplingRate)
		}
	}
	if found != nil {
		slices.Sort(found.Include)
	}
	return found
}

// percentOf is a rate in percent.
func percentOf(rate float64) int {
	n, _ := strconv.Atoi(fmt.Sprintf("%.0f", rate*100)) // digits
	return n
}
