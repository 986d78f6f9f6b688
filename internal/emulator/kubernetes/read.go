// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

func getObject(q *request) error {
	var obj runtime.Object
	err := q.transact(q.http.Context(), func(w *world) (err error) {
		if q.virtual() {
			obj, err = w.virtualObject(q)
			return err
		}
		obj, err = q.existing(w)
		return err
	})
	if err != nil {
		return err
	}
	return q.respond(http.StatusOK, obj)
}

// filter is what selectors let through.
type filter struct {
	labels labels.Selector
	fields fields.Selector
}

func (q *request) filter() (f filter, err error) {
	if f.labels, err = labels.Parse(q.query.Get("labelSelector")); err != nil {
		return f, apierrors.NewBadRequest(err.Error())
	}
	if f.fields, err = fields.ParseSelector(q.query.Get("fieldSelector")); err != nil {
		return f, apierrors.NewBadRequest(err.Error())
	}
	known := fieldsOf(q.res, q.res.empty())
	for _, r := range f.fields.Requirements() {
		if _, ok := known[r.Field]; !ok && len(known) <= 2 {
			return f, apierrors.NewBadRequest(fmt.Sprintf("%q is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", r.Field))
		} else if !ok {
			return f, apierrors.NewBadRequest("field label not supported: " + r.Field)
		}
	}
	if q.name != "" {
		f.fields = fields.AndSelectors(f.fields, fields.OneTermEqualSelector("metadata.name", q.name))
	}
	return f, nil
}

func (f filter) matches(l map[string]string, values map[string]string) bool {
	return f.labels.Matches(labels.Set(l)) && f.fields.Matches(fields.Set(values))
}

// fieldsOf are the fields that can be selected by.
func fieldsOf(r *resource, obj runtime.Object) map[string]string {
	m := metaOf(obj)
	values := map[string]string{"metadata.name": m.GetName()}
	if !r.cluster {
		values["metadata.namespace"] = m.GetNamespace()
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		values["spec.nodeName"], values["status.phase"], values["status.podIP"] = o.Spec.NodeName, string(o.Status.Phase), o.Status.PodIP
		values["spec.restartPolicy"], values["spec.serviceAccountName"], values["spec.schedulerName"] = string(o.Spec.RestartPolicy), o.Spec.ServiceAccountName, o.Spec.SchedulerName
	case *corev1.Event:
		i := o.InvolvedObject
		values["involvedObject.kind"], values["involvedObject.namespace"], values["involvedObject.name"], values["involvedObject.uid"] = i.Kind, i.Namespace, i.Name, string(i.UID)
		values["involvedObject.apiVersion"], values["involvedObject.resourceVersion"], values["involvedObject.fieldPath"] = i.APIVersion, i.ResourceVersion, i.FieldPath
		values["reason"], values["type"], values["source"], values["reportingComponent"] = o.Reason, o.Type, o.Source.Component, o.ReportingController
	case *corev1.Secret:
		values["type"] = string(o.Type)
	case *corev1.Namespace:
		values["status.phase"] = string(o.Status.Phase)
	case *corev1.Node:
		values["spec.unschedulable"] = strconv.FormatBool(o.Spec.Unschedulable)
	}
	return values
}

// item is an object of a list, as it is kept.
type item struct {
	key  string
	data json.RawMessage
}

// listObjects reads raw documents, and decodes only what selectors look at.
func listObjects(q *request) error {
	f, err := q.filter()
	if err != nil {
		return err
	}
	limit, after, err := q.page()
	if err != nil {
		return err
	}
	var items []item
	version, left, last := 0, 0, ""
	err = q.transact(q.http.Context(), func(w *world) error {
		if q.virtual() {
			items, err = w.virtualItems(q, f)
			return err
		}
		if _, err := w.tx.Get("counter", versions, &version); err != nil {
			return err
		}
		if at, err := strconv.Atoi(q.query.Get("resourceVersion")); err == nil && at > version {
			return tooLarge(at, version)
		}
		prefix := ""
		if q.ns != "" {
			prefix = q.ns + "/"
		}
		return w.tx.Each(docObject+q.res.id(), prefix, func(key string, data []byte) error {
			if key <= after && after != "" {
				return nil
			}
			matches, err := q.selected(f, data)
			switch {
			case err != nil || !matches:
				return err
			case limit > 0 && len(items) == limit:
				left++
				return nil
			}
			items, last = append(items, item{key, slices.Clone(data)}), key
			return nil
		})
	})
	if err != nil {
		return err
	}
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(version)}
	if left > 0 {
		meta.Continue = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", version, last))
		if f.labels.Empty() && f.fields.Empty() {
			n := int64(left)
			meta.RemainingItemCount = &n
		}
	}
	return q.respondList(meta, items)
}

// tooLarge is a version that the server has not come to.
func tooLarge(asked, current int) error {
	refusal := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", asked, current), 1)
	refusal.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return refusal
}

func (q *request) selected(f filter, data []byte) (bool, error) {
	if f.labels.Empty() && f.fields.Empty() {
		return true, nil
	}
	if f.fields.Empty() {
		var m metav1.PartialObjectMetadata
		if err := json.Unmarshal(data, &m); err != nil {
			return false, err
		}
		return f.labels.Matches(labels.Set(m.Labels)), nil
	}
	obj, err := q.res.object(data)
	if err != nil {
		return false, err
	}
	return f.matches(metaOf(obj).GetLabels(), fieldsOf(q.res, obj)), nil
}

// page is how many items are wanted, and after which.
func (q *request) page() (limit int, after string, err error) {
	if l := q.query.Get("limit"); l != "" {
		n, err := strconv.ParseInt(l, 10, 64)
		if err != nil {
			return 0, "", apierrors.NewBadRequest(err.Error())
		}
		limit = int(n)
	}
	if token := q.query.Get("continue"); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		_, key, ok := strings.Cut(string(text), " ")
		if err != nil || !ok {
			return 0, "", apierrors.NewBadRequest("continue key is not valid: " + token)
		}
		after = key
	}
	return limit, after, nil
}

// respond writes one object in the form that the client asks for.
func (q *request) respond(code int, obj runtime.Object) error {
	form, err := q.form()
	if err != nil {
		return err
	}
	switch form {
	case asTable:
		data, err := json.Marshal(obj)
		if err != nil {
			return err
		}
		t, err := q.table(metav1.ListMeta{ResourceVersion: metaOf(obj).GetResourceVersion()}, []item{{data: data}})
		if err != nil {
			return err
		}
		q.answer(code, t)
	case asMetadata:
		p, err := partial(obj)
		if err != nil {
			return err
		}
		q.answer(code, p)
	default:
		q.answer(code, obj)
	}
	return nil
}

func partial(v any) (*metav1.PartialObjectMetadata, error) {
	data, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	p := &metav1.PartialObjectMetadata{}
	err := json.Unmarshal(data, p)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}
	return p, err
}

func (q *request) respondList(meta metav1.ListMeta, items []item) error {
	form, err := q.form()
	if err != nil {
		return err
	}
	switch form {
	case asTable:
		t, err := q.table(meta, items)
		if err != nil {
			return err
		}
		q.answer(http.StatusOK, t)
	case asMetadata:
		all := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, ListMeta: meta, Items: []metav1.PartialObjectMetadata{}}
		for _, i := range items {
			p, err := partial(i.data)
			if err != nil {
				return err
			}
			all.Items = append(all.Items, *p)
		}
		q.answer(http.StatusOK, all)
	default:
		raw := make([]json.RawMessage, 0, len(items))
		for _, i := range items {
			raw = append(raw, i.data)
		}
		q.answer(http.StatusOK, struct {
			Kind       string            `json:"kind"`
			APIVersion string            `json:"apiVersion"`
			Metadata   metav1.ListMeta   `json:"metadata"`
			Items      []json.RawMessage `json:"items"`
		}{q.res.kind + "List", q.res.apiVersion(), meta, raw})
	}
	return nil
}

// The forms in which objects are answered.
const (
	asObject   = ""
	asTable    = "Table"
	asMetadata = "PartialObjectMetadata"
)

// form is the first of the Accept header that is served.
func (q *request) form() (string, error) {
	accept := q.http.Header.Get("Accept")
	if accept == "" {
		return asObject, nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch {
		case media != "application/json" && media != "*/*" && media != "application/*":
			continue
		case strings.Contains(parameters, "as=Table") && strings.Contains(parameters, "g=meta.k8s.io"):
			return asTable, nil
		case strings.Contains(parameters, "as=PartialObjectMetadata"):
			return asMetadata, nil
		case strings.Contains(parameters, "as="):
			continue
		}
		return asObject, nil
	}
	return "", &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"}}
}
