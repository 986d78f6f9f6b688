// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

func createObject(q *request) error {
	if err := q.checkOptions("CreateOptions", validation.ValidateCreateOptions(&metav1.CreateOptions{DryRun: q.query["dryRun"], FieldManager: q.query.Get("fieldManager"), FieldValidation: q.query.Get("fieldValidation")})); err != nil {
		return err
	}
	if q.name != "" {
		return apierrors.NewMethodNotSupported(q.res.gr(), q.verb)
	}
	data, err := q.document()
	if err != nil {
		return err
	}
	obj, err := q.decode(data)
	if err != nil {
		return err
	}
	if err := q.place(metaOf(obj)); err != nil {
		return err
	}
	if metaOf(obj).GetResourceVersion() != "" {
		return errors.New("resourceVersion should not be set on objects to be created") // an internal error, on the real server too
	}
	var made runtime.Object
	err = q.write(func(w *world) error {
		made, err = w.create(q.res, obj, author{manager: q.manager(), dryRun: q.dryRun()})
		if err == nil {
			err = q.doom(w, nil, made)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.respond(http.StatusCreated, made)
}

// write is a transaction whose effect a dry run does not keep.
func (q *request) write(f func(w *world) error) error {
	return q.transact(q.http.Context(), func(w *world) error {
		err := f(w)
		for _, text := range w.warns {
			q.warn(text)
		}
		return err
	})
}

// place puts an object into the namespace of the path.
func (q *request) place(m metav1.Object) error {
	switch {
	case q.res.cluster:
		m.SetNamespace("")
	case m.GetNamespace() == "":
		m.SetNamespace(q.ns)
	case m.GetNamespace() != q.ns:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

func (q *request) checkOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

func updateObject(q *request) error {
	if err := q.checkOptions("UpdateOptions", validation.ValidateUpdateOptions(&metav1.UpdateOptions{DryRun: q.query["dryRun"], FieldManager: q.query.Get("fieldManager"), FieldValidation: q.query.Get("fieldValidation")})); err != nil {
		return err
	}
	data, err := q.document()
	if err != nil {
		return err
	}
	obj, err := q.decode(data)
	if err != nil {
		return err
	}
	if err := q.named(metaOf(obj)); err != nil {
		return err
	}
	return q.change(func(*world, runtime.Object) (runtime.Object, error) { return obj, nil })
}

func (q *request) named(m metav1.Object) error {
	if m.GetName() == "" {
		return apierrors.NewBadRequest("name must be provided")
	}
	if m.GetName() != q.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), q.name))
	}
	return q.place(m)
}

// change reads an object, lets f say what becomes of it, and writes that.
func (q *request) change(f func(w *world, old runtime.Object) (runtime.Object, error)) error {
	var result runtime.Object
	err := q.write(func(w *world) error {
		old, err := q.existing(w)
		if err != nil {
			return err
		}
		obj, err := f(w, old.DeepCopyObject())
		if err != nil {
			return err
		}
		result, err = w.update(q.res, old, obj, author{manager: q.manager(), subresource: q.sub, dryRun: q.dryRun(), replaces: q.verb == "update"})
		if err == nil {
			err = q.doom(w, old, result)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.respond(http.StatusOK, result)
}

// existing is the object that the path names.
func (q *request) existing(w *world) (runtime.Object, error) {
	old, err := w.get(q.res, q.ns, q.name)
	if err == nil && old == nil {
		err = apierrors.NewNotFound(q.res.gr(), q.name)
	}
	return old, err
}

// deleteOptions are in the body, or in the query.
func (q *request) deleteOptions() (d deletion, err error) {
	var options metav1.DeleteOptions
	if len(q.body) > 0 {
		data, err := q.document()
		if err != nil {
			return d, err
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &options); err != nil {
			return d, apierrors.NewBadRequest(err.Error())
		}
	}
	if p := q.query.Get("propagationPolicy"); p != "" {
		policy := metav1.DeletionPropagation(p)
		options.PropagationPolicy = &policy
	}
	if g := q.query.Get("gracePeriodSeconds"); g != "" {
		n, err := strconv.ParseInt(g, 10, 64)
		if err != nil {
			return d, apierrors.NewBadRequest(err.Error())
		}
		options.GracePeriodSeconds = &n
	}
	if len(q.query["dryRun"]) > 0 {
		options.DryRun = q.query["dryRun"]
	}
	if err := q.checkOptions("DeleteOptions", validation.ValidateDeleteOptions(&options)); err != nil {
		return d, err
	}
	d.grace, d.dryRun = options.GracePeriodSeconds, len(options.DryRun) > 0
	if options.PropagationPolicy != nil {
		d.propagation = *options.PropagationPolicy
	} else if o := options.OrphanDependents; o != nil && *o { //nolint:staticcheck // old clients send it
		d.propagation = metav1.DeletePropagationOrphan
	}
	if p := options.Preconditions; p != nil {
		d.uid, d.version = p.UID, p.ResourceVersion
	}
	return d, nil
}

func deleteObject(q *request) error {
	d, err := q.deleteOptions()
	if err != nil {
		return err
	}
	var result runtime.Object
	var gone bool
	err = q.write(func(w *world) error {
		old, err := q.existing(w)
		if err != nil {
			return err
		}
		if err := undeletable(q.res, old); err != nil {
			return err
		}
		result, gone, err = w.delete(q.res, old, d)
		return err
	})
	if err != nil {
		return err
	}
	if gone && !returnsDeleted[q.res.id()] {
		m := metaOf(result)
		return q.respondStatus(metav1.Status{Status: metav1.StatusSuccess,
			Details: &metav1.StatusDetails{Name: m.GetName(), Group: q.res.group, Kind: q.res.plural, UID: m.GetUID()}})
	}
	return q.respond(http.StatusOK, result)
}

// undeletable refuses to delete what a cluster cannot be without.
func undeletable(r *resource, obj runtime.Object) error {
	name := metaOf(obj).GetName()
	if r.id() == namespaces && (name == "default" || name == "kube-system" || name == "kube-public") {
		return apierrors.NewForbidden(r.gr(), name, errForbiddenNamespace)
	}
	return nil
}

// returnsDeleted are the resources that answer a DELETE with the object.
var returnsDeleted = map[string]bool{pods: true, services: true, serviceAccounts: true, quotas: true, claims: true}

func (q *request) respondStatus(status metav1.Status) error {
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	q.answer(http.StatusOK, status)
	return nil
}

func deleteCollection(q *request) error {
	d, err := q.deleteOptions()
	if err != nil {
		return err
	}
	f, err := q.filter()
	if err != nil {
		return err
	}
	items := []runtime.Object{}
	err = q.write(func(w *world) error {
		found, err := list[runtime.Object](w, q.res.id(), q.ns)
		if err != nil {
			return err
		}
		for _, obj := range found {
			if !f.matches(metaOf(obj).GetLabels(), fieldsOf(q.res, obj)) {
				continue
			}
			result, _, err := w.delete(q.res, obj, d)
			if err != nil {
				return err
			}
			items = append(items, result)
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.answer(http.StatusOK, map[string]any{"apiVersion": q.res.apiVersion(), "kind": q.res.kind + "List", "metadata": map[string]any{}, "items": items})
	return nil
}

// evict deletes a pod unless a budget forbids it.
func evict(q *request) error {
	var e policyv1.Eviction
	if err := json.Unmarshal(q.body, &e); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return q.write(func(w *world) error {
		old, err := q.existing(w)
		if err != nil {
			return err
		}
		all, err := list[*policyv1.PodDisruptionBudget](w, budgets, q.ns)
		if err != nil {
			return err
		}
		pod, _ := old.(*corev1.Pod)
		for _, b := range all {
			if selects(b.Spec.Selector, pod.Labels) && b.Status.DisruptionsAllowed <= 0 && ready(pod) {
				refusal := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
				refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause,
					Message: fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)})
				return refusal
			}
		}
		if !q.dryRun() {
			if _, _, err := w.delete(q.res, old, deletion{}); err != nil {
				return err
			}
		}
		q.w.Header().Set("Content-Type", "application/json")
		q.answer(http.StatusCreated, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess, Code: http.StatusCreated})
		return nil
	})
}

// uidOf is a pointer to an object's UID.
func uidOf(m metav1.Object) *types.UID {
	uid := m.GetUID()
	return &uid
}
