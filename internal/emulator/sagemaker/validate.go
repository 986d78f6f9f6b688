// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
)

// constraintsGZ is made by model/generate.py from the published service models.
//
//go:embed model/constraints.json.gz
var constraintsGZ []byte

// shape is a type of a service model with its constraints.
type shape struct {
	Type     string            `json:"t"`
	Min      *float64          `json:"min"`
	Max      *float64          `json:"max"`
	Pattern  string            `json:"pattern"`
	Enum     []string          `json:"enum"`
	Required []string          `json:"r"`
	Members  map[string]string `json:"m"`
	Element  string            `json:"e"`
	Key      string            `json:"k"`
	Value    string            `json:"v"`

	pattern *regexp.Regexp // nil if there is none, or none that RE2 can express
}

// serviceModel is one API's operations and types.
type serviceModel struct {
	Operations map[string]string `json:"operations"` // the input's shape
	Outputs    map[string]string `json:"outputs"`    // the output's shape, if it has one
	Shapes     map[string]*shape `json:"shapes"`
}

var models = sync.OnceValue(func() map[string]*serviceModel {
	z, err := gzip.NewReader(bytes.NewReader(constraintsGZ))
	if err != nil {
		panic("the embedded service models: " + err.Error())
	}
	var all map[string]*serviceModel
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		panic("the embedded service models: " + err.Error())
	}
	for _, m := range all {
		for _, s := range m.Shapes {
			if s.Pattern != "" {
				// A pattern holds for the whole value. Look-ahead, which RE2 lacks, is left unchecked.
				s.pattern, _ = regexp.Compile("^(?:" + s.Pattern + ")$")
			}
		}
	}
	return all
})

// validate checks a request against the service model, and words what it finds
// as AWS does.
func validate(service, operation string, request obj) *apiError {
	m := models()[service]
	name, ok := m.Operations[operation]
	if !ok {
		return &apiError{"UnknownOperationException", "The requested operation is not recognized by the service.", 400}
	}
	v := &validator{model: m}
	v.check("", name, map[string]any(request))
	if len(v.found) == 0 {
		return nil
	}
	noun := "error"
	if len(v.found) > 1 {
		noun = "errors"
	}
	return invalid("%d validation %s detected: %s", len(v.found), noun, strings.Join(v.found, "; "))
}

type validator struct {
	model *serviceModel
	found []string
}

func (v *validator) fail(path string, value any, constraint string) {
	text := "null"
	if value != nil {
		text = fmt.Sprintf("'%v'", value)
	}
	v.found = append(v.found, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", text, path, constraint))
}

func (v *validator) check(path, name string, value any) {
	s := v.model.Shapes[name]
	switch s.Type {
	case "structure":
		v.structure(path, s, value)
	case "list":
		v.list(path, s, value)
	case "map":
		v.mapping(path, s, value)
	case "string":
		v.text(path, s, value)
	case "integer", "long", "float", "double":
		v.number(path, s, value)
	case "boolean":
		if _, ok := value.(bool); !ok {
			v.fail(path, value, "Member must be a boolean")
		}
	}
}

func (v *validator) structure(path string, s *shape, value any) {
	members, ok := value.(map[string]any)
	if !ok {
		v.fail(path, value, "Member must be a structure")
		return
	}
	for _, name := range s.Required {
		if members[name] == nil {
			v.fail(join(path, lower(name)), nil, "Member must not be null")
		}
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		// AWS ignores members that it does not know.
		if target, known := s.Members[name]; known && members[name] != nil {
			v.check(join(path, lower(name)), target, members[name])
		}
	}
}

func (v *validator) list(path string, s *shape, value any) {
	items, ok := value.([]any)
	if !ok {
		v.fail(path, value, "Member must be a list")
		return
	}
	v.length(path, s, value, len(items))
	for i, item := range items {
		v.check(fmt.Sprintf("%s.%d.member", path, i+1), s.Element, item)
	}
}

func (v *validator) mapping(path string, s *shape, value any) {
	entries, ok := value.(map[string]any)
	if !ok {
		v.fail(path, value, "Member must be a map")
		return
	}
	v.length(path, s, value, len(entries))
	for key, item := range entries {
		v.check(path+"."+key+".key", s.Key, key)
		v.check(path+"."+key+".value", s.Value, item)
	}
}

func (v *validator) length(path string, s *shape, value any, n int) {
	if s.Min != nil && float64(n) < *s.Min {
		v.fail(path, value, fmt.Sprintf("Member must have length greater than or equal to %g", *s.Min))
	}
	if s.Max != nil && float64(n) > *s.Max {
		v.fail(path, value, fmt.Sprintf("Member must have length less than or equal to %g", *s.Max))
	}
}

func (v *validator) text(path string, s *shape, value any) {
	text, ok := value.(string)
	if !ok {
		v.fail(path, value, "Member must be a string")
		return
	}
	v.length(path, s, value, utf8.RuneCountInString(text))
	if s.pattern != nil && !s.pattern.MatchString(text) {
		v.fail(path, value, "Member must satisfy regular expression pattern: "+s.Pattern)
	}
	if len(s.Enum) > 0 {
		for _, allowed := range s.Enum {
			if text == allowed {
				return
			}
		}
		v.fail(path, value, "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
	}
}

func (v *validator) number(path string, s *shape, value any) {
	n, ok := value.(float64)
	if !ok {
		v.fail(path, value, "Member must be a number")
		return
	}
	if s.Min != nil && n < *s.Min {
		v.fail(path, value, fmt.Sprintf("Member must have value greater than or equal to %g", *s.Min))
	}
	if s.Max != nil && n > *s.Max {
		v.fail(path, value, fmt.Sprintf("Member must have value less than or equal to %g", *s.Max))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func lower(name string) string { return strings.ToLower(name[:1]) + name[1:] }
