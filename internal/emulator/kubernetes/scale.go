// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

var (
	scaleKind = schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	replicas  = fieldpath.MakePathOrDie("spec", "replicas")
)

// scaleOf is the scale of a workload.
func scaleOf(r *resource, obj runtime.Object) (*autoscalingv1.Scale, error) {
	m := metaOf(obj)
	s := &autoscalingv1.Scale{TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion(), CreationTimestamp: m.GetCreationTimestamp()}}
	var selector *metav1.LabelSelector
	switch o := obj.(type) {
	case *appsv1.Deployment:
		s.Spec.Replicas, s.Status.Replicas, selector = *o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *appsv1.ReplicaSet:
		s.Spec.Replicas, s.Status.Replicas, selector = *o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	default:
		return nil, fmt.Errorf("%s has no scale", r.id())
	}
	l, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, err
	}
	s.Status.Selector = l.String()
	return s, nil
}

func getScale(q *request) error {
	return q.rescaled(func(_ *world, old runtime.Object) (*autoscalingv1.Scale, error) { return scaleOf(q.res, old) })
}

func (q *request) rescaled(f func(w *world, old runtime.Object) (*autoscalingv1.Scale, error)) error {
	if !q.res.scale {
		return q.unserved()
	}
	var s *autoscalingv1.Scale
	err := q.write(func(w *world) error {
		old, err := q.existing(w)
		if err != nil {
			return err
		}
		s, err = f(w, old)
		return err
	})
	if err != nil {
		return err
	}
	q.answer(http.StatusOK, s)
	return nil
}

func updateScale(q *request) error {
	return q.rescaled(func(w *world, old runtime.Object) (*autoscalingv1.Scale, error) {
		data, err := q.document()
		if err != nil {
			return nil, err
		}
		return q.rescale(w, old, data)
	})
}

func patchScale(q *request) error {
	return q.rescaled(func(w *world, old runtime.Object) (*autoscalingv1.Scale, error) {
		now, err := scaleOf(q.res, old)
		if err != nil {
			return nil, err
		}
		kind := types.PatchType(q.mediaType())
		if kind == types.ApplyPatchType {
			return q.applyScale(w, old, now)
		}
		before, err := json.Marshal(now)
		if err != nil {
			return nil, err
		}
		after, err := q.patch(kind, before, now)
		if err != nil {
			return nil, err
		}
		return q.rescale(w, old, after)
	})
}

// rescale writes what the scale says.
func (q *request) rescale(w *world, old runtime.Object, data []byte) (*autoscalingv1.Scale, error) {
	var want autoscalingv1.Scale
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &want); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Scale in version \"v1\" cannot be handled as a Scale: %v", err))
	}
	m := metaOf(old)
	if want.Name != "" && want.Name != m.GetName() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", want.Name, q.name))
	}
	if err := q.res.precondition(m, &want.ObjectMeta, q.verb == "update"); err != nil {
		return nil, err
	}
	if want.Spec.Replicas < 0 {
		return nil, apierrors.NewInvalid(scaleKind.GroupKind(), q.name, field.ErrorList{field.Invalid(field.NewPath("spec", "replicas"), want.Spec.Replicas, "must be greater than or equal to 0")})
	}
	return w.scaleTo(q.res, old, want.Spec.Replicas, author{manager: q.manager(), subresource: "scale", dryRun: q.dryRun()})
}

// scaleTo sets the replicas and notes in the workload's managed fields who did it.
func (w *world) scaleTo(r *resource, old runtime.Object, count int32, by author) (*autoscalingv1.Scale, error) {
	before, err := scaleOf(r, old)
	if err != nil {
		return nil, err
	}
	handler := managedfields.NewScaleHandler(metaOf(old).GetManagedFields(), r.gvk().GroupVersion(), managedfields.ResourcePathMappings{r.apiVersion(): replicas})
	if before.ManagedFields, err = handler.ToSubresource(); err != nil {
		return nil, err
	}
	after := before.DeepCopy()
	after.Spec.Replicas = count
	manager, err := scaleManager()
	if err != nil {
		return nil, err
	}
	tracked, ok := manager.UpdateNoErrors(before, after, by.manager).(*autoscalingv1.Scale)
	if !ok {
		return nil, fmt.Errorf("the scale of %s became something else", metaOf(old).GetName())
	}
	return w.scaleBy(r, old, tracked, handler, by)
}

// scaleManager knows of a scale only what it sees: the schemas say nothing of it.
func scaleManager() (*managedfields.FieldManager, error) {
	return managedfields.NewDefaultFieldManager(managedfields.NewDeducedTypeConverter(), scheme(), nothing{}, scheme(), scaleKind, scaleKind.GroupVersion(), "scale", nil)
}

// nothing has no defaults.
type nothing struct{}

func (nothing) Default(runtime.Object) {}

// scaleBy writes a scale whose managed fields are those of the subresource.
func (w *world) scaleBy(r *resource, old runtime.Object, s *autoscalingv1.Scale, handler *managedfields.ScaleHandler, by author) (*autoscalingv1.Scale, error) {
	entries, err := handler.ToParent(s.ManagedFields)
	if err != nil {
		return nil, err
	}
	obj := old.DeepCopyObject()
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Spec.Replicas = &s.Spec.Replicas
	case *appsv1.ReplicaSet:
		o.Spec.Replicas = &s.Spec.Replicas
	}
	metaOf(obj).SetManagedFields(entries)
	by.applied = true
	result, err := w.update(r, old, obj, by)
	if err != nil {
		return nil, err
	}
	return scaleOf(r, result)
}

// applyScale is server-side apply to the scale.
func (q *request) applyScale(w *world, old runtime.Object, now *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
	patch, err := q.applyPatch()
	if err != nil {
		return nil, err
	}
	handler := managedfields.NewScaleHandler(metaOf(old).GetManagedFields(), q.res.gvk().GroupVersion(), managedfields.ResourcePathMappings{q.res.apiVersion(): replicas})
	if now.ManagedFields, err = handler.ToSubresource(); err != nil {
		return nil, err
	}
	manager, err := scaleManager()
	if err != nil {
		return nil, err
	}
	force := q.force()
	merged, err := manager.Apply(now, patch, q.manager(), force != nil && *force)
	if err != nil {
		return nil, err
	}
	s, ok := merged.(*autoscalingv1.Scale)
	if !ok {
		return nil, fmt.Errorf("the scale of %s became something else", q.name)
	}
	return w.scaleBy(q.res, old, s, handler, author{manager: q.manager(), subresource: "scale", dryRun: q.dryRun()})
}
