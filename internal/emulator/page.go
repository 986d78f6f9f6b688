// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azureml"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/sagemaker"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/vertexai"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page shows what is deployed where, and the latest calls.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	overview, err := s.aws.sagemaker.Overview(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	cluster, err := s.kubernetes.service.Overview(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	vertex, err := s.vertex.service.Overview(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	azure, err := s.azure.service.Overview(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	calls, err := s.Calls()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	slices.Reverse(calls)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = pageTemplate.Execute(w, struct {
		Dir        string
		SageMaker  *sagemaker.Overview
		VertexAI   *vertexai.Overview
		AzureML    *azureml.Overview
		Kubernetes *kubernetes.Overview
		Calls      []Call
	}{s.dir, overview, vertex, azure, cluster, calls[:min(40, len(calls))]})
}
