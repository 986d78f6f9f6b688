// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"strings"
	"testing"
)

// clusterRefuses holds deployments of the endpoint kube, on a cluster, to what a cluster
// takes. There is one, called blue.
func (s *subscription) clusterRefuses(deploy func(more string) string) {
	const blue, green = "onlineEndpoints/kube/deployments/blue", "onlineEndpoints/kube/deployments/green"
	instance := func(name string) string { return strings.Replace(deploy(""), "defaultinstancetype", name, 1) }
	resources := func(text string) string { return deploy(`,"containerResourceRequirements":` + text) }
	scale := func(text string) string {
		return deploy(`,"scaleSettings":{"scaleType":"TargetUtilization"` + text + `}`)
	}
	for _, c := range []struct{ code, words, path, body string }{
		{"BadArgument", "STANDARD_DS3_V2", green, instance("STANDARD_DS3_V2")},
		{"BadRequest", "more than its limit", green, resources(`{"containerResourceRequests":{"memory":"2Gi"},"containerResourceLimits":{"memory":"1500Mi"}}`)},
		{"BadRequest", "not a quantity", green, resources(`{"containerResourceLimits":{"cpu":"one"}}`)},
		{"BadRequest", "in order", green, scale(`,"minInstances":3,"maxInstances":2`)},
		{"BadRequest", "in order", green, scale(`,"minInstances":0`)},
		{"BadRequest", "between 1 and 100", green, scale(`,"targetUtilizationPercentage":101`)},
		{"BadRequest", "whole number of seconds", green, scale(`,"pollingInterval":"PT1.5S"`)},
		{"BadRequest", "instanceType", blue, instance("gpu")},
	} {
		s.refused(400, c.code, c.words, "PUT", c.path, c.body)
	}
}

// A cluster scales deployments by what is in them.
func TestClusterScaling(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.ok("PUT", "computes/aks", `{"location":"eastus","properties":{"computeType":"Kubernetes","properties":{"namespace":"ml"}}}`)
	s.ok("PUT", "onlineEndpoints/kube", endpointWith(`,"compute":"`+home+`/computes/aks"`))
	s.minutes(5)
	s.model("1")
	s.environment()
	long := "onlineEndpoints/" + strings.Repeat("k", 32)
	s.ok("PUT", long, endpointWith(`,"compute":"`+home+`/computes/aks"`))
	s.minutes(5)
	const blue = "onlineEndpoints/kube/deployments/blue"
	body := strings.NewReplacer(`"Managed"`, `"Kubernetes"`, `"instanceType":"STANDARD_DS3_V2",`, "").Replace(deploymentBody(`,"model":"` + home + `/models/fraud/versions/1"MORE`))
	deploy := func(more string) { s.ok("PUT", blue, strings.Replace(body, "MORE", more, 1)); s.minutes(20) }
	s.refused(400, "BadRequest", "62 characters", "PUT", long+"/deployments/"+strings.Repeat("d", 31), strings.Replace(body, "MORE", "", 1))
	deploy("")
	a := s.ok("GET", blue, "")
	s.wants(a, "properties.instanceType", `"defaultinstancetype"`)
	s.wants(a, "properties.scaleSettings.scaleType", `"TargetUtilization"`)
	s.wants(a, "properties.scaleSettings.targetUtilizationPercentage", "70")
	deploy(`,"scaleSettings":{"scaleType":"TargetUtilization","minInstances":2,"maxInstances":4}`)
	s.wants(s.ok("GET", blue, ""), "sku.capacity", "2")
	s.refused(400, "BadRequest", "scales itself", "PUT", scope+"/providers/Microsoft.Insights/autoscaleSettings/a",
		`{"location":"eastus","properties":{"targetResourceUri":"`+home+`/`+blue+`","profiles":[{"name":"default","capacity":{"minimum":"1","maximum":"2","default":"1"},"rules":[]}]}}`)
}
