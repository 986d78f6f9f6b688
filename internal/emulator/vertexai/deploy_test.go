// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"strings"
	"testing"
)

func TestDeployRefusals(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	body := deployBody("78", "1")
	replace := func(old, now string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%s is not in %s", old, body)
		}
		return strings.Replace(body, old, now, 1)
	}
	machine := func(spec string) string { return replace(`{"machineType":"n1-standard-2"}`, spec) }
	for _, c := range []struct{ status, words, body string }{
		{"INVALID_ARGUMENT", `Unknown name "speed" at 'deployed_model'`, replace(`"id"`, `"speed":1,"id"`)},
		{"INVALID_ARGUMENT", "deployed_model", `{}`},
		{"INVALID_ARGUMENT", "Invalid resource name", replace(here+"/models/fraud@1", "fraud")},
		{"NOT_FOUND", "is not found", replace("fraud@1", "fraud@9")},
		{"NOT_FOUND", "is not found", replace("fraud@1", "none")},
		{"INVALID_ARGUMENT", "project of the endpoint", replace("projects/p1", "projects/other")},
		{"ALREADY_EXISTS", "already exists", deployBody("77", "1")},
		{"INVALID_ARGUMENT", "Invalid DeployedModel ID", deployBody("0", "1")},
		{"INVALID_ARGUMENT", "Invalid DeployedModel ID", deployBody("12345678901", "1")},
		{"INVALID_ARGUMENT", "Invalid DeployedModel ID", deployBody("a", "1")},
		{"INVALID_ARGUMENT", "prediction_resources", `{"deployedModel":{"model":"` + here + `/models/fraud"}}`},
		{"INVALID_ARGUMENT", "'automatic_resources' is not supported", `{"deployedModel":{"model":"` + here + `/models/fraud","automaticResources":{}}}`},
		{"NOT_FOUND", "DeploymentResourcePool", `{"deployedModel":{"model":"` + here + `/models/fraud","sharedResources":"` + here + `/deploymentResourcePools/x"}}`},
		{"INVALID_ARGUMENT", "machine_spec", replace(`"machineSpec":{"machineType":"n1-standard-2"},`, "")},
		{"INVALID_ARGUMENT", `Machine type "m5.large" is not supported.`, machine(`{"machineType":"m5.large"}`)},
		{"INVALID_ARGUMENT", "needs accelerators: 1 x NVIDIA_L4", machine(`{"machineType":"g2-standard-8"}`)},
		{"INVALID_ARGUMENT", "does not support 2 x NVIDIA_L4", machine(`{"machineType":"g2-standard-8","acceleratorType":"NVIDIA_L4","acceleratorCount":2}`)},
		{"INVALID_ARGUMENT", "does not support 1 x NVIDIA_TESLA_T4", machine(`{"machineType":"e2-standard-4","acceleratorType":"NVIDIA_TESLA_T4","acceleratorCount":1}`)},
		{"INVALID_ARGUMENT", "does not support 3 x NVIDIA_TESLA_T4", machine(`{"machineType":"n1-standard-4","acceleratorType":"NVIDIA_TESLA_T4","acceleratorCount":3}`)},
		{"INVALID_ARGUMENT", "set together", machine(`{"machineType":"n1-standard-4","acceleratorType":"NVIDIA_TESLA_T4"}`)},
		{"INVALID_ARGUMENT", "Invalid JSON payload", machine(`{"acceleratorType":"NVIDIA_X"}`)},
		{"INVALID_ARGUMENT", "at least 1", replace(`"minReplicaCount":1`, `"minReplicaCount":0`)},
		{"INVALID_ARGUMENT", "at least min_replica_count", replace(`"maxReplicaCount":3`, `"maxReplicaCount":0,"minReplicaCount":5,"maxReplicaCount":3`)},
		{"INVALID_ARGUMENT", "required_replica_count", replace(`"maxReplicaCount":3`, `"maxReplicaCount":3,"requiredReplicaCount":2`)},
		{"INVALID_ARGUMENT", "Unsupported metric name", replace(`"maxReplicaCount":3`, `"maxReplicaCount":3,"autoscalingMetricSpecs":[{"metricName":"memory","target":60}]`)},
		{"INVALID_ARGUMENT", "needs an accelerator", replace(`"maxReplicaCount":3`, `"maxReplicaCount":3,"autoscalingMetricSpecs":[{"metricName":"aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle","target":60}]`)},
		{"INVALID_ARGUMENT", "between 1 and 100", replace(`"maxReplicaCount":3`, `"maxReplicaCount":3,"autoscalingMetricSpecs":[{"metricName":"aiplatform.googleapis.com/prediction/online/cpu/utilization","target":101}]`)},
		{"INVALID_ARGUMENT", "Invalid service account", replace(`"id"`, `"serviceAccount":"me","id"`)},
		{"INVALID_ARGUMENT", "sum up to 100", deployBody("78", "1", `,"trafficSplit":{"0":50}`)},
		{"INVALID_ARGUMENT", "not deployed", deployBody("78", "1", `,"trafficSplit":{"0":50,"79":50}`)},
	} {
		if strings.Count(c.body, `"minReplicaCount"`) == 2 { // a member twice is refused as such
			c.body = strings.Replace(c.body, `"minReplicaCount":1,"maxReplicaCount":0,`, "", 1)
		}
		p.refused(c.status, c.words, "POST", "v1/endpoints/fraud:deployModel", c.body)
	}
	for _, spec := range []string{`{}`, `{"machineType":"g2-standard-24","acceleratorType":"NVIDIA_L4","acceleratorCount":2}`, `{"machineType":"ct5lp-hightpu-1t"}`,
		`{"machineType":"a3-highgpu-8g","acceleratorType":"NVIDIA_H100_80GB","acceleratorCount":4}`, `{"machineType":"n1-highmem-16","acceleratorType":"NVIDIA_TESLA_V100","acceleratorCount":8}`} {
		p.changed("POST", "v1/endpoints/fraud:deployModel", machine(spec))
		p.changed("POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"78"}`)
	}
}

// What is being deployed is seen only by whoever asks, and keeps others out.
func TestDeploymentInFlight(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.uploadNext()
	a := p.ok("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "2", `,"trafficSplit":{"77":90,"0":10}`))
	name, _ := a.at("name").(string)
	for path, want := range map[string]string{"v1/endpoints/fraud": "null", "v1/endpoints/fraud?allDeploymentStates=true": `"BEING_DEPLOYED"`, "v1beta1/endpoints/fraud?all_deployment_states=true": `"BEING_DEPLOYED"`} {
		p.wants(p.ok("GET", path, ""), "deployedModels.1.state", want)
	}
	p.wants(p.ok("GET", "v1/endpoints", ""), "endpoints.0.deployedModels.1", "null")
	p.refused("ALREADY_EXISTS", "already exists", "POST", "v1/endpoints/fraud:deployModel", deployBody("78", "2"))
	for path, body := range map[string]string{":deployModel": deployBody("79", "2"), ":undeployModel": `{"deployedModelId":"77","trafficSplit":{}}`,
		":mutateDeployedModel": `{"deployedModel":{"id":"77","dedicatedResources":{"minReplicaCount":2}},"updateMask":"dedicatedResources.minReplicaCount"}`} {
		if path == ":undeployModel" {
			p.ok("PATCH", "v1/endpoints/fraud?updateMask=trafficSplit", `{}`)
		}
		p.refused("FAILED_PRECONDITION", "another operation in progress: "+name, "POST", "v1/endpoints/fraud"+path, body)
	}
	p.refused("FAILED_PRECONDITION", "is deployed at endpoint", "DELETE", "v1/models/fraud", "")
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=trafficSplit", `{"trafficSplit":{"77":100}}`)
	var stages []string
	p.minutes(5.0 / 14)
	for range 7 {
		stage, _ := p.ok("GET", "v1/"+name, "").at("metadata.deploymentStage").(string)
		stages = append(stages, stage)
		p.minutes(5.0 / 7)
	}
	if got := strings.Join(stages, " "); got != "STARTING_DEPLOYMENT PREPARING_MODEL CREATING_SERVING_CLUSTER ADDING_NODES_TO_CLUSTER GETTING_CONTAINER_IMAGE STARTING_MODEL_SERVER FINISHING_UP" {
		t.Errorf("the stages are %s", got)
	}
	p.minutes(1)
	p.wants(p.ok("GET", "v1/"+name, ""), "metadata.deploymentStage", `"SUCCESSFULLY_DEPLOYED"`)
	a = p.ok("GET", "v1/endpoints/fraud?allDeploymentStates=true", "")
	p.wants(a, "trafficSplit", `{"77":90,"78":10}`)
	p.wants(a, "deployedModels.1.state", "null")
	p.wants(a, "deployedModels.1.modelVersionId", `"2"`)
	p.wants(a, "deployedModels.1.dedicatedResources.machineSpec.reservationAffinity", `{"reservationAffinityType":"NO_RESERVATION"}`)
}

func TestUndeploy(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1"))
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "trafficSplit", `{"77":100}`)
	const undeploy = "v1/endpoints/fraud:undeployModel"
	p.refused("FAILED_PRECONDITION", "has traffic", "POST", undeploy, `{"deployedModelId":"77"}`)
	p.refused("INVALID_ARGUMENT", "must not name", "POST", undeploy, `{"deployedModelId":"77","trafficSplit":{"77":50,"78":50}}`)
	p.refused("INVALID_ARGUMENT", "sum up to 100", "POST", undeploy, `{"deployedModelId":"77","trafficSplit":{"78":50}}`)
	p.refused("NOT_FOUND", "is not found", "POST", undeploy, `{"deployedModelId":"79"}`)
	p.ok("POST", undeploy, `{"deployedModelId":"77","trafficSplit":{"78":100}}`)
	p.refused("FAILED_PRECONDITION", "is being undeployed", "POST", undeploy, `{"deployedModelId":"77"}`)
	p.refused("FAILED_PRECONDITION", "is being undeployed", "PATCH", "v1/endpoints/fraud?updateMask=trafficSplit", `{"trafficSplit":{"77":50,"78":50}}`)
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=labels", `{"labels":{"a":"b"},"trafficSplit":{"77":100}}`) // not in the mask
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "trafficSplit", `{"78":100}`)
	p.minutes(2)
	p.refused("NOT_FOUND", "is not found", "POST", undeploy, `{"deployedModelId":"77"}`)
	// The last one takes the split with it.
	p.changed("POST", undeploy, `{"deployedModelId":"78"}`)
	a := p.ok("GET", "v1/endpoints/fraud", "")
	p.wants(a, "trafficSplit", "null")
	p.wants(a, "deployedModels", "null")
}

func TestMutate(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	const mutate = "/endpoints/fraud:mutateDeployedModel"
	body := func(mask, resources string) string {
		return `{"deployedModel":{"id":"77",` + resources + `},"updateMask":` + mask + `}`
	}
	// Every way to write a mask.
	for i, mask := range []string{`"dedicatedResources.minReplicaCount,dedicatedResources.maxReplicaCount"`, `"dedicated_resources.min_replica_count,dedicated_resources.max_replica_count"`,
		`{"paths":["dedicated_resources.min_replica_count","dedicatedResources.maxReplicaCount"]}`} {
		n := string(rune('2' + i))
		p.changed("POST", "v1"+mutate, body(mask, `"dedicatedResources":{"minReplicaCount":`+n+`,"maxReplicaCount":6}`))
		a := p.ok("GET", "v1/endpoints/fraud", "")
		p.wants(a, "deployedModels.0.dedicatedResources.minReplicaCount", n)
		p.wants(a, "deployedModels.0.status.availableReplicaCount", n)
		p.wants(a, "deployedModels.0.dedicatedResources.machineSpec.machineType", `"n1-standard-2"`)
	}
	const one = `"dedicatedResources":{"minReplicaCount":1}`
	for _, c := range []struct{ status, words, version, body string }{
		{"INVALID_ARGUMENT", "update mask is required", "v1", body(`""`, one)},
		{"INVALID_ARGUMENT", "immutable", "v1", body(`"dedicatedResources.machineSpec"`, `"dedicatedResources":{"machineSpec":{"machineType":"n1-standard-8"}}`)},
		{"INVALID_ARGUMENT", "immutable", "v1", body(`"displayName"`, `"displayName":"x"`)},
		{"INVALID_ARGUMENT", "immutable", "v1beta1", body(`"serviceAccount"`, `"serviceAccount":"a@b.c"`)},
		{"INVALID_ARGUMENT", "not supported in v1", "v1", body(`"dedicatedResources.scaleToZeroSpec"`, one)},
		{"INVALID_ARGUMENT", "at least min_replica_count", "v1", body(`"dedicatedResources.maxReplicaCount"`, `"dedicatedResources":{"maxReplicaCount":1}`)},
		{"INVALID_ARGUMENT", "at least 1", "v1", body(`"dedicatedResources.minReplicaCount"`, `"dedicatedResources":{}`)},
		{"INVALID_ARGUMENT", "dedicated endpoint", "v1beta1", body(`"dedicatedResources.minReplicaCount"`, `"dedicatedResources":{}`)},
		{"NOT_FOUND", "is not found", "v1", strings.Replace(body(`"disableContainerLogging"`, one), "77", "78", 1)},
	} {
		p.refused(c.status, c.words, "POST", c.version+mutate, c.body)
	}
	p.changed("POST", "v1"+mutate, body(`"disableContainerLogging"`, `"disableContainerLogging":true`))
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.0.disableContainerLogging", "true")
	p.changed("POST", "v1beta1"+mutate, body(`"enableContainerLogging"`, `"enableContainerLogging":true`))
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.0.disableContainerLogging", "null")
	p.wants(p.ok("GET", "v1beta1/endpoints/fraud", ""), "deployedModels.0.enableContainerLogging", "true")
	// An autoscaler moves the live count inside of the bounds, which stay.
	p.must(p.server.SetReplicas(t.Context(), "p1", "us-central1", "fraud", "77", 6))
	a := p.ok("GET", "v1/endpoints/fraud", "")
	p.wants(a, "deployedModels.0.status.availableReplicaCount", "6")
	p.wants(a, "deployedModels.0.dedicatedResources.minReplicaCount", "4")
	if p.server.SetReplicas(t.Context(), "p1", "us-central1", "fraud", "77", 7) == nil {
		t.Error("the live count is outside of its bounds")
	}
	p.changed("POST", "v1"+mutate, body(`"dedicatedResources.maxReplicaCount"`, `"dedicatedResources":{"maxReplicaCount":5}`))
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.0.status.availableReplicaCount", "5")
}

func TestScaleToZero(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	zero := strings.Replace(deployBody("78", "1", `,"trafficSplit":{"0":100}`), `"minReplicaCount":1`, `"minReplicaCount":0,"initialReplicaCount":2,"scaleToZeroSpec":{"idleScaledownPeriod":"300s"}`, 1)
	p.refused("INVALID_ARGUMENT", "Unknown name", "POST", "v1/endpoints/fraud:deployModel", zero)
	p.refused("INVALID_ARGUMENT", "shared public endpoints", "POST", "v1beta1/endpoints/fraud:deployModel", zero)
	p.changed("POST", "v1/endpoints?endpointId=own", `{"displayName":"d","dedicatedEndpointEnabled":true}`)
	p.refused("INVALID_ARGUMENT", "between 300 and 28800", "POST", "v1beta1/endpoints/own:deployModel", strings.Replace(zero, "300s", "10s", 1))
	p.refused("INVALID_ARGUMENT", "initial_replica_count", "POST", "v1beta1/endpoints/own:deployModel", strings.Replace(zero, `"initialReplicaCount":2`, `"initialReplicaCount":9`, 1))
	name, _ := p.ok("POST", "v1beta1/endpoints/own:deployModel", zero).at("name").(string)
	p.minutes(5)
	p.wants(p.ok("GET", "v1/"+name, ""), "error", "null")
	p.refused("FAILED_PRECONDITION", "only one DeployedModel", "POST", "v1/endpoints/own:deployModel", deployBody("79", "1"))
	a := p.ok("GET", "v1/endpoints/own", "")
	p.wants(a, "deployedModels.0.dedicatedResources.scaleToZeroSpec", "null") // v1 does not know it
	p.wants(a, "deployedModels.0.status.availableReplicaCount", "2")
	p.wants(p.ok("POST", "v1/endpoints/own:rawPredict", `1`), "echo", "1")
	p.minutes(5)
	p.wants(p.ok("GET", "v1/endpoints/own", ""), "deployedModels.0.status.availableReplicaCount", "null")
	// A request wakes it up, and is dropped; so are those that come too early.
	p.refused("RESOURCE_EXHAUSTED", "not yet ready for inference", "POST", "v1/endpoints/own:rawPredict", `1`)
	p.minutes(1)
	p.refused("RESOURCE_EXHAUSTED", "not yet ready for inference", "POST", "v1/endpoints/own:rawPredict", `1`)
	p.minutes(1)
	p.wants(p.ok("POST", "v1/endpoints/own:rawPredict", `1`), "echo", "1")
}

func TestServingQuotas(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve() // at most 3 replicas of 2 vCPU
	p.file("quotas.json", `{"custom_model_serving_cpus": 11, "custom_model_serving_nvidia_l4_gpus": 0, "n1-highmem-2": 2}`)
	p.failed(8, "aiplatform.googleapis.com/custom_model_serving_cpus", "POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1"))
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.1", "null")
	p.wants(p.ok("GET", "v1/models/fraud", ""), "deployedModels.1", "null")
	p.failed(8, "aiplatform.googleapis.com/custom_model_serving_nvidia_l4_gpus", "POST", "v1/endpoints/fraud:deployModel",
		strings.Replace(deployBody("78", "1"), `"n1-standard-2"`, `"g2-standard-4","acceleratorType":"NVIDIA_L4","acceleratorCount":1`, 1))
	p.failed(8, "custom_model_serving", "POST", "v1/endpoints/fraud:mutateDeployedModel",
		`{"deployedModel":{"id":"77","dedicatedResources":{"maxReplicaCount":6}},"updateMask":"dedicatedResources.maxReplicaCount"}`)
	for _, n := range []string{"5", "3"} { // what a change replaces does not count beside it
		p.changed("POST", "v1/endpoints/fraud:mutateDeployedModel", `{"deployedModel":{"id":"77","dedicatedResources":{"maxReplicaCount":`+n+`}},"updateMask":"dedicatedResources.maxReplicaCount"}`)
	}
	p.failed(8, "custom_model_serving", "POST", "v1/endpoints/fraud:deployModel", strings.Replace(deployBody("78", "1"), "n1-standard-2", "n1-highmem-2", 1))
	p.changed("POST", "v1/endpoints/fraud:deployModel", strings.Replace(deployBody("78", "1"), `"maxReplicaCount":3`, `"maxReplicaCount":2`, 1))
	p.file("quotas.json", `{"vertex_ai.operations": 1, "vertex_ai.endpoints.get": 1}`)
	p.ok("POST", "v1/endpoints?endpointId=a", `{"displayName":"d"}`)
	p.refused("RESOURCE_EXHAUSTED", "Long running operation", "POST", "v1/endpoints?endpointId=b", `{"displayName":"d"}`)
	p.ok("GET", "v1/endpoints/fraud", "")
	a := p.call("GET", "v1/endpoints/fraud", "")
	if a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("one call a second is allowed: %d %s", a.status, a.text)
	}
}
