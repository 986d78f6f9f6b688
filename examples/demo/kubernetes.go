// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const namespace = "default"

// kubernetesPredict sends one request to the gateway, with the token of a service
// account that was made for this endpoint.
func kubernetesPredict(ctx context.Context, urls map[string]string, body string) ([]byte, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{Host: urls["kubernetes"]})
	if err != nil {
		return nil, err
	}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"fraud." + namespace}}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, urls["kubernetes"]+"/v2/models/fraud/infer", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Host = "fraud-" + namespace + ".models.example.com"
	req.Header.Set("Authorization", "Bearer "+token.Status.Token)
	return send(req)
}

// kubernetesLeftovers names everything of the provider's that is still in the cluster.
func kubernetesLeftovers(ctx context.Context, urls map[string]string) (names []string, err error) {
	client, err := dynamic.NewForConfig(&rest.Config{Host: urls["kubernetes"]})
	if err != nil {
		return nil, err
	}
	for _, kind := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "services"}, {Version: "v1", Resource: "serviceaccounts"},
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	} {
		list, err := client.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=terraform-provider-ml"})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			names = append(names, kind.Resource+" "+list.Items[i].GetName())
		}
	}
	return names, nil
}
