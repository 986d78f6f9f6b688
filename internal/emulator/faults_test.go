// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	rt "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime/types"
)

func (a *account) list() error {
	_, err := a.sm.ListModels(a.t.Context(), &sagemaker.ListModelsInput{})
	return err
}

func TestFaultStrikesAtItsOccurrence(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const fault = `{"call":"sagemaker.ListModels","occurrence":2,"action":"error","code":"ThrottlingException","message":"Rate exceeded"}`
	a.faults(fault)
	must("", a.list())(t)
	refuses(t, a.list(), "ThrottlingException", "Rate exceeded")
	must("", a.list())(t)
	a.faults(fault) // written anew, it counts anew
	later := time.Now().Add(time.Second)
	must("", os.Chtimes(filepath.Join(a.dir, "faults.json"), later, later))(t)
	must("", a.list())(t)
	refuses(t, a.list(), "ThrottlingException", "Rate exceeded")

	a.faults(`{"call":"*","occurrence":3,"action":"error","code":"InternalFailure","status":500}`)
	must("", a.list())(t)
	must("", a.list())(t)
	refuses(t, a.list(), "InternalFailure", "")

	a.write("faults.json", `{"faults": [{"call":"*","acton":"error"}]}`)
	refuses(t, a.list(), "InternalFailure", "acton") // a typo must not look like health
}

// A lost answer has its effect, a hang and an error have none.
func TestEffectsOfFaults(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	exists := func(group string) bool {
		_, err := a.sm.DescribeModelPackageGroup(ctx, &sagemaker.DescribeModelPackageGroupInput{ModelPackageGroupName: &group})
		return err == nil
	}
	a.faults(`{"call":"sagemaker.CreateModelPackageGroup","occurrence":1,"action":"lost_answer"}`,
		`{"call":"sagemaker.CreateModelPackageGroup","occurrence":2,"action":"hang","duration":"1h"}`,
		`{"call":"sagemaker.CreateModelPackageGroup","occurrence":3,"action":"hang","duration":"1ms"}`,
		`{"call":"sagemaker.CreateModelPackageGroup","occurrence":4,"action":"error","code":"AccessDeniedException","message":"not authorized to perform"}`)
	for _, c := range []struct {
		group  string
		effect bool
	}{{"lost", true}, {"hung", false}, {"ended", false}, {"denied", false}} {
		limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		if c.group != "hung" {
			limited = ctx
		}
		_, err := a.sm.CreateModelPackageGroup(limited, &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: &c.group})
		cancel()
		var api smithy.APIError
		if answered := errors.As(err, &api); err == nil || answered != (c.group == "denied") {
			t.Errorf("%s: got %v", c.group, err)
		}
		if exists(c.group) != c.effect {
			t.Errorf("%s: the effect is %v", c.group, !c.effect)
		}
	}
}

// Each service words an error in its own protocol, scripted ones too.
func TestFaultsSpeakTheProtocol(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	a.put("models", "key", "value")
	a.faults(`{"call":"s3.GetObject","action":"error","code":"SlowDown","message":"Please reduce your request rate.","status":503}`,
		`{"call":"sts.GetCallerIdentity","action":"error","code":"ExpiredToken","message":"The security token is expired","status":403}`,
		`{"call":"monitoring.DescribeAlarms","action":"error","code":"Throttling","message":"Rate exceeded"}`,
		`{"call":"runtime.sagemaker.InvokeEndpoint","action":"error","code":"ModelError","message":"out of memory","status":424}`)
	_, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("models"), Key: aws.String("key")})
	refuses(t, err, "SlowDown", "reduce your request rate")
	_, err = a.sts.GetCallerIdentity(ctx, nil)
	refuses(t, err, "ExpiredToken", "expired")
	_, err = a.alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{})
	refuses(t, err, "Throttling", "Rate exceeded")
	_, err = a.invoke("fraud")
	var model *rt.ModelError
	if !errors.As(err, &model) || aws.ToString(model.OriginalMessage) != "out of memory" || aws.ToInt32(model.OriginalStatusCode) != 500 {
		t.Errorf("got %v", err)
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.write("quotas.json", `{"sagemaker.ListModels": 2}`)
	must("", a.list())(t)
	must("", a.list())(t)
	refuses(t, a.list(), "ThrottlingException", "Rate exceeded")
	must(a.sm.ListEndpoints(t.Context(), &sagemaker.ListEndpointsInput{}))(t) // has a limit of its own
	a.clock.Advance(time.Second)
	must("", a.list())(t)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	if who := must(a.sts.GetCallerIdentity(ctx, nil))(t); aws.ToString(who.Account) != "123456789012" {
		t.Errorf("got %+v", who)
	}
	in := &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("test"), DurationSeconds: aws.Int32(900)}
	got := must(a.sts.AssumeRole(ctx, in))(t)
	if left := got.Credentials.Expiration.Sub(a.clock.Now()); left != 15*time.Minute {
		t.Errorf("asked for 900 seconds, and the session lasts %s", left)
	}
	in.DurationSeconds = aws.Int32(60)
	_, err := a.sts.AssumeRole(ctx, in)
	refuses(t, err, "ValidationError", "Value '60' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
	in.DurationSeconds, in.RoleArn = nil, aws.String("arn:aws:iam::123456789012:user/x")
	_, err = a.sts.AssumeRole(ctx, in)
	refuses(t, err, "ValidationError", "Request ARN is invalid")
	// What exchanges a token is not signed: there is nothing yet to sign with.
	web := sts.New(sts.Options{Region: region, BaseEndpoint: &a.url, Retryer: aws.NopRetryer{}})
	must(web.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(role), RoleSessionName: aws.String("ci"), WebIdentityToken: aws.String("jwt-of-ci")}))(t)
	anonymous := sagemaker.New(sagemaker.Options{Region: region, BaseEndpoint: &a.url, Retryer: aws.NopRetryer{}, Credentials: aws.AnonymousCredentials{}})
	_, err = anonymous.ListModels(ctx, &sagemaker.ListModelsInput{})
	refuses(t, err, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

func TestRuntime(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.model("m")
	a.endpointConfig("one", variant("main", "m", 1, 3), variant("side", "m", 1, 1))
	a.create("fraud", "one")
	a.minutes(5)
	answers := map[string]int{}
	for range 100 {
		answers[must(a.invoke("fraud"))(t)]++
	}
	if answers["main"] != 75 || answers["side"] != 25 {
		t.Errorf("weights of 3 and 1 got %v of 100 requests", answers)
	}
	_, err := a.invoke("FRAUD")
	refuses(t, err, "ValidationError", "Endpoint FRAUD of account 123456789012 not found.")
	in := &sagemakerruntime.InvokeEndpointInput{EndpointName: aws.String("fraud"), TargetVariant: aws.String("side"), Body: []byte("text")}
	out := must(a.runtime.InvokeEndpoint(ctx, in))(t)
	if want := `{"deployment":"side","digest":"","echo":"text","model":"m","version":""}`; string(out.Body) != want {
		t.Errorf("got %s, want %s", out.Body, want)
	}
	in.TargetVariant = aws.String("none")
	_, err = a.runtime.InvokeEndpoint(ctx, in)
	refuses(t, err, "ValidationError", "Variant none")

	streamed := must(a.runtime.InvokeEndpointWithResponseStream(ctx, &sagemakerruntime.InvokeEndpointWithResponseStreamInput{EndpointName: aws.String("fraud"),
		TargetVariant: aws.String("side"), Body: bytes.Repeat([]byte("x"), 1000)}))(t)
	var whole []byte
	parts := 0
	for event := range streamed.GetStream().Events() {
		if part, ok := event.(*rt.ResponseStreamMemberPayloadPart); ok {
			whole = append(whole, part.Value.Bytes...)
			parts++
		}
	}
	if err := streamed.GetStream().Close(); err != nil || parts < 2 || !bytes.Contains(whole, bytes.Repeat([]byte("x"), 1000)) {
		t.Errorf("%d parts, %d bytes, %v", parts, len(whole), err)
	}
}
