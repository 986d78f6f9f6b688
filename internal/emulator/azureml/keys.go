// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// newKey makes a key as the platform does: 32 characters at random.
func newKey() string { return (rand.Text() + rand.Text())[:32] }

// endpointOf finds the endpoint that an action is on.
func (r *request) endpointOf() (*endpoint, error) {
	at := r.target
	at.types = at.types[:len(at.names)]
	return r.mustEndpoint(at)
}

// authenticates refuses an action that is for another way to authenticate.
func (e *endpoint) authenticates(mode ml.EndpointAuthMode) error {
	if is := value(e.ARM.Properties.AuthMode); is != mode {
		return badRequest("The operation is not allowed for endpoint %s, whose authMode is %s and not %s.", e.at().name(), is, mode)
	}
	return nil
}

func listKeys(r *request) (*reply, error) {
	e, err := r.endpointOf()
	if err != nil {
		return nil, err
	}
	if err := e.authenticates(ml.EndpointAuthModeKey); err != nil {
		return nil, err
	}
	return ok(ml.EndpointAuthKeys{PrimaryKey: new(e.Keys["primary"]), SecondaryKey: new(e.Keys["secondary"])}), nil
}

func regenerateKeys(r *request) (*reply, error) {
	in, err := decode[ml.RegenerateEndpointKeysRequest](r.body)
	if err != nil {
		return nil, err
	}
	e, err := r.endpointOf()
	if err != nil {
		return nil, err
	}
	if err := e.authenticates(ml.EndpointAuthModeKey); err != nil {
		return nil, err
	}
	if in.KeyType == nil || !slices.Contains(ml.PossibleKeyTypeValues(), *in.KeyType) {
		return nil, badRequest("The value '%s' is not valid for 'keyType'.", value(in.KeyType))
	}
	if err := r.idle(e); err != nil {
		return nil, err
	}
	key := value(in.KeyValue)
	if key == "" {
		key = newKey()
	}
	wanted, err := json.Marshal(map[string]string{strings.ToLower(string(*in.KeyType)): key})
	if err != nil {
		return nil, err
	}
	o := &operation{Subject: e.ID, Location: value(e.ARM.Location), Request: wanted}
	if err := r.start("onlineEndpoints.regenerateKeys", o); err != nil {
		return nil, err
	}
	e.Busy, e.Latest, e.During = o.ID, o.ID, "Updating"
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	return r.accepted(http.StatusAccepted, nil, o), nil
}

func keysRegenerated(r *request, o *operation) error {
	return r.endpointDone(o, func(e *endpoint) error {
		if o.Ignored {
			return nil
		}
		return json.Unmarshal(o.Request, &e.Keys)
	})
}

// Tokens are to be renewed some time before they expire.
const (
	tokenLife    = 8 * time.Hour
	tokenRefresh = 6 * time.Hour
)

func getToken(r *request) (*reply, error) {
	e, err := r.endpointOf()
	if err != nil {
		return nil, err
	}
	if err := e.authenticates(ml.EndpointAuthModeAMLToken); err != nil {
		return nil, err
	}
	token, now := "aml."+newKey(), r.now()
	if e.Tokens == nil {
		e.Tokens = map[string]time.Time{}
	}
	for other, expires := range e.Tokens {
		if !expires.After(now) {
			delete(e.Tokens, other)
		}
	}
	e.Tokens[token] = now.Add(tokenLife)
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	return ok(ml.EndpointAuthToken{AccessToken: &token, TokenType: new("Bearer"), ExpiryTimeUTC: new(now.Add(tokenLife).Unix()), RefreshAfterTimeUTC: new(now.Add(tokenRefresh).Unix())}), nil
}

const (
	usualTail = 50
	mostTail  = 500
)

// getLogs answers what one instance has written lately.
func getLogs(r *request) (*reply, error) {
	in, err := decode[ml.DeploymentLogsRequest](r.body)
	if err != nil {
		return nil, err
	}
	at := r.target
	at.types = at.types[:len(at.names)]
	again := *r
	again.target = at
	_, d, err := again.mustDeployment()
	if err != nil {
		return nil, err
	}
	container := ml.ContainerTypeInferenceServer
	if in.ContainerType != nil {
		container = *in.ContainerType
	}
	if !slices.Contains(ml.PossibleContainerTypeValues(), container) {
		return nil, badRequest("The value '%s' is not valid for 'containerType'.", container)
	}
	tail := usualTail
	if in.Tail != nil {
		if tail = int(*in.Tail); tail < 1 || tail > mostTail {
			return nil, badRequest("The tail %d must be between 1 and %d.", tail, mostTail)
		}
	}
	lines := d.log(container)
	return ok(ml.DeploymentLogs{Content: new(strings.Join(lines[max(0, len(lines)-tail):], "\n") + "\n")}), nil
}

func (d *deployment) log(container ml.ContainerType) []string {
	at := func(after time.Duration) string { return d.Created.Add(after).Format(time.RFC3339) }
	s := d.settings()
	if container == ml.ContainerTypeStorageInitializer {
		return []string{"Instance status:", "SystemSetup: Succeeded", at(0) + " Downloading model " + value(s.model), at(time.Second) + " Downloaded."}
	}
	lines := []string{"Instance status:", "UserContainerImagePull: Succeeded", "ModelDownload: Succeeded", "UserContainerStart: InProgress", "Container events:",
		at(2*time.Second) + " Starting the server with " + fmt.Sprint(len(s.env)) + " environment variables"}
	if d.Reason != "" {
		return append(lines, at(3*time.Second)+" ERROR "+d.Reason)
	}
	return append(lines, at(3*time.Second)+" Ready.")
}
