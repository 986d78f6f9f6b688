// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"regexp"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What holds for deployments on a Kubernetes compute only.
const (
	longestNames    = 62 // of an endpoint and a deployment together
	defaultInstance = "defaultinstancetype"
	usualTarget     = 70
	usualPolling    = time.Second
)

var instanceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// instanceOf is the instance type of a deployment: on a cluster there is a default.
func instanceOf(s settings) string {
	if s.compute == ml.EndpointComputeTypeKubernetes {
		return cmp.Or(value(s.instance), defaultInstance)
	}
	return value(s.instance)
}

// checkOnCluster holds resources and bounds to what a cluster takes.
func (r *request) checkOnCluster(_ *workspace, s settings) error {
	if s.compute != ml.EndpointComputeTypeKubernetes {
		return nil
	}
	if !instanceName.MatchString(instanceOf(s)) {
		return nested("BadArgument", "The instance type '%s' was not found in the cluster.", value(s.instance))
	}
	if err := checkResources(s.resources); err != nil {
		return err
	}
	switch t := s.scale.(type) {
	case nil, *ml.DefaultScaleSettings:
	case *ml.TargetUtilizationScaleSettings:
		return checkUtilization(t)
	default:
		return badRequest("The value '%s' is not valid for 'scaleType'.", value(s.scale.GetOnlineScaleSettings().ScaleType))
	}
	return nil
}

func checkUtilization(t *ml.TargetUtilizationScaleSettings) error {
	low, high, target := number(t.MinInstances, 1), number(t.MaxInstances, 1), number(t.TargetUtilizationPercentage, usualTarget)
	switch {
	case low < 1 || high > mostInstances || low > high:
		return badRequest("The scaleSettings go from minInstances %d to maxInstances %d: they must be between 1 and %d, and in order.", low, high, mostInstances)
	case target < 1 || target > 100:
		return badRequest("The targetUtilizationPercentage %d must be between 1 and 100.", target)
	}
	polling, err := period("scaleSettings.pollingInterval", t.PollingInterval, time.Second)
	if err == nil && polling%time.Second != 0 {
		err = badRequest("The scaleSettings.pollingInterval %s is not a whole number of seconds.", *t.PollingInterval)
	}
	return err
}

func number(n *int32, usual int32) int32 {
	if n == nil {
		return usual
	}
	return *n
}

// checkResources refuses quantities that Kubernetes does not understand, and requests
// above their limits.
func checkResources(all *ml.ContainerResourceRequirements) error {
	if all == nil {
		return nil
	}
	requests, limits := all.ContainerResourceRequests, all.ContainerResourceLimits
	if requests == nil {
		requests = &ml.ContainerResourceSettings{}
	}
	if limits == nil {
		limits = &ml.ContainerResourceSettings{}
	}
	for name, pair := range map[string][2]*string{"cpu": {requests.CPU, limits.CPU}, "memory": {requests.Memory, limits.Memory}, "gpu": {requests.Gpu, limits.Gpu}} {
		asked, err := amount(name, pair[0])
		if err != nil {
			return err
		}
		limit, err := amount(name, pair[1])
		if err != nil {
			return err
		}
		if pair[0] != nil && pair[1] != nil && asked.Cmp(limit) > 0 {
			return badRequest("The containerResourceRequests.%s %s is more than its limit %s.", name, *pair[0], *pair[1])
		}
	}
	return nil
}

func amount(name string, text *string) (resource.Quantity, error) {
	if text == nil {
		return resource.Quantity{}, nil
	}
	q, err := resource.ParseQuantity(*text)
	if err != nil || q.Sign() <= 0 {
		return q, badRequest("The value '%s' of containerResourceRequirements.%s is not a quantity.", *text, name)
	}
	return q, nil
}

// tidyOnCluster fills in what a deployment on a cluster has when nothing is said, and
// brings its count between its bounds.
func tidyOnCluster(p *ml.KubernetesOnlineDeployment, sku *ml.SKU) {
	if value(p.InstanceType) == "" {
		p.InstanceType = new(defaultInstance)
	}
	if p.ScaleSettings == nil {
		p.ScaleSettings = &ml.TargetUtilizationScaleSettings{ScaleType: new(ml.ScaleTypeTargetUtilization)}
	}
	t, ok := p.ScaleSettings.(*ml.TargetUtilizationScaleSettings)
	if !ok {
		return
	}
	t.MinInstances, t.MaxInstances = new(number(t.MinInstances, 1)), new(number(t.MaxInstances, 1))
	t.TargetUtilizationPercentage, t.PollingInterval = new(number(t.TargetUtilizationPercentage, usualTarget)), tidied(t.PollingInterval, usualPolling)
	sku.Capacity = new(max(*t.MinInstances, min(value(sku.Capacity), *t.MaxInstances)))
}
