// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
)

// scoringBase is where the hosts of endpoints, NAME.REGION.inference.ml.azure.com, are
// on this server: /inference/REGION/NAME/.
const scoringBase = "/inference/"

// scoring is what a request to an endpoint's own host names.
type scoring struct{ location, name, path string }

var (
	scoringHost = regexp.MustCompile(`^([^.]+)\.([a-z0-9]+)\.inference\.ml\.azure\.`)
	scoringPath = regexp.MustCompile(`^` + scoringBase + `([a-z0-9]+)/([^/]+)(/.*)?$`)
)

// scoringTarget reports whether a request is to the host of an endpoint, and which.
func scoringTarget(h *http.Request) (scoring, bool) {
	if m := scoringHost.FindStringSubmatch(strings.ToLower(h.Host)); m != nil {
		return scoring{m[2], m[1], h.URL.Path}, true
	}
	if m := scoringPath.FindStringSubmatch(h.URL.Path); m != nil {
		return scoring{m[1], strings.ToLower(m[2]), m[3]}, true
	}
	return scoring{}, false
}

// routing is which paths a container answers.
type routing struct {
	shown  string   // what the endpoint's scoringUri ends in
	scores []string // exact, or with "*" at the end
	health []string
}

func (p routing) matches(patterns []string, asked string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, any := strings.CutSuffix(pattern, "*")
		return asked == pattern || (any && strings.HasPrefix(asked, prefix))
	})
}

// scoringRoute is where a deployment takes requests: what its environment says, or
// else the server of the platform or of Triton.
func (r *request) scoringRoute(d *deployment) (routing, error) {
	server := routing{"/score", []string{"/score"}, []string{"/", "/swagger.json"}}
	s := d.settings()
	at := *r
	at.target = d.at()
	environment, err := at.referenced("environments", value(s.environment))
	if _, is := err.(*refusal); err != nil && !is { //nolint:errorlint // refusals are not wrapped
		return server, err
	}
	if environment != nil && environment.Properties["inferenceConfig"] != nil {
		return ownRoute(environment), nil
	}
	if s.environment != nil {
		return server, nil
	}
	model, err := at.referenced("models", value(s.model))
	if _, is := err.(*refusal); err != nil && !is { //nolint:errorlint // refusals are not wrapped
		return server, err
	}
	if model.ready("triton_model") {
		return routing{"/", []string{"/v2/models/*"}, []string{"/v2/health/*", "/v2"}}, nil
	}
	return server, nil
}

func ownRoute(environment *asset) routing {
	config, _ := environment.Properties["inferenceConfig"].(map[string]any)
	pathOf := func(name string) string {
		route, _ := config[name].(map[string]any)
		p, _ := route["path"].(string)
		return p
	}
	out := routing{shown: pathOf("scoringRoute"), scores: []string{pathOf("scoringRoute")}, health: []string{pathOf("livenessRoute"), pathOf("readinessRoute")}}
	switch {
	case out.shown == "":
		out.shown, out.scores = "/score", []string{"/score"}
	case strings.HasSuffix(out.shown, "/"): // whatever is below it is passed through
		out.scores = []string{out.shown + "*"}
	}
	return out
}

// answer is what of a request to an endpoint is found out in a transaction.
type answer struct {
	deployment, key        string
	model, version, digest string
	place                  place
	stored                 bool
	status, wire           int // of the container, and what the caller gets of it
	reason                 string
	number                 int    // of the request, of those that the deployment has served
	source                 string // the id of the deployment
	recordings             []recording
}

// score answers a prediction.
func (r *request) score(w http.ResponseWriter, to scoring) error {
	var a answer
	err := r.do(r.http.Context(), func() error {
		e, err := r.scored(to)
		if err != nil {
			return err
		}
		a, err = r.choose(e, to)
		return err
	})
	if err != nil {
		if e, is := err.(*refusal); is { //nolint:errorlint // refusals are not wrapped
			http.Error(w, e.Message, e.Status) // in plain words: this is no Resource Manager
			return nil
		}
		return err
	}
	w.Header().Set("Azureml-Model-Deployment", a.deployment)
	w.Header().Set("X-Ms-Server-Version", "azmlinfsrv/1.3.2")
	if a.status != http.StatusOK {
		if a.wire == http.StatusFailedDependency {
			w.Header().Set("Ms-Azureml-Model-Error-Statuscode", fmt.Sprint(a.status))
			w.Header().Set("Ms-Azureml-Model-Error-Reason", a.reason)
		}
		http.Error(w, a.reason, a.wire)
		return nil
	}
	data, err := r.modelAnswer(a)
	if err != nil {
		return err
	}
	r.record(a, data)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // a client that has gone away is no concern of the platform's
	return nil
}

// scored finds the endpoint of a host, and lets the caller in.
func (r *request) scored(to scoring) (*endpoint, error) {
	var key string
	found, err := r.tx.Get(kindHost, hostKey(to.location, to.name), &key)
	if err != nil {
		return nil, err
	}
	e := &endpoint{}
	if found {
		found, err = r.tx.Get(kindEndpoint, key, e)
	}
	if err == nil && !found {
		err = refuse(http.StatusNotFound, "NotFound", "The host %s.%s.inference.ml.azure.com does not exist.", to.name, to.location)
	}
	if err != nil {
		return nil, err
	}
	r.target = e.at()
	return e, r.admit(e)
}

// admit lets in who has a key, a token, or a role.
func (r *request) admit(e *endpoint) error {
	credential, bearer := strings.CutPrefix(r.http.Header.Get("Authorization"), "Bearer ")
	if !bearer || credential == "" {
		return refuse(http.StatusUnauthorized, "Unauthorized", "key_auth_access_denied: the Authorization header has no bearer token.")
	}
	switch value(e.ARM.Properties.AuthMode) {
	case ml.EndpointAuthModeKey:
		if credential == e.Keys["primary"] || credential == e.Keys["secondary"] {
			return nil
		}
		return refuse(http.StatusUnauthorized, "Unauthorized", "key_auth_bad_header_forbidden: the key is not one of the endpoint's.")
	case ml.EndpointAuthModeAMLToken:
		if r.now().Before(e.Tokens[credential]) {
			return nil
		}
		return refuse(http.StatusUnauthorized, "Unauthorized", "jwt_auth_denied: the token is not one of the endpoint's, or has expired.")
	}
	who := principalOf(credential)
	if who == "" {
		return nil // whoever runs the rehearsal owns the subscription
	}
	may, err := r.allowed(who, e.ID, scoreAction)
	if err == nil && !may {
		err = refuse(http.StatusForbidden, "Forbidden", "The principal %s lacks permission %s on %s.", who, scoreAction, e.ID)
	}
	return err
}

// principalOf is who a token of Entra ID is for; "" if it is none.
func principalOf(token string) string {
	const parts = 3
	split := strings.Split(token, ".")
	if len(split) != parts {
		return ""
	}
	data, err := base64.RawURLEncoding.DecodeString(split[1])
	var claims struct {
		OID string `json:"oid"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return ""
	}
	return claims.OID
}

// choose picks the deployment: the one that is named, or by the split.
func (r *request) choose(e *endpoint, to scoring) (a answer, err error) {
	all, err := r.deployments(e)
	if err != nil {
		return a, err
	}
	name := r.http.Header.Get("Azureml-Model-Deployment")
	named := name != ""
	if !named {
		name = pick(e.ARM.Properties.Traffic, e.Turns)
	}
	i := slices.IndexFunc(all, func(d *deployment) bool { return name != "" && same(d.at().name(), name) && d.Ever })
	switch {
	case i < 0 && named:
		return a, refuse(http.StatusNotFound, "NotFound", "The deployment %s of endpoint %s does not exist.", name, e.at().name())
	case i < 0:
		return a, refuse(http.StatusNotFound, "NotFound", "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight values or use a deployment specific header to route.")
	}
	d := all[i]
	if a, err = r.describe(d, to); err != nil {
		return a, err
	}
	if e.Served == nil {
		e.Served, e.Mirrored = map[string]int{}, map[string]int{}
	}
	latency, err := r.conduct(&a, e.Served[strings.ToLower(a.deployment)])
	if err != nil {
		return a, err
	}
	a.wire = wireStatus(d, a.status)
	e.Served[strings.ToLower(a.deployment)]++
	a.number, a.source = e.Served[strings.ToLower(a.deployment)], d.ID
	if a.recordings, err = r.recordings(d, a.number); err != nil {
		return a, err
	}
	if !named {
		if err := r.mirrored(e, all, to); err != nil {
			return a, err
		}
		e.Turns++
	}
	if err := metering.Record(r.tx, seriesOf(d), r.now(), a.status, latency); err != nil {
		return a, err
	}
	return a, r.saveEndpoint(e)
}

// pick turns a counter into shares, evenly and without runs.
func pick(weights map[string]*int32, turn int) string {
	at := int32(turn * 61 % 100)
	for _, name := range sortedKeys(weights) {
		if at < *weights[name] {
			return name
		}
		at -= *weights[name]
	}
	return ""
}

// ourTag is where this provider says what a physical deployment is to its user.
const ourTag = "tfml-logical"

var digestPattern = regexp.MustCompile(`[0-9a-f]{64}`)

// describe finds out which version is behind a deployment, and whether its container
// has such a path.
func (r *request) describe(d *deployment, to scoring) (a answer, err error) {
	a = answer{deployment: d.at().name(), key: d.at().name(), status: http.StatusOK}
	if logical := value(d.ARM.Tags[ourTag]); logical != "" {
		a.key = logical
	}
	routes, err := r.scoringRoute(d)
	if err != nil {
		return a, err
	}
	switch {
	case routes.matches(routes.scores, to.path) && r.http.Method == http.MethodPost, routes.matches(routes.health, to.path):
	case routes.matches(routes.scores, to.path):
		a.status, a.reason = http.StatusMethodNotAllowed, "Method Not Allowed"
	default:
		a.status, a.reason = http.StatusNotFound, "Not Found"
	}
	model, err := r.referenced("models", value(d.settings().model))
	if _, is := err.(*refusal); is { //nolint:errorlint // refusals are not wrapped
		err = nil
	}
	if err != nil || model == nil {
		return a, err
	}
	at, _ := parseID(model.ID)
	a.model, a.version = at.names[1], at.names[2]
	uri, _ := model.Properties["modelUri"].(string)
	a.place, a.stored, err = r.place(at, uri)
	a.digest = digestOf(model, uri)
	return a, err
}

// digestOf is a version's SHA-256: in a tag or a property of this provider's, or in
// its address.
func digestOf(model *asset, uri string) string {
	for _, from := range []string{"properties", "tags"} {
		own, _ := model.Properties[from].(map[string]any)
		for _, name := range sortedKeys(own) {
			text, _ := own[name].(string)
			if strings.Contains(name, "digest") && digestPattern.MatchString(text) {
				return digestPattern.FindString(text)
			}
		}
	}
	return digestPattern.FindString(uri)
}

// evaluate computes the answer of the first model file at a place.
func (s *Service) evaluate(p place, body []byte) (any, bool) {
	if s.o.Evaluate == nil || s.o.Blob == nil || s.o.Blobs == nil {
		return nil, false
	}
	names := s.blobs(p)
	i := slices.IndexFunc(names, func(name string) bool { return path.Ext(name) == ".onnx" || strings.HasSuffix(name, ".tar.gz") })
	if i < 0 {
		return nil, false
	}
	blob, err := s.o.Blob(p.account, p.container, names[i])
	if err != nil {
		return nil, false
	}
	defer blob.Close()
	return s.o.Evaluate(names[i], blob, body)
}

// modelAnswer is what the model itself answers.
func (r *request) modelAnswer(a answer) ([]byte, error) {
	out := map[string]any{"model": a.model, "version": a.version, "deployment": a.key, "digest": a.digest, "echo": string(r.body)}
	if json.Valid(r.body) {
		out["echo"] = json.RawMessage(r.body)
	}
	if a.stored {
		if outputs, is := r.evaluate(a.place, r.body); is {
			out["outputs"] = outputs
		}
	}
	return json.Marshal(out)
}
