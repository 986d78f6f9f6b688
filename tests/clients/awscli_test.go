// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clients_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// cli is the official aws command line. A command takes a second of processor
// time, so there are no more of them than show something, and those that do not
// need each other run side by side.
type cli struct {
	t   *testing.T
	bin string
	env []string
}

func (c *cli) exec(args string, rest []string) (stdout []byte, stderr string, err error) {
	cmd := exec.CommandContext(c.t.Context(), c.bin, append(strings.Fields(args), rest...)...) // the tool under test
	cmd.Env = c.env
	var problems bytes.Buffer
	cmd.Stderr = &problems
	stdout, err = cmd.Output()
	return stdout, problems.String(), err
}

// run gives the words of args, and rest as it is, and returns the answer.
func (c *cli) run(args string, rest ...string) map[string]any {
	c.t.Helper()
	stdout, stderr, err := c.exec(args, rest)
	if err != nil {
		c.t.Errorf("aws %s: %v\n%s", args, err, stderr)
	}
	answer := map[string]any{}
	_ = json.Unmarshal(stdout, &answer) // s3's commands answer text
	return answer
}

// refused wants the platform's code and a fragment of its words.
func (c *cli) refused(code, words, args string, rest ...string) {
	c.t.Helper()
	_, stderr, err := c.exec(args, rest)
	if err == nil || !strings.Contains(stderr, "("+code+")") || !strings.Contains(stderr, words) {
		c.t.Errorf("aws %s: got %v: %s, want %s: …%s…", args, err, stderr, code, words)
	}
}

func (c *cli) want(got any, want string) {
	c.t.Helper()
	text, err := json.Marshal(got)
	if err != nil || string(text) != want {
		c.t.Errorf("got %s, want %s", text, want)
	}
}

func (c *cli) sideBySide(steps ...func()) {
	var wg sync.WaitGroup
	for _, step := range steps {
		wg.Go(step)
	}
	wg.Wait()
}

func TestAWSCommandLine(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("not installed: aws CLI")
	}
	_, env := serve(t, 100)
	c := &cli{t, bin, env}
	for _, phase := range []func(){c.objects, c.registry, c.endpoint, c.change, c.removal} {
		if phase(); t.Failed() {
			return // what follows builds on it
		}
	}
}

func (c *cli) objects() {
	name, back := artifact(c.t), filepath.Join(c.t.TempDir(), "back")
	c.run("s3 mb s3://models")
	c.run("s3 cp --no-progress "+name, "s3://models/fraud/model.tar.gz")
	c.run("s3 cp --no-progress s3://models/fraud/model.tar.gz", back)
	sent, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, sent) {
		c.t.Errorf("an upload in parts came back as other bytes: %d of %d, %v", len(got), len(sent), err)
	}
}

const (
	arn      = "arn:aws:sagemaker:eu-west-1:123456789012:"
	package1 = arn + "model-package/fraud/1"
	scaled   = " --service-namespace sagemaker --resource-id endpoint/fraud/variant/main --scalable-dimension sagemaker:variant:DesiredInstanceCount"
)

func (c *cli) registry() {
	c.run("sagemaker create-model-package-group --model-package-group-name fraud --tags Key=team,Value=risk")
	c.run("sagemaker create-model-package --model-package-group-name fraud --inference-specification",
		`{"Containers":[{"Image":"serving:1","ModelDataUrl":"s3://models/fraud/model.tar.gz"}]}`)
	create := "sagemaker create-model --model-name fraud --execution-role-arn " + role + " --primary-container ModelPackageName=" + package1
	c.refused("ValidationException", "its ModelApprovalStatus is PendingManualApproval", create)
	c.run("sagemaker update-model-package --model-approval-status Approved --model-package-arn " + package1)
	c.sideBySide(func() {
		c.want(c.run("sagemaker list-model-packages --model-package-group-name fraud --query {all:ModelPackageSummaryList[].ModelApprovalStatus}"), `{"all":["Approved"]}`)
	}, func() { c.run(create) })
}

func (c *cli) config(name, count string) func() {
	return func() {
		c.run("sagemaker create-endpoint-config --endpoint-config-name "+name+" --production-variants",
			"VariantName=main,ModelName=fraud,InstanceType=ml.m5.large,InitialInstanceCount="+count)
	}
}

func (c *cli) endpoint() {
	c.sideBySide(c.config("one", "1"), c.config("two", "2"))
	c.run("sagemaker create-endpoint --endpoint-name fraud --endpoint-config-name one")
	c.run("sagemaker wait endpoint-in-service --endpoint-name fraud")
	answer, request := filepath.Join(c.t.TempDir(), "answer"), filepath.Join(c.t.TempDir(), "request")
	if err := os.WriteFile(request, []byte(`{"x":1}`), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.want(c.run("sagemaker-runtime invoke-endpoint --endpoint-name fraud --content-type application/json --body fileb://"+request, answer)["InvokedProductionVariant"], `"main"`)
	if got, err := os.ReadFile(answer); err != nil || !strings.Contains(string(got), `"model":"fraud","version":"1"`) {
		c.t.Errorf("the endpoint answers %s, %v", got, err)
	}
}

func (c *cli) change() {
	// A change is over, here, before the next command has started.
	c.run("sagemaker update-endpoint --endpoint-name fraud --endpoint-config-name two")
	c.run("sagemaker update-endpoint-weights-and-capacities --endpoint-name fraud --desired-weights-and-capacities VariantName=main,DesiredInstanceCount=3")
	c.sideBySide(func() {
		c.want(c.run("sagemaker describe-endpoint --endpoint-name fraud --query {config:EndpointConfigName,count:ProductionVariants[0].CurrentInstanceCount}"), `{"config":"two","count":3}`)
	}, func() {
		c.run("application-autoscaling register-scalable-target --min-capacity 2 --max-capacity 4" + scaled)
		c.run("application-autoscaling put-scaling-policy --policy-name p --policy-type TargetTrackingScaling"+scaled+" --target-tracking-scaling-policy-configuration",
			`{"TargetValue":70,"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}}`)
		c.want(c.run("application-autoscaling describe-scaling-policies"+scaled+" --query {names:ScalingPolicies[].PolicyName}"), `{"names":["p"]}`)
	}, c.alarms, func() {
		c.run("sagemaker add-tags --resource-arn " + arn + "endpoint/fraud --tags Key=a,Value=b")
		c.want(c.run("sagemaker list-tags --resource-arn " + arn + "endpoint/fraud")["Tags"], `[{"Key":"a","Value":"b"}]`)
	}, func() {
		page := c.run("sagemaker list-endpoint-configs --page-size 1 --max-items 1")
		token, _ := page["NextToken"].(string)
		rest := c.run("sagemaker list-endpoint-configs --page-size 1 --starting-token " + token)
		first, _ := page["EndpointConfigs"].([]any)
		if others, _ := rest["EndpointConfigs"].([]any); len(first) != 1 || len(others) != 1 || rest["NextToken"] != nil {
			c.t.Errorf("two configurations, a page each: %v %v", page, rest)
		}
	}, func() {
		c.refused("ValidationException", "Cannot create already existing model", "sagemaker create-model --model-name fraud --execution-role-arn "+role+" --primary-container Image=i")
		c.refused("ConflictException", "still contains Model Packages", "sagemaker delete-model-package-group --model-package-group-name fraud")
		c.refused("ValidationError", "not found", "sagemaker-runtime invoke-endpoint --endpoint-name none --body e30= -")
	})
}

// alarms watch what the endpoint has answered.
func (c *cli) alarms() {
	const put = "cloudwatch put-metric-alarm --namespace AWS/SageMaker --metric-name ModelLatency --period 60 --evaluation-periods 1 --threshold 0.5 --comparison-operator GreaterThanThreshold --alarm-name "
	c.run(put + "a --statistic Average --tags Key=team,Value=risk")
	c.refused("ValidationError", "Exactly one of Statistic and ExtendedStatistic", put+"a --statistic Average --extended-statistic p95")
	found := c.run("cloudwatch describe-alarms --alarm-types MetricAlarm CompositeAlarm --alarm-names a --query {arn:MetricAlarms[0].AlarmArn,period:MetricAlarms[0].Period,threshold:MetricAlarms[0].Threshold}")
	c.want(found, `{"arn":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a","period":60,"threshold":0.5}`)
	c.sideBySide(func() {
		c.want(c.run("cloudwatch list-tags-for-resource --resource-arn arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a")["Tags"], `[{"Key":"team","Value":"risk"}]`)
	}, func() {
		c.want(c.run("cloudwatch get-metric-data --start-time 2020-01-01T00:00:00Z --end-time 2060-01-01T00:00:00Z --query MetricDataResults[0].{values:Values} --metric-data-queries",
			`[{"Id":"n","MetricStat":{"Metric":{"Namespace":"AWS/SageMaker","MetricName":"Invocations","Dimensions":[{"Name":"EndpointName","Value":"fraud"},{"Name":"VariantName","Value":"main"}]},"Period":2000000040,"Stat":"Sum"}}]`), `{"values":[1]}`)
	}, func() {
		c.run("cloudwatch set-alarm-state --alarm-name a --state-value ALARM --state-reason test")
		c.want(c.run("cloudwatch describe-alarm-history --alarm-name a --query {all:AlarmHistoryItems[].HistorySummary}"), `{"all":["Alarm updated from INSUFFICIENT_DATA to ALARM"]}`)
	})
	c.run("cloudwatch delete-alarms --alarm-names a")
	c.want(c.run("cloudwatch describe-alarms --query {all:MetricAlarms}"), `{"all":[]}`)
}

func (c *cli) removal() {
	c.run("application-autoscaling deregister-scalable-target" + scaled)
	c.run("sagemaker delete-endpoint --endpoint-name fraud")
	c.run("sagemaker wait endpoint-deleted --endpoint-name fraud")
	c.sideBySide(
		func() { c.run("sagemaker delete-endpoint-config --endpoint-config-name one") },
		func() { c.run("sagemaker delete-endpoint-config --endpoint-config-name two") },
		func() { c.run("sagemaker delete-model --model-name fraud") },
		func() { c.run("sagemaker delete-model-package --model-package-name " + package1) },
		func() { c.run("s3 rb --force s3://models") })
	c.run("sagemaker delete-model-package-group --model-package-group-name fraud")
	c.refused("ValidationException", "does not exist.", "sagemaker describe-model-package-group --model-package-group-name fraud")
}
