// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateCustom checks a custom resource by its schema, and by those of its rules
// in CEL that matter here.
func (r *resource) validateCustom(u *unstructured.Unstructured) field.ErrorList {
	if err := r.crd.load(); err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	metadata := u.Object["metadata"]
	delete(u.Object, "metadata")
	errs := r.crd.root.validate(u.Object, nil)
	u.Object["metadata"] = metadata
	if len(errs) > 0 {
		if r.crd.Rules && slices.ContainsFunc(errs, blocking) {
			errs = append(errs, field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
		}
		return errs
	}
	switch r.id() {
	case httpRoutes:
		return validateRoute(u)
	case securityPolicy, clientPolicy:
		return validateTargets(u)
	}
	return nil
}

// blocking errors keep rules from being looked at.
func blocking(e *field.Error) bool {
	switch e.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	}
	return false
}

// wellFormed reports whether an object is of the form that its schema asks for: what is
// not cannot be tracked, and will be refused.
func (r *resource) wellFormed(obj runtime.Object) bool {
	u, ok := obj.(*unstructured.Unstructured)
	return !ok || r.crd == nil || len(r.validateCustom(u)) == 0
}

func nested(u map[string]any, path ...string) map[string]any {
	m, _, _ := unstructured.NestedMap(u, path...)
	return m
}

// items are the objects in a list.
func items(u map[string]any, path ...string) []map[string]any {
	v, _, _ := unstructured.NestedFieldNoCopy(u, path...)
	l, _ := v.([]any)
	all := make([]map[string]any, 0, len(l))
	for _, i := range l {
		if m, ok := i.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func text(u map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(u, path...)
	return s
}

func number(u map[string]any, path ...string) (n int64, ok bool) {
	n, ok, _ = unstructured.NestedInt64(u, path...)
	return n, ok
}

// rule is a refusal by a rule in CEL.
func rule(path *field.Path, value any, message string) *field.Error {
	return field.Invalid(path, typeOf(value), message)
}

func validateRoute(u *unstructured.Unstructured) (errs field.ErrorList) {
	seen := map[string]bool{}
	for i, r := range items(u.Object, "spec", "rules") {
		path := specPath.Child("rules").Index(i)
		mirrors := 0
		for j, b := range items(r, "backendRefs") {
			errs = append(errs, validateBackend(b, path.Child("backendRefs").Index(j))...)
		}
		for j, f := range items(r, "filters") {
			at := path.Child("filters").Index(j)
			if text(f, "type") == "RequestMirror" {
				mirrors++
			}
			errs = append(errs, validateFilter(f, at)...)
		}
		if t := nested(r, "timeouts"); t != nil && !inOrder(text(t, "backendRequest"), text(t, "request")) {
			errs = append(errs, rule(path.Child("timeouts"), t, "backendRequest timeout cannot be longer than request timeout"))
		}
		for j, m := range items(r, "matches") {
			errs = append(errs, validateMatch(m, path.Child("matches").Index(j))...)
		}
		_ = mirrors
	}
	for i, p := range items(u.Object, "spec", "parentRefs") {
		id := fmt.Sprint(text(p, "group"), "/", text(p, "kind"), "/", text(p, "namespace"), "/", text(p, "name"), "/", text(p, "sectionName"), p["port"])
		if seen[id] && i > 0 {
			errs = append(errs, rule(specPath.Child("parentRefs"), []any{}, "sectionName must be unique when parentRefs includes 2 or more references to the same parent"))
		}
		seen[id] = true
	}
	return errs
}

func validateBackend(b map[string]any, path *field.Path) field.ErrorList {
	_, hasPort := number(b, "port")
	if text(b, "group") == "" && text(b, "kind") == "Service" && !hasPort {
		return field.ErrorList{rule(path, b, "Must have port for Service reference")}
	}
	return nil
}

var filterFields = map[string]string{"RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier", "RequestMirror": "requestMirror",
	"RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite", "ExtensionRef": "extensionRef"}

func validateFilter(f map[string]any, path *field.Path) (errs field.ErrorList) {
	kind := text(f, "type")
	for _, t := range sortedKeys(filterFields) {
		name := filterFields[t]
		switch {
		case t == kind && f[name] == nil:
			errs = append(errs, rule(path, f, fmt.Sprintf("filter.%s must be specified for %s filter.type", name, t)))
		case t != kind && f[name] != nil:
			errs = append(errs, rule(path, f, fmt.Sprintf("filter.%s must be nil if the filter.type is not %s", name, t)))
		}
	}
	if m := nested(f, "requestMirror"); m != nil {
		errs = append(errs, validateBackend(nested(m, "backendRef"), path.Child("requestMirror", "backendRef"))...)
		if m["percent"] != nil && m["fraction"] != nil {
			errs = append(errs, rule(path.Child("requestMirror"), m, "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"))
		}
	}
	return errs
}

func validateMatch(m map[string]any, path *field.Path) field.ErrorList {
	p := nested(m, "path")
	if p == nil || text(p, "type") == "RegularExpression" {
		return nil
	}
	if !strings.HasPrefix(text(p, "value"), "/") {
		return field.ErrorList{rule(path.Child("path"), p, "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']")}
	}
	return nil
}

// inOrder reports whether the first duration is not longer than the second; durations
// of the Gateway API are Go's.
func inOrder(a, b string) bool {
	x, y := durationOf(a), durationOf(b)
	return a == "" || b == "" || y == 0 || x <= y
}

func validateTargets(u *unstructured.Unstructured) (errs field.ErrorList) {
	spec := nested(u.Object, "spec")
	if spec["targetRef"] == nil && spec["targetRefs"] == nil && spec["targetSelectors"] == nil {
		errs = append(errs, rule(specPath, spec, "either targetRef or targetRefs must be used"))
	}
	return errs
}

// isvcName is what KServe's webhook wants of a name.
var isvcName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// frameworks are the older forms of "model", which KServe's webhook rewrites.
var frameworks = []string{"sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"}

var autoscalerClasses = []string{"hpa", "keda", "external", "none"}

// admitInference is KServe's pair of webhooks: the first fills in, the second refuses.
func admitInference(u *unstructured.Unstructured) error {
	name := u.GetName()
	refuse := func(format string, args ...any) error {
		return denied("inferenceservice.kserve-webhook-server.validator", fmt.Sprintf(format, args...))
	}
	predictor := nested(u.Object, "spec", "predictor")
	rewrite(u, predictor)
	if !isvcName.MatchString(name) {
		return refuse("the InferenceService \"%s\" is invalid: a InferenceService name must consist of lower case alphanumeric characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \"abc-123\", regex used for validation is '%s')", name, "[a-z]([-a-z0-9]*[a-z0-9])?")
	}
	annotations := u.GetAnnotations()
	if class := annotations["serving.kserve.io/autoscalerClass"]; class != "" && !slices.Contains(autoscalerClasses, class) {
		return refuse("[%s] is not a supported autoscaler class type", class)
	}
	set := 0
	if predictor["model"] != nil {
		set++
	}
	if len(items(predictor, "containers")) > 0 && predictor["model"] == nil {
		set++
	}
	if set == 0 {
		return refuse("exactly one of [Custom, ONNX, Triton, SKLearn, XGBoost, Tensorflow, PyTorch, PMML, LightGBM, Paddle, HuggingFace, Model] must be specified in PredictorSpec")
	}
	least, hasLeast := number(predictor, "minReplicas")
	most, hasMost := number(predictor, "maxReplicas")
	switch {
	case hasLeast && least < 0:
		return refuse("MinReplicas cannot be less than 0")
	case hasMost && most < 0:
		return refuse("MaxReplicas cannot be less than 0")
	case hasLeast && hasMost && most != 0 && least > most:
		return refuse("MinReplicas cannot be greater than MaxReplicas")
	case predictor["deploymentStrategy"] != nil && mode(u) != "Standard":
		return refuse("customizing deploymentStrategy is only supported for raw deployment mode")
	case text(predictor, "model", "name") != "":
		return refuse("the field \"name\" of the model is not allowed")
	}
	return nil
}

// mode is how KServe deploys a service. The emulated cluster's default is Standard.
func mode(u *unstructured.Unstructured) string {
	switch m := u.GetAnnotations()["serving.kserve.io/deploymentMode"]; m {
	case "", "RawDeployment":
		return "Standard"
	case "Serverless":
		return "Knative"
	default:
		return m
	}
}

// rewrite fills in what KServe's defaulting webhook does.
func rewrite(u *unstructured.Unstructured, predictor map[string]any) {
	for _, name := range frameworks {
		old, ok := predictor[name].(map[string]any)
		if !ok {
			continue
		}
		old["modelFormat"] = map[string]any{"name": name}
		delete(predictor, name)
		predictor["model"] = old
		_ = unstructured.SetNestedMap(u.Object, predictor, "spec", "predictor") // it came from there
	}
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations["serving.kserve.io/deploymentMode"] == "" {
		annotations["serving.kserve.io/deploymentMode"] = "Standard"
	}
	if format := text(predictor, "model", "modelFormat", "name"); format != "" {
		annotations["modelFormat"] = format
	}
	u.SetAnnotations(annotations)
}

// denied is what the API server answers when a webhook refuses.
func denied(webhook, message string) error {
	text := fmt.Sprintf("admission webhook %q denied the request: %s", webhook, message)
	e := apierrors.NewForbidden(noResource, "", errors.New(text))
	e.ErrStatus.Message, e.ErrStatus.Details = text, nil
	return e
}
