// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// service answers JSON-protocol calls from a table and counts them.
type service struct {
	mu      sync.Mutex
	calls   []string
	answers map[string]func(body map[string]any) (status int, answer string)
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if r.Header.Get("Smithy-Protocol") != "" { // CloudWatch, which speaks CBOR and has no alarms
		s.mu.Lock()
		s.calls = append(s.calls, path.Base(r.URL.Path))
		s.mu.Unlock()
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
		_, _ = w.Write([]byte{0xa0}) // an empty map
		return
	}
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	s.mu.Lock()
	s.calls = append(s.calls, operation)
	answer := s.answers[operation]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "req-7")
	if answer == nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"ValidationException","message":"unexpected %s"}`, operation)
		return
	}
	status, text := answer(body)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func ok(text string) func(map[string]any) (int, string) {
	return func(map[string]any) (int, string) { return http.StatusOK, text }
}

func (s *service) count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{"": len(s.calls)}
	for _, c := range s.calls {
		n[c]++
	}
	return n
}

func against(t *testing.T, s *service, log hclog.Logger) *sagemaker {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	d, err := Open(Config{Region: "eu-west-1", AccessKey: "AKID", SecretKey: secret.New("hunter2"), Token: secret.New("hunter3"),
		ExecutionRoleARN: testRole, EndpointURL: server.URL, Logger: log, UserAgent: "terraform-provider-ml/1.0"})
	if err != nil {
		t.Fatal(err)
	}
	return d.(*sagemaker)
}

// TestRefreshOfAnUnchangedModelIsOneCall holds the budget, whatever the model has.
func TestRefreshOfAnUnchangedModelIsOneCall(t *testing.T) {
	t.Parallel()
	s := &service{answers: map[string]func(map[string]any) (int, string){
		"ListModelPackages": ok(`{"ModelPackageSummaryList":[{"ModelPackageVersion":1,"ModelPackageStatus":"Completed","ModelApprovalStatus":"Rejected",` +
			`"ModelPackageArn":"arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/1"}]}`),
	}}
	known := &driver.ModelState{Key: driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"}, Description: "of cards",
		Labels: map[string]string{"team": "risk"}, Versions: []driver.Version{{Version: "1", NativeID: "arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/1",
			Owned: true, Hash: "h", Approval: driver.Approved, Phase: driver.Ready, Aliases: []string{"champion"}, Metadata: map[string]string{"run": "12"}}}}
	got, err := against(t, s, nil).ObserveModel(t.Context(), known.Key, known)
	if err != nil || s.count()[""] != 1 {
		t.Fatalf("%v, calls %v", err, s.calls)
	}
	if v := got.Versions[0]; v.Hash != "h" || v.Approval != driver.Rejected || known.Versions[0].Approval != driver.Approved {
		t.Errorf("the list shows a rejection that the state does not: %+v", v)
	}
	if got.Description != "of cards" || got.Labels["team"] != "risk" || len(got.Versions[0].Aliases) != 1 {
		t.Errorf("what is known is lost: %+v", got)
	}
}

// TestRefreshOfALabelledEndpointIsTwoCalls: without autoscaling there is a call left
// for the labels, which somebody may have changed.
func TestRefreshOfALabelledEndpointIsTwoCalls(t *testing.T) {
	t.Parallel()
	s := &service{answers: map[string]func(map[string]any) (int, string){
		"DescribeEndpoint": ok(`{"EndpointName":"fraud","EndpointArn":"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud","EndpointStatus":"InService",` +
			`"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"main","DesiredWeight":100,"DesiredInstanceCount":1,"CurrentInstanceCount":1}]}`),
		"ListTags": ok(`{"Tags":[{"Key":"team","Value":"fraud"},{"Key":"ml:managed-by","Value":"terraform-provider-ml"},{"Key":"ml:resource","Value":"fraud"}]}`),
	}}
	known := &driver.EndpointState{Key: driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"}, Memo: "c", Phase: driver.Ready, Marks: driver.Marks{Owned: true},
		NativeID: "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud", Labels: map[string]string{"team": "risk"},
		Deployments: []driver.DeploymentState{{Deployment: driver.Deployment{Name: "main", Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}}}}
	got, err := against(t, s, nil).ObserveEndpoint(t.Context(), known.Key, known)
	if err != nil || s.count()[""] != 2 || got.Labels["team"] != "fraud" {
		t.Errorf("%v, calls %v, labels %v", err, s.calls, got.Labels)
	}
}

// TestInferenceComponentsAreRefused: their endpoint's variants have no model, and
// a state of it would say that nothing is served.
func TestInferenceComponentsAreRefused(t *testing.T) {
	t.Parallel()
	s := &service{answers: map[string]func(map[string]any) (int, string){
		"DescribeEndpoint": ok(`{"EndpointName":"fraud","EndpointArn":"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud","EndpointStatus":"InService",` +
			`"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"main"}]}`),
		"DescribeEndpointConfig": ok(`{"EndpointConfigName":"c","EndpointConfigArn":"arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/c",` +
			`"ExecutionRoleArn":"` + testRole + `","ProductionVariants":[{"VariantName":"main","InstanceType":"ml.g5.xlarge","InitialInstanceCount":1}]}`),
		"ListTags": ok(`{"Tags":[]}`), "DescribeScalableTargets": ok(`{"ScalableTargets":[]}`),
		"ListEndpointConfigs": ok(`{"EndpointConfigs":[]}`), "ListModels": ok(`{"Models":[]}`),
	}}
	_, err := against(t, s, nil).ObserveEndpoint(t.Context(), driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"}, nil)
	if !mlerr.Is(err, mlerr.Unsupported) || !strings.Contains(err.Error(), "inference components") || mlerr.Hint(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestATokenOutlivesItsVersion: the service answers a repeated token with the
// version that it first made, also when somebody has deleted that one since.
func TestATokenOutlivesItsVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason string
		alive  int // the first version that exists
		want   mlerr.Code
		tokens int
	}{
		{"the version is there", 4, 0, 1},
		{"it was deleted", 5, 0, 2},
		{"nothing that is made appears: more of it would be no help", 9, mlerr.NotYetVisible, 2},
	} {
		made := map[string]int{}
		s := &service{answers: map[string]func(map[string]any) (int, string){
			"DescribeModelPackageGroup": ok(`{"ModelPackageGroupName":"fraud","ModelPackageGroupArn":"arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/fraud","CreationTime":1}`),
			"CreateModelPackage": func(body map[string]any) (int, string) {
				token, _ := body["ClientToken"].(string)
				if made[token] == 0 {
					made[token] = 4 + len(made)
				}
				return http.StatusOK, fmt.Sprintf(`{"ModelPackageArn":"arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/%d"}`, made[token])
			},
			"DescribeModelPackage": func(body map[string]any) (int, string) {
				id, _ := body["ModelPackageName"].(string)
				if n := int(id[len(id)-1] - '0'); n < c.alive {
					return http.StatusBadRequest, `{"__type":"ValidationException","message":"ModelPackage ` + id + ` does not exist."}`
				}
				return http.StatusOK, `{"ModelPackageArn":"` + id + `"}`
			},
		}}
		spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"}, Serving: driver.Serving{Image: "x:1"}}
		d := against(t, s, nil)
		for range 2 { // repeated, it makes nothing more
			if err := d.PublishVersion(t.Context(), spec, "s3://bucket/model.tar.gz", "3"); mlerr.CodeOf(err) != c.want {
				t.Errorf("%s: %v", c.reason, err)
			}
		}
		if len(made) != c.tokens {
			t.Errorf("%s: versions were made with %d tokens, want %d", c.reason, len(made), c.tokens)
		}
	}
}

// TestRefreshesShareTheAccountsScaling holds the budget: two calls for each
// autoscaled endpoint from two endpoints on, here n + 2.
func TestRefreshesShareTheAccountsScaling(t *testing.T) {
	t.Parallel()
	const n = 20
	s := &service{answers: map[string]func(map[string]any) (int, string){
		"DescribeEndpoint": func(body map[string]any) (int, string) {
			return http.StatusOK, fmt.Sprintf(`{"EndpointName":%q,"EndpointArn":"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/%s","EndpointStatus":"InService",`+
				`"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"main","DesiredWeight":100,"DesiredInstanceCount":3,"CurrentInstanceCount":3}]}`,
				body["EndpointName"], body["EndpointName"])
		},
		"DescribeScalableTargets": ok(`{"ScalableTargets":[{"ResourceId":"endpoint/e7/variant/main","ScalableDimension":"sagemaker:variant:DesiredInstanceCount","ServiceNamespace":"sagemaker","MinCapacity":1,"MaxCapacity":9}]}`),
		"DescribeScalingPolicies": ok(`{"ScalingPolicies":[{"ResourceId":"endpoint/e7/variant/main","ScalableDimension":"sagemaker:variant:DesiredInstanceCount","PolicyName":"by-hand","PolicyType":"TargetTrackingScaling",` +
			`"TargetTrackingScalingPolicyConfiguration":{"TargetValue":200,"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}}}]}`),
	}}
	d := against(t, s, nil)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			key := driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: fmt.Sprintf("e%d", i)}
			known := &driver.EndpointState{Key: key, Memo: "c", Phase: driver.Ready, Labels: map[string]string{"team": "risk"}, Deployments: []driver.DeploymentState{{Deployment: driver.Deployment{Name: "main", Traffic: 100,
				Scaling: driver.Scaling{Min: 1, Max: 4, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 100}}}}}}}
			got, err := d.ObserveEndpoint(t.Context(), key, known)
			if err != nil {
				t.Error(err)
				return
			}
			scaling := got.Deployments[0].Scaling
			if i == 7 && (scaling.Max != 9 || scaling.Metrics[0].Target != 200) {
				t.Errorf("what was changed by hand is not seen: %+v", scaling)
			}
			if i != 7 && (scaling.Automatic() || scaling.Min != 3) {
				t.Errorf("the lost registration is not seen: %+v", scaling)
			}
		})
	}
	group.Wait()
	if calls := s.count(); calls[""] != n+2 {
		t.Errorf("%d endpoints took the calls %v", n, calls)
	}
}

func TestLogHasOneLineACallAndNoSecret(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &service{answers: map[string]func(map[string]any) (int, string){}}
	d := against(t, s, hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, Mutex: &sync.Mutex{}}))
	_, err := d.ObserveEndpoint(t.Context(), driver.Key{Location: "eu-west-1", Name: "fraud"}, nil)
	if !mlerr.Is(err, mlerr.InvalidArgument) {
		t.Errorf("an unknown refusal is no absence: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1 {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	for _, part := range []string{"SageMaker.DescribeEndpoint", "duration=", "attempt=1", "status=400", "request_id=req-7"} {
		if !strings.Contains(lines[0], part) {
			t.Errorf("the line lacks %s: %s", part, lines[0])
		}
	}
	if strings.Contains(out.String(), "hunter") {
		t.Error("a secret is in the log")
	}
}

func TestOnlyThrottlingIsRepeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, code string
		status       int
		want         mlerr.Code
		calls        int
	}{
		{"throttling passes by", "ThrottlingException", 400, mlerr.Throttled, 3},
		{"an account limit does not", "LimitExceededException", 400, mlerr.QuotaExceeded, 1},
		{"a failure is for the core to look at first", "InternalFailure", 500, mlerr.Unavailable, 1},
	} {
		s := &service{answers: map[string]func(map[string]any) (int, string){
			"DescribeEndpoint": func(map[string]any) (int, string) {
				return c.status, fmt.Sprintf(`{"__type":%q,"message":"no"}`, c.code)
			},
		}}
		_, err := against(t, s, nil).ObserveEndpoint(t.Context(), driver.Key{Location: "eu-west-1", Name: "fraud"}, nil)
		if !mlerr.Is(err, c.want) || s.count()[""] != c.calls {
			t.Errorf("%s: %v after %d calls", c.reason, err, s.count()[""])
		}
	}
}

func TestOpenNeverDialsAndExplainsMissingCredentials(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	d, err := Open(Config{EndpointURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Locate(""); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "location" {
		t.Errorf("without any region: %v", err)
	}
	_, err = d.ObserveEndpoint(t.Context(), driver.Key{Location: "eu-west-1", Name: "fraud"}, nil)
	if !mlerr.Is(err, mlerr.Unauthenticated) || mlerr.Hint(err) == "" {
		t.Errorf("without any credentials: %v", err)
	}
	t.Setenv("AWS_REGION", "eu-north-1")
	again, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Locate(""); err != nil || got != "eu-north-1" {
		t.Errorf("the region of the environment: %q, %v", got, err)
	}
}

func TestNativeIDs(t *testing.T) {
	t.Parallel()
	d := testDriver(t)
	for _, c := range []struct {
		reason, id string
		kind       driver.Kind
		name       string // "" is not understood
	}{
		{"an endpoint", "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud", driver.KindEndpoint, "fraud"},
		{"a version stands for its model", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/3", driver.KindModel, "fraud"},
		{"a group", "arn:aws-cn:sagemaker:cn-north-1:123456789012:model-package-group/fraud", driver.KindModel, "fraud"},
		{"another kind", "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud", driver.KindModel, ""},
		{"another service", "arn:aws:s3:::bucket/endpoint/fraud", driver.KindEndpoint, ""},
		{"no ARN", "fraud", driver.KindEndpoint, ""},
	} {
		key, ok := d.ParseNativeID(c.kind, c.id)
		if ok != (c.name != "") || key.Name != c.name {
			t.Errorf("%s: %+v, %v", c.reason, key, ok)
		}
	}
	if !slices.ContainsFunc(d.Features().Gaps, func(g driver.Gap) bool { return g.Path == "auth.mode" }) {
		t.Error("the gaps are not data")
	}
}
