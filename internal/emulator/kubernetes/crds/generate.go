// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build ignore

// Extracts the definitions of the custom resources that the emulated cluster serves.
//
// Reads the CustomResourceDefinitions that the projects publish in their modules,
// keeps what a structural schema decides by (types, required, enumerations, patterns,
// bounds, defaults, list types), drops every word of documentation, and writes
// definitions.json.gz beside this file:
//
//	go run generate.go
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

var sources = []struct {
	module string
	files  []string
}{
	{"sigs.k8s.io/gateway-api@v1.4.0", []string{"config/crd/standard/gateway.networking.k8s.io_gatewayclasses.yaml", "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
		"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
		"config/crd/standard/gateway.networking.k8s.io_backendtlspolicies.yaml"}},
	{"github.com/kserve/kserve@v0.17.0", []string{"config/crd/full/serving.kserve.io_inferenceservices.yaml", "config/crd/full/serving.kserve.io_servingruntimes.yaml",
		"config/crd/full/serving.kserve.io_clusterservingruntimes.yaml"}},
	{"github.com/envoyproxy/gateway@v1.9.1", []string{"charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml",
		"charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_clienttrafficpolicies.yaml"}},
	{"github.com/cert-manager/cert-manager@v1.21.2", []string{"deploy/crds/cert-manager.io_certificates.yaml", "deploy/crds/cert-manager.io_issuers.yaml", "deploy/crds/cert-manager.io_clusterissuers.yaml"}},
}

// versions are those that are served here; a resource is served in one version.
var versions = map[string]string{"referencegrants": "v1beta1", "inferenceservices": "v1beta1", "servingruntimes": "v1alpha1", "clusterservingruntimes": "v1alpha1",
	"securitypolicies": "v1alpha1", "clienttrafficpolicies": "v1alpha1"}

// unchecked are parts that nobody uses here and that would be most of the text:
// they are accepted as they come.
var unchecked = map[string][]string{
	"inferenceservices": {"spec.explainer", "spec.transformer", "spec.predictor.workerSpec", "spec.predictor.sklearn", "spec.predictor.xgboost", "spec.predictor.tensorflow",
		"spec.predictor.pytorch", "spec.predictor.triton", "spec.predictor.onnx", "spec.predictor.huggingface", "spec.predictor.pmml", "spec.predictor.lightgbm", "spec.predictor.paddle"},
	"servingruntimes":        {"spec.workerSpec"},
	"clusterservingruntimes": {"spec.workerSpec"},
	"issuers":                {"spec.acme", "spec.vault", "spec.venafi"},
	"clusterissuers":         {"spec.acme", "spec.vault", "spec.venafi"},
}

type object = map[string]any

func main() {
	var all []object
	for _, s := range sources {
		dir := download(s.module)
		for _, file := range s.files {
			data, err := os.ReadFile(filepath.Join(dir, file))
			check(err)
			var crd object
			check(yaml.Unmarshal(data, &crd))
			all = append(all, definition(crd))
		}
	}
	text, err := json.Marshal(all)
	check(err)
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	check(err)
	_, err = w.Write(text)
	check(err)
	check(w.Close())
	check(os.WriteFile("definitions.json.gz", packed.Bytes(), 0o644))
	fmt.Printf("%d bytes, compressed %d\n", len(text), packed.Len())
}

func download(module string) string {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	check(err)
	var at struct{ Dir string }
	check(json.Unmarshal(out, &at))
	return at.Dir
}

func definition(crd object) object {
	spec := crd["spec"].(object)
	names := spec["names"].(object)
	plural := names["plural"].(string)
	want := versions[plural]
	if want == "" {
		want = "v1"
	}
	for _, v := range spec["versions"].([]any) {
		v := v.(object)
		if v["name"] != want {
			continue
		}
		schema := v["schema"].(object)["openAPIV3Schema"].(object)
		for _, path := range unchecked[plural] {
			loosen(schema, strings.Split(path, "."))
		}
		rules := strings.Contains(fmt.Sprint(schema), "x-kubernetes-validations")
		prune(schema)
		before, _ := json.Marshal(schema)
		log.Printf("%s %s: %d bytes", plural, want, len(before))
		subresources, _ := v["subresources"].(object)
		return object{"group": spec["group"], "version": want, "plural": plural, "singular": names["singular"], "kind": names["kind"], "cluster": spec["scope"] == "Cluster",
			"short": names["shortNames"], "categories": names["categories"], "status": subresources["status"] != nil, "rules": rules, "columns": columns(v["additionalPrinterColumns"]), "schema": schema}
	}
	log.Fatalf("%s has no version %s", plural, want)
	return nil
}

func columns(all any) []any {
	list, _ := all.([]any)
	for _, c := range list {
		delete(c.(object), "description")
	}
	return list
}

// loosen replaces what is at a path by anything.
func loosen(schema object, path []string) {
	properties, _ := schema["properties"].(object)
	if properties == nil || properties[path[0]] == nil {
		log.Fatalf("nothing is called %s", path[0])
	}
	if len(path) == 1 {
		properties[path[0]] = object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		return
	}
	loosen(properties[path[0]].(object), path[1:])
}

// prune drops what is for readers, and rules in CEL: the few that matter are written
// out in the emulator.
func prune(schema object) {
	for _, key := range []string{"description", "title", "example", "externalDocs", "x-kubernetes-validations"} {
		delete(schema, key)
	}
	for _, key := range []string{"properties"} {
		if all, ok := schema[key].(object); ok {
			for _, p := range all {
				prune(p.(object))
			}
		}
	}
	for _, key := range []string{"items", "additionalProperties", "not"} {
		if s, ok := schema[key].(object); ok {
			prune(s)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		if all, ok := schema[key].([]any); ok {
			for _, s := range all {
				prune(s.(object))
			}
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
