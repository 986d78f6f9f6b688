// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// problem is an error body of Resource Manager. What is on top often says nothing: the
// cause is in the details, or in the additional information.
type problem struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Target  string    `json:"target"`
	Details []problem `json:"details"`
	More    []struct {
		Type string          `json:"type"`
		Info json.RawMessage `json:"info"`
	} `json:"additionalInfo"`
	Inner *problem `json:"innererror"`
}

// said is all that a refusal says: its codes, and its messages with the deepest first.
type said struct {
	status    int
	codes     []string
	messages  []string
	requestID string
}

func (p *problem) into(s *said) {
	for i := range p.Details {
		p.Details[i].into(s)
	}
	if p.Inner != nil {
		p.Inner.into(s)
	}
	for _, more := range p.More {
		var inner struct {
			Value struct {
				Code  string   `json:"code"`
				Inner *problem `json:"innerError"`
			} `json:"value"`
		}
		if more.Type == "InnerError" && json.Unmarshal(more.Info, &inner) == nil {
			s.add(inner.Value.Code, "")
			if inner.Value.Inner != nil {
				inner.Value.Inner.into(s)
			}
		}
	}
	s.add(p.Code, p.Message)
}

func (s *said) add(code, message string) {
	if code != "" && !slices.Contains(s.codes, code) {
		s.codes = append(s.codes, code)
	}
	if message = strings.TrimSpace(message); message != "" && !slices.Contains(s.messages, message) {
		s.messages = append(s.messages, message)
	}
}

// Error is the platform's words, the most telling first.
func (s *said) Error() string {
	words := strings.Join(s.messages, "; ")
	if len(s.codes) > 0 {
		words = s.codes[0] + ": " + words
	}
	if words == "" {
		words = http.StatusText(s.status)
	}
	return strings.TrimSuffix(strings.TrimSuffix(words, "."), ": ")
}

func (s *said) has(codes ...string) bool {
	return slices.ContainsFunc(s.codes, func(c string) bool {
		return slices.ContainsFunc(codes, func(want string) bool { return strings.EqualFold(c, want) })
	})
}

// mostErrorBody is more than any error says.
const mostErrorBody = 1 << 20

// heard reads what a response refuses with.
func heard(resp *http.Response, code string) *said {
	s := &said{}
	if resp != nil {
		s.status, s.requestID = resp.StatusCode, requestID(resp.Header)
		if resp.Body != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, mostErrorBody)) // what there is of it
			s.read(body)
		}
	}
	if len(s.codes) == 0 {
		s.add(code, "")
	}
	return s
}

// read reads an error body: below "error", or bare.
func (s *said) read(body []byte) {
	var nested struct {
		Error *problem `json:"error"`
	}
	if json.Unmarshal(body, &nested) == nil && nested.Error != nil {
		nested.Error.into(s)
		return
	}
	var bare problem
	if json.Unmarshal(body, &bare) == nil && bare.Code != "" {
		bare.into(s)
		return
	}
	if text := strings.TrimSpace(string(body)); text != "" && !strings.HasPrefix(text, "<") && !strings.HasPrefix(text, "{") {
		s.add("", text[:min(len(text), 500)]) // gateways answer with pages
	}
}

// failed turns an error into ours: what was tried, the code, the platform's words, the
// request's id and a hint. failed(nil, …) is nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*mlerr.Error](err); ok && own.Code != mlerr.Unknown {
		return mlerr.Wrap(own, own.Code, format, args...)
	}
	var s *said
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		s = heard(refused.RawResponse, refused.ErrorCode)
	} else if inner, ok := errors.AsType[*said](err); ok {
		s = inner
	}
	if s == nil {
		return mlerr.New(unanswered(err), format, args...).Because(err)
	}
	code, hint := s.classify()
	e := mlerr.New(code, format, args...).Because(s).WithHint("%s", hint)
	e.RequestID = s.requestID
	if code == mlerr.InvalidArgument {
		e.Path = s.attribute()
	}
	return e
}

// unanswered is for errors without an answer from Resource Manager.
func unanswered(err error) mlerr.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return mlerr.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return mlerr.Timeout
	}
	return mlerr.Unavailable // nothing came back, or not the whole of it
}

const (
	loginHint = "Set the provider's azure_ml credentials, the ARM_ variables that azurerm reads, or run az login; " +
		"in HCP Terraform, turn on dynamic Azure credentials for the workspace"
	permissionHint = "Grant the permission that the message names to the credentials, on the workspace; the guide to Azure ML lists all that are needed"
	providersHint  = "Have the subscription's owner register the resource providers Microsoft.MachineLearningServices, Storage, KeyVault, ContainerRegistry, Insights, " +
		"Network, Compute, ManagedIdentity, PolicyInsights and Cdn"
	quotaHint = "Ask for more quota of the VM family in the region (Azure ML studio, Quota). Azure ML counts 20 percent more instances than there are, which it takes for upgrades, " +
		"and a new version needs its instances beside those of the old one"
	identityHint = "Grant the endpoint's identity Storage Blob Data Reader on the workspace's storage account and AcrPull on the container registry; " +
		"a system-assigned identity gets both from Azure ML"
	nameHint    = "Names of endpoints are unique in a region, across all customers: choose another name"
	clusterHint = "Attach the cluster to the workspace first: az ml compute attach --type Kubernetes"
	networkHint = "Provision the workspace's managed network first: az ml workspace provision-network"
)

// meanings are what codes stand for, the most telling first.
var meanings = []struct {
	codes []string
	code  mlerr.Code
	hint  string
}{
	{[]string{"SubscriptionNotFound", "InvalidSubscriptionId"}, mlerr.InvalidArgument, "Set the provider's azure_ml.subscription_id to a subscription that the credentials see"},
	{[]string{"InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "InvalidAuthenticationTokenAudience", "ExpiredAuthenticationToken", "AuthenticationFailed"}, mlerr.Unauthenticated, loginHint},
	{[]string{"RequestDisallowedByPolicy"}, mlerr.PermissionDenied, "A policy of the subscription forbids it: ask whoever assigns policies there"},
	{[]string{"AuthorizationFailed"}, mlerr.PermissionDenied, permissionHint},
	{[]string{"LinkedAuthorizationFailed"}, mlerr.NotYetVisible, permissionHint}, // of an identity, that is often granted by the same apply
	{[]string{"MissingSubscriptionRegistration", "SubscriptionNotRegistered"}, mlerr.PermissionDenied, providersHint},
	{[]string{"ScopeLocked"}, mlerr.PermissionDenied, "Remove the lock of the resource, its group or its subscription"},
	{[]string{"OutOfQuota", "QuotaExceeded", "OperationNotAllowed"}, mlerr.QuotaExceeded, quotaHint},
	{[]string{"ComputeNotFound"}, mlerr.InvalidArgument, clusterHint},
	{[]string{"WorkspaceManagedNetworkNotReady"}, mlerr.InvalidArgument, networkHint},
	{[]string{"TooManyRequests", "OperationCanceled", "ACRTokenExchangeFailed", "ACRSecretError"}, mlerr.Throttled, ""},
	{[]string{"ResourceGroupNotFound", "ParentResourceNotFound", "ResourceNotFound", "NotFound", "EndpointNotFound"}, mlerr.NotFound, ""},
	{[]string{"EndpointAlreadyExists"}, mlerr.AlreadyExists, nameHint},
	{[]string{"NotSupported"}, mlerr.Unsupported, ""},
	{[]string{"InternalServerError", "ServiceUnavailable"}, mlerr.Unavailable, ""},
}

// Sentences tell apart what has the same code.
var (
	busyWords  = regexp.MustCompile(`(?i)because it is in \w+ provisioning state|in (Updating|Creating|Deleting|Scaling) (provisioning )?state|already running|another operation|in progress`)
	takenWords = regexp.MustCompile(`(?i)unique within (the|a) region|already (exists|taken|in use).*region|not available in .*region`)
	usedWords  = regexp.MustCompile(`(?i)has (live |mirror )?traffic|in use|is (being )?used|referenced by|non-?zero traffic|traffic .*(must|should) be (set to )?0`)
	rightWords = regexp.MustCompile(`(?i)authoriz|permission|access to (the )?(storage|registry)`)
)

// classify is the one place that knows what the platform's errors mean. The status
// alone says little: operations fail with 200.
func (s *said) classify() (mlerr.Code, string) {
	words := strings.Join(s.messages, "; ")
	switch {
	case busyWords.MatchString(words):
		return mlerr.Busy, ""
	case takenWords.MatchString(words):
		return mlerr.AlreadyExists, nameHint
	case s.status == http.StatusTooManyRequests:
		return mlerr.Throttled, ""
	case s.has("BadArgument") && rightWords.MatchString(words):
		return mlerr.PermissionDenied, identityHint
	}
	for _, m := range meanings {
		if s.has(m.codes...) {
			return m.code, m.hint
		}
	}
	switch {
	case s.status >= http.StatusInternalServerError:
		return mlerr.Unavailable, ""
	case usedWords.MatchString(words) && s.status >= http.StatusBadRequest:
		return mlerr.InUse, ""
	}
	code, hint := byStatus(s.status)
	return code, hint
}

func byStatus(status int) (mlerr.Code, string) {
	switch status {
	case http.StatusUnauthorized:
		return mlerr.Unauthenticated, loginHint
	case http.StatusForbidden:
		return mlerr.PermissionDenied, permissionHint
	case http.StatusNotFound:
		return mlerr.NotFound, ""
	case http.StatusConflict:
		return mlerr.Busy, ""
	case http.StatusPreconditionFailed:
		return mlerr.Conflict, ""
	case http.StatusRequestTimeout:
		return mlerr.Unavailable, ""
	case http.StatusAccepted: // a PUT that is not to be answered so; what it does is seen
		return mlerr.Busy, ""
	case http.StatusOK: // an operation that has failed
		return mlerr.Failed, ""
	}
	return mlerr.InvalidArgument, ""
}

// attributes are those that fields of requests come from.
var attributes = []struct{ field, path string }{
	{"instanceType", "deployments"}, {"mirrorTraffic", "deployments"}, {"traffic", "deployments"}, {"modelUri", "artifact.uri"}, {"Asset paths", "artifact.uri"},
	{"requestTimeout", "request_timeout"}, {"dataCollector", "capture"}, {"environmentVariables", "deployments"}, {"publicNetworkAccess", "network.access"},
	{"egressPublicNetworkAccess", "azure_ml.egress_public"}, {"authMode", "auth.mode"}, {"userAssignedIdentities", "azure_ml.identity"}, {"tags", "labels"},
	{"principalId", "auth.invokers"}, {"principal", "auth.invokers"},
	{"The compute ", attributeCompute},
}

// attribute is the attribute that a refusal is about, where the platform names the
// field.
func (s *said) attribute() string {
	words := strings.Join(s.messages, "; ")
	for _, a := range attributes {
		if strings.Contains(words, a.field) {
			return a.path
		}
	}
	return ""
}

// explanations are what codes of failed deployments mean, for whoever reads the reason.
var explanations = []struct{ code, words string }{
	{"ImageBuildFailure", "the message holds where the build's log is"},
	{"ResourceNotReady", "its container must listen at serving.port and answer GET on serving.health_path with 200; the log tells why it does not"},
	{"BadArgument", "the image or the model could not be fetched: " + identityHint},
	{"OutOfQuota", quotaHint},
	{"WorkspaceManagedNetworkNotReady", networkHint},
	{"PodUnschedulable", "no node of the cluster has what a replica asks for: ask for less in compute, or for another instance_type"},
	{"PodOutOfMemory", "its container needs more than compute.memory_gib, or its instance type, gives it"},
	{"KubernetesCrashLoopBackOff", "its container ends again and again; the log tells why"},
	{"ImagePullLoopBackOff", "the cluster cannot fetch the image: let it pull from the registry"},
	{"NamespaceNotFound", "the namespace that the compute was attached with is gone from the cluster"},
	{"KubernetesUnaccessible", "the workspace does not reach the cluster: look at the state of its machine learning extension"},
	{"SecretsInjectionError", "grant the endpoint's identity Key Vault Secrets User on the vault that a variable names"},
}

// explain is why something has failed, with what the platform's words often mean.
func explain(s *said) string {
	words := s.Error()
	for _, e := range explanations {
		if s.has(e.code) {
			return words + " (" + e.words + ")" + s.request()
		}
	}
	return words + s.request()
}

// request is the id of the request, for a sentence.
func (s *said) request() string {
	if s.requestID == "" {
		return ""
	}
	return " (request id " + s.requestID + ")"
}

// gone makes the absence of a thing that was to be removed a success.
func gone(err error) error {
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	return err
}

// heardIn is what the platform has said of an error, nil if it has said nothing.
func heardIn(err error) *said {
	s, _ := errors.AsType[*said](err)
	return s
}
