// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package parity

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

func text(m map[string]any, path ...string) string {
	s, _ := at(m, path).(string)
	return s
}

func number(m map[string]any, path ...string) float64 {
	n, _ := at(m, path).(float64)
	return n
}

func at(m map[string]any, path []string) any {
	var v any = m
	for _, name := range path {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

var (
	uids     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	stamps   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	patches  = regexp.MustCompile(`"\{.*\}": json:`) // the whole object, as each server writes it
	records  = regexp.MustCompile(`in record \(\d+\)`)
	currents = regexp.MustCompile(`current: \d+`)
	goValues = regexp.MustCompile(`v1\.[A-Za-z]+\{.*\}`) // how Go prints a value that is not allowed
)

// normal takes out of a text what differs from run to run.
func (r *runner) normal(s string) string {
	s = uids.ReplaceAllString(s, "UID")
	s = stamps.ReplaceAllString(s, "TIME")
	s = patches.ReplaceAllString(s, "PATCH: json:")
	s = currents.ReplaceAllString(s, "current: N")
	s = records.ReplaceAllString(s, "in record (N)")
	s = goValues.ReplaceAllString(s, "VALUE")
	s = strings.ReplaceAll(s, r.ns, "NS")
	s = regexp.MustCompile(`\b`+r.name+`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`).ReplaceAllString(s, "NAME-RANDOM")
	return regexp.MustCompile(`\b`+r.name+`\b`).ReplaceAllString(s, "NAME")
}

// object keeps of an object what another server should have too.
func (r *runner) object(o map[string]any) any {
	data, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	var kept map[string]any
	if json.Unmarshal([]byte(r.normal(string(data))), &kept) != nil {
		return nil
	}
	tidy(kept)
	return kept
}

// tidy drops what a server makes up, and what its controllers write in their own time.
func tidy(o map[string]any) {
	if items, ok := o["items"].([]any); ok {
		for _, i := range items {
			if i, ok := i.(map[string]any); ok {
				tidy(i)
			}
		}
	}
	metadata, _ := o["metadata"].(map[string]any)
	for _, name := range []string{"resourceVersion", "uid", "creationTimestamp", "selfLink"} {
		delete(metadata, name)
	}
	if metadata["deletionTimestamp"] != nil {
		metadata["deletionTimestamp"] = "TIME"
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, "deployment.kubernetes.io/revision")
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	tidyFields(metadata)
	if spec, ok := o["spec"].(map[string]any); ok && o["kind"] == "Service" && spec["clusterIP"] != nil && spec["clusterIP"] != "None" {
		spec["clusterIP"], spec["clusterIPs"] = "IP", "IP"
	}
	switch o["kind"] {
	case "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "HTTPRoute", "InferenceService", "Scale":
		delete(o, "status")
	case "Pod":
		delete(o, "status")
		tidyPod(o)
	}
	prune(o)
}

// tidyFields keeps who applied what; controllers write when they get to it.
func tidyFields(metadata map[string]any) {
	fields, _ := metadata["managedFields"].([]any)
	var kept []any
	for _, f := range fields {
		f, ok := f.(map[string]any)
		if !ok || f["subresource"] == "status" || f["manager"] == "kube-controller-manager" || f["manager"] == "manager" {
			continue
		}
		delete(f, "time")
		kept = append(kept, f)
	}
	delete(metadata, "managedFields")
	if len(kept) > 0 {
		metadata["managedFields"] = kept
	}
}

// tidyPod gives the token's volume one name.
func tidyPod(o map[string]any) {
	metadata, _ := o["metadata"].(map[string]any)
	delete(metadata, "generateName")
	delete(metadata, "name")
	data, err := json.Marshal(o["spec"])
	if err != nil {
		return
	}
	var spec map[string]any
	if json.Unmarshal(regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`).ReplaceAll(data, []byte("kube-api-access")), &spec) == nil {
		o["spec"] = spec
	}
}

// prune drops nulls and what is empty, which servers of different versions write or
// leave out.
func prune(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		if l, ok := v.([]any); ok {
			for _, i := range l {
				prune(i)
			}
		}
		return
	}
	for name, item := range m {
		if name == "managedFields" {
			continue
		}
		prune(item)
		if item == nil {
			delete(m, name)
		}
		if o, ok := item.(map[string]any); ok && len(o) == 0 && (name == "status" || name == "creationTimestamp" || name == "resources" || name == "loadBalancer") {
			delete(m, name)
		}
	}
}

// flatten writes a result as lines by path.
func flatten(r Result) map[string]string {
	data, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	var m any
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	lines := map[string]string{}
	spread(m, "", lines)
	return lines
}

func spread(v any, path string, lines map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			lines[path] = "{}"
		}
		for name, item := range v {
			spread(item, path+"."+name, lines)
		}
	case []any:
		for i, item := range v {
			spread(item, fmt.Sprintf("%s[%d]", path, i), lines)
		}
	default:
		lines[path] = fmt.Sprint(v)
	}
}

func union(a, b map[string]string) []string {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}
