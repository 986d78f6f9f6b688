// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

func patchObject(q *request) error {
	options := &metav1.PatchOptions{DryRun: q.query["dryRun"], FieldManager: q.query.Get("fieldManager"), FieldValidation: q.query.Get("fieldValidation"), Force: q.force()}
	kind := types.PatchType(q.mediaType())
	if err := q.checkOptions("PatchOptions", validation.ValidatePatchOptions(options, kind)); err != nil {
		return err
	}
	switch kind {
	case types.ApplyPatchType:
		return q.apply()
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType:
		return q.change(func(_ *world, old runtime.Object) (runtime.Object, error) { return q.patched(kind, old) })
	}
	return unsupported("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml")
}

func (q *request) force() *bool {
	if !q.query.Has("force") {
		return nil
	}
	force := q.query.Get("force") != "false" && q.query.Get("force") != "0"
	return &force
}

// patched is an object with the patch in the body.
func (q *request) patched(kind types.PatchType, old runtime.Object) (runtime.Object, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	after, err := q.patch(kind, before, old)
	if err != nil {
		return nil, err
	}
	if _, _, err := q.res.read(after); err != nil {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(after), err.Error())})
	}
	obj, err := q.decode(after)
	if err != nil {
		return nil, err
	}
	m := metaOf(obj)
	if m.GetName() != q.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), q.name))
	}
	return obj, q.place(m)
}

func (q *request) patch(kind types.PatchType, before []byte, old runtime.Object) ([]byte, error) {
	switch kind {
	case types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(q.body)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		after, err := p.Apply(before)
		if err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
		}
		return after, nil
	case types.MergePatchType:
		if !json.Valid(q.body) {
			return nil, apierrors.NewBadRequest("error decoding patch: invalid JSON")
		}
		after, err := jsonpatch.MergePatch(before, q.body)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return after, nil
	}
	if q.res.crd != nil {
		return nil, unsupported("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
	}
	after, err := strategicpatch.StrategicMergePatch(before, q.body, old)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return after, nil
}

// apply is server-side apply.
func (q *request) apply() error {
	patch, err := q.applyPatch()
	if err != nil {
		return err
	}
	if q.res.crd == nil && patch.GetKind() != q.res.kind && patch.GetKind() != "" && patch.GetAPIVersion() == q.res.apiVersion() {
		return apierrors.NewBadRequest("invalid object type: " + patch.GroupVersionKind().String())
	}
	if err := q.appliedMeta(patch); err != nil {
		return err
	}
	code := http.StatusOK
	var result runtime.Object
	err = q.write(func(w *world) error {
		old, err := w.get(q.res, q.ns, q.name)
		if err != nil {
			return err
		}
		if old == nil {
			code = http.StatusCreated
		}
		result, err = q.applied(w, old, patch)
		if err == nil {
			err = q.doom(w, old, result)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.respond(code, result)
}

// applyPatch reads the body.
func (q *request) applyPatch() (*unstructured.Unstructured, error) {
	patch := &unstructured.Unstructured{Object: map[string]any{}}
	err := yaml.UnmarshalStrict(q.body, &patch.Object)
	if err == nil {
		err = normal(patch)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	return patch, nil
}

// normal makes numbers what JSON decoding makes of them.
func normal(u *unstructured.Unstructured) error {
	data, err := json.Marshal(u.Object)
	if err != nil {
		return err
	}
	if u.GetKind() != "" {
		return u.UnmarshalJSON(data)
	}
	return nil
}

func (q *request) appliedMeta(patch *unstructured.Unstructured) error {
	if name := patch.GetName(); name != "" && name != q.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, q.name))
	}
	if ns := patch.GetNamespace(); ns != "" && ns != q.ns && !q.res.cluster {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// applied merges a patch and writes what comes of it.
func (q *request) applied(w *world, old runtime.Object, patch *unstructured.Unstructured) (runtime.Object, error) {
	by := author{manager: q.manager(), subresource: q.sub, dryRun: q.dryRun(), applied: true}
	if old == nil && q.sub != "" {
		return nil, apierrors.NewNotFound(q.res.gr(), q.name)
	}
	if uid := patch.GetUID(); old == nil && uid != "" {
		return nil, apierrors.NewConflict(q.res.gr(), q.name, fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	m, err := q.res.manager(q.sub)
	if err != nil {
		return nil, err
	}
	live := q.res.empty()
	if old != nil {
		live = old.DeepCopyObject()
	}
	force := q.force()
	merged, err := m.Apply(live, patch, by.manager, force != nil && *force)
	if err != nil {
		return nil, err
	}
	merged.GetObjectKind().SetGroupVersionKind(q.res.gvk())
	if u, ok := merged.(*unstructured.Unstructured); ok {
		if _, err := q.res.tidy(u); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		q.res.setDefaults(u)
	}
	meta := metaOf(merged)
	meta.SetName(q.name)
	if !q.res.cluster {
		meta.SetNamespace(q.ns)
	}
	if old == nil {
		return w.create(q.res, merged, by)
	}
	return w.update(q.res, old, merged, by)
}
