// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// differences compares two values of plain data by their JSON form, whose names
// are attribute names, and lists what differs as "path: seen -> wanted", sorted.
func differences(path string, seen, want any) []string {
	var all []string
	walk(path, plain(seen), plain(want), &all)
	sort.Strings(all)
	return all
}

func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic("specifications are plain data: " + err.Error())
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		panic("specifications are plain data: " + err.Error())
	}
	if list, ok := out.([]any); ok && len(list) == 0 {
		return nil
	}
	return out
}

func walk(path string, seen, want any, all *[]string) {
	s, sIsMap := seen.(map[string]any)
	w, wIsMap := want.(map[string]any)
	if (sIsMap || seen == nil) && (wIsMap || want == nil) && (sIsMap || wIsMap) {
		keys := map[string]bool{}
		for k := range s {
			keys[k] = true
		}
		for k := range w {
			keys[k] = true
		}
		for k := range keys {
			walk(join(path, k), s[k], w[k], all)
		}
		return
	}
	if !reflect.DeepEqual(seen, want) {
		*all = append(*all, fmt.Sprintf("%s: %s -> %s", path, show(seen), show(want)))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func show(v any) string {
	if v == nil {
		return "unset"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(string(data))
}

// Replaces lists the attributes that differ between two specifications and that
// only a new endpoint can have otherwise.
func (c *Cloud) Replaces(before, after *driver.EndpointSpec) []string {
	var all []string
	for _, path := range c.Features().Replace {
		was, is := lookup(plain(before.Settings), path), lookup(plain(after.Settings), path)
		_, wasObject := was.(map[string]any)
		_, isObject := is.(map[string]any)
		if (wasObject || isObject) && wasObject == isObject || after.Unknown.Has(path) {
			continue
		}
		if !reflect.DeepEqual(was, is) {
			all = append(all, path)
		}
	}
	return all
}

// ReplacesModel lists the attributes that differ between two specifications and that
// only a new model can have otherwise.
func (c *Cloud) ReplacesModel(before, after *driver.ModelSpec) []string {
	var all []string
	if c.Features().FixedModelKey && before.EncryptionKey != after.EncryptionKey && !after.Unknown.In("encryption") {
		all = append(all, "encryption.key")
	}
	if registryOf(before) != registryOf(after) && !after.Unknown.In("azure_ml") {
		all = append(all, "azure_ml.registry")
	}
	return all
}

func registryOf(s *driver.ModelSpec) string {
	if s.AzureML == nil {
		return ""
	}
	return s.AzureML.Registry
}

// lookup finds the value at a dotted path; nil if it is not there.
func lookup(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}
