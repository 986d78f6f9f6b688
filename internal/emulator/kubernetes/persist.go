// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// author is who writes, and how.
type author struct {
	manager, subresource string
	dryRun               bool
	replaces             bool // by a PUT
	applied              bool // managed fields are kept already
}

// controllerManager writes what the cluster's own controllers write.
var controllerManager = author{manager: "kube-controller-manager"}

// statusWriter writes to the status.
var statusWriter = author{manager: "kube-controller-manager", subresource: "status"}

// create makes an object: filled in, checked, admitted.
func (w *world) create(r *resource, obj runtime.Object, by author) (runtime.Object, error) {
	m := metaOf(obj)
	if err := w.namespaceFor(r, m); err != nil {
		return nil, err
	}
	m.SetUID(newUID())
	m.SetCreationTimestamp(w.stamp())
	m.SetResourceVersion("")
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetSelfLink("")
	m.SetGeneration(0)
	if r.generation {
		m.SetGeneration(1)
	}
	// Who sets which fields is noted before admission and the server add their own.
	obj, err := w.noteCreate(r, obj, by)
	if err != nil {
		return nil, err
	}
	m = metaOf(obj)
	if err := w.admit(r, nil, obj); err != nil {
		return nil, err
	}
	if m.GetName() == "" && m.GetGenerateName() != "" {
		m.SetName(m.GetGenerateName()[:min(len(m.GetGenerateName()), 58)] + utilrand.String(5))
	}
	r.prepareCreate(obj)
	if errs := r.validateCreate(obj); len(errs) > 0 {
		return nil, r.invalid(m.GetName(), errs)
	}
	if err := w.finishCreate(r, obj); err != nil {
		return nil, err
	}
	if err := w.limit(r, obj); err != nil {
		return nil, err
	}
	if err := w.absent(r, m); err != nil {
		return nil, err
	}
	if by.dryRun {
		return obj, nil
	}
	return obj, w.put(r, nil, obj)
}

func (w *world) noteCreate(r *resource, obj runtime.Object, by author) (runtime.Object, error) {
	switch {
	case by.applied:
		w.retime(nil, obj)
	case by.manager != "" && r.wellFormed(obj):
		return w.track(r, nil, obj, by.manager, by.subresource)
	}
	return obj, nil
}

// absent refuses a name that is taken.
func (w *world) absent(r *resource, m metav1.Object) error {
	old, err := w.get(r, m.GetNamespace(), m.GetName())
	if err != nil || old == nil {
		return err
	}
	refusal := apierrors.NewAlreadyExists(r.gr(), m.GetName())
	if metaOf(old).GetDeletionTimestamp() != nil {
		refusal.ErrStatus.Message = fmt.Sprintf("object is being deleted: %s", refusal.ErrStatus.Message)
	}
	return refusal
}

// namespaceFor refuses to create in a namespace that is not there or on its way out.
func (w *world) namespaceFor(r *resource, m metav1.Object) error {
	if r.cluster {
		return nil
	}
	ns, found, err := lookup[*corev1.Namespace](w, namespaces, "", m.GetNamespace())
	if err != nil {
		return err
	}
	if !found {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), m.GetNamespace())
	}
	if ns.DeletionTimestamp != nil {
		refusal := apierrors.NewForbidden(r.gr(), m.GetName(), fmt.Errorf("unable to create new content in namespace %s because it is being terminated", ns.Name))
		refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause,
			Message: fmt.Sprintf("namespace %s is being terminated", ns.Name), Field: "metadata.namespace"})
		return refusal
	}
	return nil
}

func (r *resource) invalid(name string, errs field.ErrorList) error {
	for _, e := range errs { // the library is newer than the server
		e.Detail = strings.Replace(e.Detail, "must be no more than 63 bytes", "must be no more than 63 characters", 1)
	}
	return apierrors.NewInvalid(r.gk(), name, errs)
}

// failed is a precondition that does not hold, as the storage words it.
func (r *resource) failed(m metav1.Object, what string) error {
	at := "/registry/" + r.plural
	switch {
	case r.crd != nil:
		at = "/registry/" + r.group + "/" + r.plural
	case r.id() == services:
		at = "/registry/services/specs"
	}
	return apierrors.NewConflict(r.gr(), m.GetName(), fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: %s",
		at, key(m.GetNamespace(), m.GetName()), what))
}

const modified = "the object has been modified; please apply your changes to the latest version and try again"

// update changes an object.
func (w *world) update(r *resource, old, obj runtime.Object, by author) (runtime.Object, error) {
	om, m := metaOf(old), metaOf(obj)
	if err := r.precondition(om, m, by.replaces); err != nil {
		return nil, err
	}
	obj, err := w.noteUpdate(r, old, obj, by)
	if err != nil {
		return nil, err
	}
	m = metaOf(obj)
	m.SetResourceVersion(om.GetResourceVersion())
	m.SetUID(om.GetUID())
	m.SetCreationTimestamp(om.GetCreationTimestamp())
	m.SetDeletionTimestamp(om.GetDeletionTimestamp())
	m.SetDeletionGracePeriodSeconds(om.GetDeletionGracePeriodSeconds())
	m.SetGeneration(om.GetGeneration())
	m.SetSelfLink("")
	if m.GetGenerateName() == "" {
		m.SetGenerateName(om.GetGenerateName())
	}
	r.prepareUpdate(old, obj, by.subresource)
	if by.subresource == "" {
		if err := w.admit(r, old, obj); err != nil {
			return nil, err
		}
	}
	if errs := r.validateUpdate(old, obj, by.subresource); len(errs) > 0 {
		return nil, r.invalid(m.GetName(), errs)
	}
	if r.generation && by.subresource != "status" && r.specChanged(old, obj) {
		m.SetGeneration(om.GetGeneration() + 1)
	}
	if unchanged(old, obj) {
		return old, nil
	}
	if by.dryRun {
		return obj, nil
	}
	if m.GetDeletionTimestamp() != nil && len(m.GetFinalizers()) == 0 && !lingers(obj) {
		return obj, w.remove(r, obj)
	}
	return obj, w.put(r, old, obj)
}

func (w *world) noteUpdate(r *resource, old, obj runtime.Object, by author) (runtime.Object, error) {
	switch {
	case by.applied:
		w.retime(old, obj)
	case by.manager != "" && r.wellFormed(obj):
		return w.track(r, old, obj, by.manager, by.subresource)
	default:
		metaOf(obj).SetManagedFields(metaOf(old).GetManagedFields())
	}
	return obj, nil
}

// lingers says that an object that is being deleted ends in its own time, and not with
// its last finalizer.
func lingers(obj runtime.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		return o.DeletionGracePeriodSeconds != nil && *o.DeletionGracePeriodSeconds > 0
	case *corev1.Namespace:
		return len(o.Spec.Finalizers) > 0
	}
	return false
}

func (r *resource) precondition(old, m metav1.Object, replaces bool) error {
	switch uid := m.GetUID(); {
	case uid == "" || uid == old.GetUID():
	case replaces:
		return r.failed(old, fmt.Sprintf("UID in precondition: %s, UID in object meta: %s", uid, old.GetUID()))
	default: // it is found out twice
		fixed := field.Invalid(field.NewPath("metadata", "uid"), uid, "field is immutable")
		return r.invalid(old.GetName(), field.ErrorList{fixed, fixed})
	}
	switch v := m.GetResourceVersion(); {
	case v == "" && !r.unconditional:
		return apierrors.NewInvalid(schema.GroupKind{Group: r.group, Kind: r.plural}, old.GetName(), field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update")})
	case v != "" && v != old.GetResourceVersion():
		return apierrors.NewConflict(r.gr(), old.GetName(), errors.New(modified))
	}
	return nil
}

// unchanged reports whether two versions differ in nothing but times of managed fields.
func unchanged(old, obj runtime.Object) bool {
	om, m := metaOf(old), metaOf(obj)
	before, after := om.GetManagedFields(), m.GetManagedFields()
	if len(before) != len(after) {
		return false
	}
	for i := range before {
		if !same(before[i], after[i]) || before[i].FieldsV1.String() != after[i].FieldsV1.String() {
			return false
		}
	}
	om.SetManagedFields(nil)
	m.SetManagedFields(nil)
	defer func() {
		om.SetManagedFields(before)
		m.SetManagedFields(after)
	}()
	return apiequality.Semantic.DeepEqual(old, obj)
}

// specChanged reports whether a change counts as a new generation.
func (r *resource) specChanged(old, obj runtime.Object) bool {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		was, ok := old.(*appsv1.Deployment)
		return !ok || !apiequality.Semantic.DeepEqual(was.Spec, o.Spec) || !apiequality.Semantic.DeepEqual(was.Annotations, o.Annotations)
	case *appsv1.ReplicaSet:
		was, ok := old.(*appsv1.ReplicaSet)
		return !ok || !apiequality.Semantic.DeepEqual(was.Spec, o.Spec)
	case *corev1.Pod:
		was, ok := old.(*corev1.Pod)
		return !ok || !apiequality.Semantic.DeepEqual(was.Spec, o.Spec)
	}
	return !reflect.DeepEqual(r.plainly(old), r.plainly(obj))
}

// plainly is an object as plain data, without what is no part of its generation.
func (r *resource) plainly(obj runtime.Object) map[string]any {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil
	}
	m = maps.Clone(m) // that of a custom resource is its own
	delete(m, "metadata")
	delete(m, "status")
	return m
}

// save writes what a controller has changed of an object; nothing if it is as it was.
func (w *world) save(id string, obj runtime.Object, by author) error {
	r, m := catalog()[id], metaOf(obj)
	old, err := w.get(r, m.GetNamespace(), m.GetName())
	if err != nil || old == nil || metaOf(old).GetUID() != m.GetUID() {
		return err
	}
	m.SetResourceVersion(metaOf(old).GetResourceVersion())
	_, err = w.update(r, old, obj, by)
	return err
}

// validateMeta checks the metadata of a new object.
func (r *resource) validateMeta(m metav1.Object) field.ErrorList {
	name := validation.NameIsDNSSubdomain
	switch r.id() {
	case services:
		name = validation.NameIsDNS1035Label
	case namespaces:
		name = validation.NameIsDNSLabel
	case "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io":
		name = pathSegment
	}
	errs := validation.ValidateObjectMetaAccessor(m, !r.cluster, name, field.NewPath("metadata"))
	for _, e := range errs { // as above
		if owner := ownerField.FindStringSubmatch(e.Field); owner != nil && e.Type == field.ErrorTypeRequired {
			e.Type, e.Field, e.BadValue = field.ErrorTypeInvalid, owner[1]+owner[2], ""
		}
	}
	return errs
}

var ownerField = regexp.MustCompile(`^(metadata\.ownerReferences)\[\d+\](.*)$`)

// pathSegment is all that the name of a role has to be.
func pathSegment(name string, prefix bool) []string {
	if !prefix && (name == "." || name == "..") {
		return []string{fmt.Sprintf("may not be '%s'", name)}
	}
	for _, c := range "/%" {
		if strings.ContainsRune(name, c) {
			return []string{fmt.Sprintf("may not contain '%c'", c)}
		}
	}
	return nil
}

// deletion is what a DELETE asks for.
type deletion struct {
	propagation metav1.DeletionPropagation
	grace       *int64
	uid         *types.UID
	version     *string
	dryRun      bool
}

// delete begins or ends an object's removal. gone is false while it lingers.
func (w *world) delete(r *resource, obj runtime.Object, d deletion) (result runtime.Object, gone bool, err error) {
	m := metaOf(obj)
	kind := schema.GroupResource{Group: r.group, Resource: r.kind}
	if d.uid != nil && *d.uid != m.GetUID() {
		return nil, false, apierrors.NewConflict(kind, m.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *d.uid, m.GetUID()))
	}
	if d.version != nil && *d.version != m.GetResourceVersion() {
		return nil, false, apierrors.NewConflict(kind, m.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *d.version, m.GetResourceVersion()))
	}
	old, next := obj, obj.DeepCopyObject()
	m = metaOf(next)
	finalize(m, d.propagation)
	grace := graceOf(next, d.grace)
	if ns, ok := next.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceTerminating
	}
	waits := len(m.GetFinalizers()) > 0 || grace > 0
	if ns, ok := next.(*corev1.Namespace); ok && len(ns.Spec.Finalizers) > 0 {
		waits = true
	}
	if !waits {
		if d.dryRun {
			return next, true, nil
		}
		return next, true, w.remove(r, next)
	}
	w.mark(r, m, grace)
	if d.dryRun || unchanged(old, next) {
		return next, false, nil
	}
	return next, false, w.put(r, old, next)
}

// mark says from when on, or until when, an object is on its way out.
func (w *world) mark(r *resource, m metav1.Object, grace int64) {
	if m.GetDeletionTimestamp() != nil {
		if before := m.GetDeletionGracePeriodSeconds(); before == nil || *before <= grace {
			return
		}
	}
	if m.GetDeletionTimestamp() == nil && r.generation {
		m.SetGeneration(m.GetGeneration() + 1)
	}
	at := metav1.Time{Time: w.stamp().Add(metav1.Duration{Duration: w.seconds(int32(grace))}.Duration)}
	m.SetDeletionTimestamp(&at)
	m.SetDeletionGracePeriodSeconds(&grace)
}

// finalize sets the finalizers that a propagation policy asks for.
func finalize(m metav1.Object, policy metav1.DeletionPropagation) {
	var kept []string
	for _, f := range m.GetFinalizers() {
		if f != metav1.FinalizerDeleteDependents && f != metav1.FinalizerOrphanDependents || policy == "" {
			kept = append(kept, f)
		}
	}
	switch policy {
	case metav1.DeletePropagationForeground:
		kept = append(kept, metav1.FinalizerDeleteDependents)
	case metav1.DeletePropagationOrphan:
		kept = append(kept, metav1.FinalizerOrphanDependents)
	}
	m.SetFinalizers(kept)
}

// graceOf is how many seconds a pod may take to end; anything else has none.
func graceOf(obj runtime.Object, asked *int64) int64 {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" || finished(pod) {
		return 0
	}
	if asked != nil {
		return *asked
	}
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		return *pod.Spec.TerminationGracePeriodSeconds
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
