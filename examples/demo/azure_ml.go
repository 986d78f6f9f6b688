// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/internal/azure"
)

const (
	azureSubscription = "00000000-0000-0000-0000-000000000001"
	azureWorkspace    = "ml-rehearsal" // and its resource group
)

// azureClients are Microsoft's.
func azureClients(urls map[string]string) (*ml.ClientFactory, error) {
	account, err := azure.Open(azure.Config{SubscriptionID: azureSubscription, EndpointURL: urls["azure_ml"], Isolated: true})
	if err != nil {
		return nil, err
	}
	return ml.NewClientFactory(azureSubscription, account.Credential(), account.ClientOptions())
}

// azurePredict sends one request with a token of whoever runs the demo, to Triton, which
// answers below the endpoint's host.
func azurePredict(ctx context.Context, urls map[string]string, body string) ([]byte, error) {
	clients, err := azureClients(urls)
	if err != nil {
		return nil, err
	}
	e, err := clients.NewOnlineEndpointsClient().Get(ctx, azureWorkspace, azureWorkspace, "fraud", nil)
	if err != nil {
		return nil, err
	}
	address := strings.TrimSuffix(*e.Properties.ScoringURI, "/") + "/v2/models/fraud/infer"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer rehearsal")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, data)
	}
	return data, err
}

// azureLeftovers names everything that still exists in the workspace.
func azureLeftovers(ctx context.Context, urls map[string]string) (names []string, err error) {
	clients, err := azureClients(urls)
	if err != nil {
		return nil, err
	}
	for pager := clients.NewOnlineEndpointsClient().NewListPager(azureWorkspace, azureWorkspace, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Value {
			names = append(names, "endpoint "+*e.Name)
		}
	}
	for pager := clients.NewModelContainersClient().NewListPager(azureWorkspace, azureWorkspace, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Value {
			names = append(names, "model "+*m.Name)
		}
	}
	return names, nil
}
