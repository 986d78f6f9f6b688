// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"testing"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// An endpoint lives from its creation to its deletion, through Azure's own clients.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	a := s.score(`{"inputs":[1]}`, nil)
	s.wants(a, "model", `"fraud"`)
	s.wants(a, "version", `"1"`)
	s.wants(a, "deployment", `"blue"`)
	s.wants(a, "digest", `"`+digest+`"`)
	s.wants(a, "echo", `{"inputs":[1]}`)
	deployments := s.NewOnlineDeploymentsClient()
	patch, err := deployments.BeginUpdate(t.Context(), group, workspace, "fraud", "blue", ml.PartialMinimalTrackedResourceWithSKU{SKU: &ml.PartialSKU{Capacity: new(int32(3))}}, nil)
	got, err := done(s, patch, err)
	s.must(err)
	if *got.SKU.Capacity != 3 || *got.Properties.GetOnlineDeploymentProperties().ProvisioningState != ml.DeploymentProvisioningStateSucceeded {
		t.Errorf("after the patch it is %+v", got.OnlineDeployment)
	}
	page, err := deployments.NewListPager(group, workspace, "fraud", nil).NextPage(t.Context())
	s.must(err)
	if len(page.Value) != 1 || *page.Value[0].Name != "blue" {
		t.Errorf("the list is %+v", page.Value)
	}
	_, err = s.putEndpoint(nil, nil)
	s.must(err)
	remove, err := deployments.BeginDelete(t.Context(), group, workspace, "fraud", "blue", nil)
	_, err = done(s, remove, err)
	s.must(err)
	gone, err := s.NewOnlineEndpointsClient().BeginDelete(t.Context(), group, workspace, "fraud", nil)
	_, err = done(s, gone, err)
	s.must(err)
	_, err = s.NewOnlineEndpointsClient().Get(t.Context(), group, workspace, "fraud", nil)
	s.fails(err, 404, "ResourceNotFound", "fraud")
}
