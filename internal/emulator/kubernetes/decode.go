// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// mediaType is the body's.
func (q *request) mediaType() string {
	t, _, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || t == "" {
		return "application/json"
	}
	return t
}

// document is the body as JSON.
func (q *request) document() ([]byte, error) {
	switch q.mediaType() {
	case "application/json", "*/*":
		return q.body, nil
	case "application/yaml", "application/x-yaml":
		data, err := yaml.YAMLToJSON(q.body)
		if err != nil {
			return nil, apierrors.NewBadRequest("error converting YAML to JSON: " + err.Error())
		}
		return data, nil
	case runtime.ContentTypeProtobuf:
		return fromProtobuf(q.body)
	}
	return nil, unsupported("application/json", "application/yaml", runtime.ContentTypeProtobuf)
}

// fromProtobuf turns what kubectl sends of kinds that it knows into JSON.
func fromProtobuf(body []byte) ([]byte, error) {
	obj, _, err := protobuf.NewSerializer(scheme(), scheme()).Decode(body, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return json.Marshal(obj)
}

func unsupported(accepted ...string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s", strings.Join(accepted, ", "))}}
}

// decode reads an object of the resource, and fills in defaults. What it says of
// fields that do not exist depends on fieldValidation.
func (q *request) decode(data []byte) (runtime.Object, error) {
	validation := q.query.Get("fieldValidation")
	switch validation {
	case "", metav1.FieldValidationWarn, metav1.FieldValidationStrict, metav1.FieldValidationIgnore:
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("fieldValidation: Unsupported value: %q: supported values: \"Ignore\", \"Strict\", \"Warn\"", validation))
	}
	obj, strict, err := q.res.read(data)
	if err != nil {
		return nil, q.undecodable(err)
	}
	if got := obj.GetObjectKind().GroupVersionKind(); got != q.res.gvk() {
		if got.GroupVersion() != q.res.gvk().GroupVersion() && q.res.crd == nil && !scheme().Recognizes(got) {
			return nil, q.undecodable(fmt.Errorf("no kind %q is registered for version %q in scheme \"pkg/runtime/scheme.go:110\"", got.Kind, got.GroupVersion()))
		}
		if got.GroupVersion() != q.res.gvk().GroupVersion() {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", got.GroupVersion(), q.res.gvk().GroupVersion()))
		}
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: converting (%s.%s) to (%s.%s): unknown conversion", got.Kind, got.Version, q.res.kind, got.Version, got.Kind, orElse(q.res.group, "core"), q.res.kind))
	}
	switch {
	case len(strict) == 0 || validation == metav1.FieldValidationIgnore:
	case validation == metav1.FieldValidationStrict:
		return nil, q.undecodable(runtime.NewStrictDecodingError(strict))
	default:
		for _, e := range strict {
			q.warn(e.Error())
		}
	}
	q.res.setDefaults(obj)
	return obj, nil
}

func (q *request) undecodable(err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", q.res.kind, q.res.version, q.res.kind, err))
}

// read decodes JSON. strict are the fields that do not exist or that are there twice;
// they are dropped.
func (r *resource) read(data []byte) (obj runtime.Object, strict []error, err error) {
	if r.crd == nil {
		obj = r.empty()
		obj.GetObjectKind().SetGroupVersionKind(r.gvk())
		strict, err = kjson.UnmarshalStrict(data, obj)
		return obj, strict, err
	}
	if err := r.crd.load(); err != nil {
		return nil, nil, err
	}
	content := map[string]any{}
	strict, err = kjson.UnmarshalStrict(data, &content)
	if err != nil {
		return nil, nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	if u.GetAPIVersion() == "" && u.GetKind() == "" {
		u.SetGroupVersionKind(r.gvk())
	}
	dropped, err := r.tidy(u)
	for _, path := range dropped {
		strict = append(strict, fmt.Errorf("unknown field %q", path))
	}
	return u, strict, err
}

// tidy drops what a custom resource's schema does not know, and reads its metadata as
// such.
func (r *resource) tidy(u *unstructured.Unstructured) (dropped []string, err error) {
	metadata := u.Object["metadata"]
	delete(u.Object, "metadata")
	dropped = r.crd.root.prune(u.Object, "")
	if metadata == nil {
		return dropped, nil
	}
	data, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	var typed metav1.ObjectMeta
	strict, err := kjson.UnmarshalStrict(data, &typed)
	if err != nil {
		return nil, err
	}
	for _, e := range strict {
		dropped = append(dropped, strings.Replace(strings.Trim(strings.TrimPrefix(e.Error(), "unknown field "), `"`), "", "metadata.", 1))
	}
	converted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&typed)
	if err != nil {
		return nil, err
	}
	if converted["creationTimestamp"] == nil {
		delete(converted, "creationTimestamp")
	}
	u.Object["metadata"] = converted
	return dropped, nil
}
