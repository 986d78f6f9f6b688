// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// What was applied is compared with what is there. Fields that we never applied are
// whoever's set them: defaults, other controllers, other people. What is shown
// elsewhere in the state, traffic and scaling, is left out.

// damage says what of an object is not as it was applied, "" if all is.
func (w *written) damage(live *object) string {
	what := w.Kind + " " + w.Name
	if live == nil {
		return "the " + what + " is missing"
	}
	applied := (&object{Object: w.Content}).DeepCopy()
	w.ignore(applied, live)
	path := differs("", applied.Object, live.Object)
	if path == "" {
		return ""
	}
	return fmt.Sprintf("%s of the %s was changed%s", path, what, by(live))
}

// ignore removes from what was applied what is shown elsewhere in the state.
func (w *written) ignore(applied, live *object) {
	delete(applied.Object, "status")
	spec, _ := applied.Object["spec"].(map[string]any)
	switch w.Kind {
	case deployments.name:
		delete(spec, "replicas")
	case autoscalers.name:
		applied.Object = map[string]any{} // its bounds and metrics are the deployment's scaling
	case services.name:
		now, _, _ := nestedMap(live.Object, "spec", "selector")
		if w.isFront() && !reflect.DeepEqual(spec["selector"], any(now)) {
			delete(spec, "selector")
			delete(spec, "ports") // they go with the selector
		}
	case routes.name:
		rules, _ := spec["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			delete(rule, "backendRefs")
			delete(rule, "filters")
		}
	case inferenceServices.name:
		p, _ := spec["predictor"].(map[string]any)
		for _, name := range []string{"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"} {
			delete(p, name)
		}
	}
}

// differs is the path of the first thing in want that have lacks, "" for none.
func differs(path string, want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok && len(want) > 0 {
			return path
		}
		if slices.Contains(undivided, path[strings.LastIndexByte(path, '.')+1:]) && len(h) != len(want) {
			return path
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if at := differs(path+"."+name, want[name], h[name]); at != "" {
				return at
			}
		}
		return ""
	case []any:
		return differsList(path, want, have)
	}
	if reflect.DeepEqual(number64(want), number64(have)) || sameQuantity(want, have) {
		return ""
	}
	return path
}

// undivided are members that have one owner as a whole: an entry that somebody added to them changes
// what they mean.
var undivided = []string{"selector", "matchLabels", "podSelector", "namespaceSelector", "nodeSelector"}

// listKeys are the members that tell the elements of lists apart, the first one
// that an element has.
var listKeys = []string{"name", "mountPath", "containerPort", "port", "key", "topologyKey", "type", "path"}

func differsList(path string, want []any, have any) string {
	h, _ := have.([]any)
	for i, w := range want {
		at := fmt.Sprintf("%s[%d]", path, i)
		element, ok := w.(map[string]any)
		key := ""
		if ok {
			at, key = named(path, element, at)
		}
		switch {
		case key != "":
			found := slices.IndexFunc(h, func(o any) bool {
				m, _ := o.(map[string]any)
				return m != nil && reflect.DeepEqual(number64(m[key]), number64(element[key]))
			})
			if found < 0 {
				return at
			}
			if at := differs(at, w, h[found]); at != "" {
				return at
			}
		case len(h) != len(want):
			return path
		default:
			if at := differs(at, w, h[i]); at != "" {
				return at
			}
		}
	}
	return ""
}

func named(path string, element map[string]any, otherwise string) (at, key string) {
	for _, key := range listKeys {
		if v, ok := element[key]; ok && reflect.TypeOf(v).Comparable() {
			return fmt.Sprintf("%s[%v]", path, v), key
		}
	}
	return otherwise, ""
}

// number64 makes one type of all numbers: JSON has only one.
func number64(v any) any {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case int32:
		return float64(n)
	case int:
		return float64(n)
	}
	return v
}

// sameQuantity compares amounts in different words: the API server writes 1000m as 1.
func sameQuantity(want, have any) bool {
	w, ok := want.(string)
	h, also := have.(string)
	if !ok || !also {
		return false
	}
	a, errA := resource.ParseQuantity(w)
	b, errB := resource.ParseQuantity(h)
	return errA == nil && errB == nil && a.Cmp(b) == 0
}

// by names who was the last but us to change an object.
func by(live *object) string {
	who := ""
	var latest int64
	for _, f := range live.GetManagedFields() {
		if f.Manager == fieldManager || f.Manager == handover || f.Subresource != "" || f.Time == nil {
			continue
		}
		if at := f.Time.Unix(); at >= latest {
			who, latest = f.Manager, at
		}
	}
	if who == "" || strings.HasPrefix(who, "kube-controller-manager") {
		return ""
	}
	return ", last by " + who
}
