// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// Where tests on Azure ML make things.
const (
	AzureSubscription = "00000000-0000-0000-0000-0000000000a1"
	AzureGroup        = "models"
	AzureWorkspace    = "team"
	AzureLocation     = AzureSubscription + "/" + AzureGroup + "/" + AzureWorkspace
	AzureGroupID      = "/subscriptions/" + AzureSubscription + "/resourceGroups/" + AzureGroup
	AzureWorkspaceID  = AzureGroupID + "/providers/Microsoft.MachineLearningServices/workspaces/" + AzureWorkspace
)

// AzureProvider is the provider's configuration for Azure ML, with what else it shall
// say.
func (r *Rehearsal) AzureProvider(more ...string) string {
	return fmt.Sprintf("provider \"ml\" {\n  azure_ml = { subscription_id = %q, resource_group = %q, workspace = %q }\n  rehearsal = { state_dir = %q }\n%s\n}\n",
		AzureSubscription, AzureGroup, AzureWorkspace, r.Dir, strings.Join(more, "\n"))
}

// AzureURL is the base URL of Resource Manager.
func (r *Rehearsal) AzureURL() string { return r.server.Endpoints()["azure_ml"] }

// Instances changes the count of a deployment as an autoscaler does.
func (r *Rehearsal) Instances(t *testing.T, endpoint, deployment string, n int) {
	t.Helper()
	if err := r.server.SetInstances(t.Context(), AzureWorkspaceID+"/onlineEndpoints/"+endpoint+"/deployments/"+deployment, n); err != nil {
		t.Fatal(err)
	}
}

// Azure asks the emulated Resource Manager as curl would, and waits for the operation
// that the call has begun. address is below the workspace, as in "onlineEndpoints/fraud",
// or an id; a nil body is none.
func (r *Rehearsal) Azure(t *testing.T, method, address string, body any) map[string]any {
	t.Helper()
	out, err := r.azure(context.WithoutCancel(t.Context()), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *Rehearsal) azure(ctx context.Context, method, address string, body any) (map[string]any, error) {
	version := "2024-04-01"
	switch {
	case strings.Contains(address, "Microsoft.Insights"):
		version = "2022-10-01"
	case strings.Contains(address, "Microsoft.Authorization"):
		version = "2022-04-01"
	case !strings.HasPrefix(address, "/"):
		address = AzureWorkspaceID + "/" + address
	}
	out, header, err := azureCall(ctx, method, r.AzureURL()+address+"?api-version="+version, body)
	for operation := header.Get("Azure-Asyncoperation"); err == nil && operation != ""; {
		var state map[string]any
		if state, _, err = azureCall(ctx, http.MethodGet, operation, nil); err == nil && state["status"] != "InProgress" {
			if state["status"] != "Succeeded" {
				err = fmt.Errorf("%s %s: %v", method, address, state)
			}
			break
		}
		if err == nil { // operations take a little of the real time
			err = wait.Real{}.Sleep(ctx, 10*time.Millisecond)
		}
	}
	return out, err
}

func azureCall(ctx context.Context, method, address string, body any) (map[string]any, http.Header, error) {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer somebody")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, nil, fmt.Errorf("%s %s answers %d: %s", method, address, resp.StatusCode, data)
	}
	out := map[string]any{}
	if len(data) > 0 {
		err = json.Unmarshal(data, &out)
	}
	return out, resp.Header, err
}

// AzureEmpty is an error that names what exists in the workspace, if anything does.
func (r *Rehearsal) AzureEmpty(t *testing.T) error {
	t.Helper()
	left, err := r.azureInventory(context.WithoutCancel(t.Context()))
	if err != nil || len(left) == 0 {
		return err
	}
	return errors.New("left behind: " + strings.Join(left, ", "))
}

// azureInventory names what exists in the workspace and its group, but for recorded data.
func (r *Rehearsal) azureInventory(ctx context.Context) (names []string, err error) {
	for kind, below := range map[string]string{"models": "versions", "environments": "versions", "onlineEndpoints": "deployments", AzureGroupID + "/providers/Microsoft.Insights/autoscaleSettings": "",
		AzureWorkspaceID + "/providers/Microsoft.Authorization/roleAssignments": ""} {
		found, err := r.azureNames(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			names = append(names, kind[strings.LastIndexByte(kind, '/')+1:]+" "+name)
			if below == "" {
				continue
			}
			parts, err := r.azureNames(ctx, kind+"/"+name+"/"+below)
			if err != nil {
				return nil, err
			}
			for _, part := range parts {
				names = append(names, below+" "+name+"/"+part)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *Rehearsal) azureNames(ctx context.Context, kind string) (names []string, err error) {
	all, err := r.azure(ctx, http.MethodGet, kind, nil)
	if err != nil {
		return nil, err
	}
	found, _ := all["value"].([]any)
	for _, v := range found {
		name, _ := v.(map[string]any)["name"].(string)
		names = append(names, name)
	}
	return names, nil
}
