// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// structural is the part of a structural schema that decides.
type structural struct {
	Type        string                 `json:"type"`
	Format      string                 `json:"format"`
	Properties  map[string]*structural `json:"properties"`
	Items       *structural            `json:"items"`
	Additional  *additional            `json:"additionalProperties"`
	Required    []string               `json:"required"`
	Enum        []any                  `json:"enum"`
	Pattern     string                 `json:"pattern"`
	Minimum     *float64               `json:"minimum"`
	Maximum     *float64               `json:"maximum"`
	MinLength   *int                   `json:"minLength"`
	MaxLength   *int                   `json:"maxLength"`
	MinItems    *int                   `json:"minItems"`
	MaxItems    *int                   `json:"maxItems"`
	Default     *any                   `json:"default"`
	Nullable    bool                   `json:"nullable"`
	IntOrString bool                   `json:"x-kubernetes-int-or-string"`
	Preserve    bool                   `json:"x-kubernetes-preserve-unknown-fields"`
	ListType    string                 `json:"x-kubernetes-list-type"`
	ListKeys    []string               `json:"x-kubernetes-list-map-keys"`
	AnyOf       []*structural          `json:"anyOf"`
	AllOf       []*structural          `json:"allOf"`

	compile sync.Once
	pattern *regexp.Regexp
}

// additional is a schema, or true.
type additional struct{ schema *structural }

// UnmarshalJSON reads a schema or a boolean.
func (a *additional) UnmarshalJSON(data []byte) error {
	if string(data) == "true" || string(data) == "false" {
		return nil
	}
	a.schema = &structural{}
	return json.Unmarshal(data, a.schema)
}

// child is the schema of a member, nil if there is none; known is false for a member
// that is not declared.
func (s *structural) child(name string) (child *structural, known bool) {
	if p := s.Properties[name]; p != nil {
		return p, true
	}
	if s.Additional != nil {
		return s.Additional.schema, true
	}
	return nil, s.Preserve
}

// prune drops members that are not declared, and returns their paths.
func (s *structural) prune(value any, path string) (dropped []string) {
	if s == nil {
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			child, known := s.child(name)
			if !known {
				dropped = append(dropped, join(path, name))
				delete(v, name)
				continue
			}
			dropped = append(dropped, child.prune(v[name], join(path, name))...)
		}
	case []any:
		for i, item := range v {
			dropped = append(dropped, s.Items.prune(item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return dropped
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fill sets defaults. A null where a default is declared counts as absent.
func (s *structural) fill(value any) {
	if s == nil {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for name, p := range s.Properties {
			if present, ok := v[name]; p.Default != nil && (!ok || present == nil && !p.Nullable) {
				v[name] = clone(*p.Default)
			}
		}
		for name, item := range v {
			child, _ := s.child(name)
			child.fill(item)
		}
	case []any:
		for _, item := range v {
			s.Items.fill(item)
		}
	}
}

func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, item := range v {
			m[name] = clone(item)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, item := range v {
			l[i] = clone(item)
		}
		return l
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return value
}

// validate checks a value, as the API server words it.
func (s *structural) validate(value any, path *field.Path) field.ErrorList {
	if s == nil || value == nil && s.Nullable {
		return nil
	}
	at := path.String()
	if !s.fits(value) {
		return field.ErrorList{field.TypeInvalid(path, typeOf(value), fmt.Sprintf("%s in body must be of type %s: %q", at, s.wanted(), typeOf(value)))}
	}
	var errs field.ErrorList
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e any) bool { return reflect.DeepEqual(clone(e), value) }) {
		valid := make([]string, 0, len(s.Enum))
		for _, e := range s.Enum {
			valid = append(valid, fmt.Sprint(e))
		}
		errs = append(errs, field.NotSupported(path, value, valid))
	}
	switch v := value.(type) {
	case map[string]any:
		errs = append(errs, s.validateObject(v, path)...)
	case []any:
		errs = append(errs, s.validateList(v, path)...)
	case string:
		errs = append(errs, s.validateString(v, path)...)
	case int64:
		errs = append(errs, s.validateNumber(float64(v), value, path)...)
	case float64:
		errs = append(errs, s.validateNumber(v, value, path)...)
	}
	return errs
}

func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case int64:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func (s *structural) wanted() string {
	if s.IntOrString {
		return "integer,string"
	}
	return s.Type
}

func (s *structural) fits(value any) bool {
	is := typeOf(value)
	switch {
	case s.IntOrString:
		return is == "integer" || is == "string"
	case s.Type == "", s.Type == is:
		return true
	case s.Type == "number":
		return is == "integer"
	case s.Type == "integer":
		f, ok := value.(float64)
		return ok && f == float64(int64(f))
	}
	return false
}

func (s *structural) validateObject(v map[string]any, path *field.Path) (errs field.ErrorList) {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			errs = append(errs, field.Required(child(path, name), ""))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		p := path.Key(name)
		if s.Properties[name] != nil {
			p = child(path, name)
		}
		sub, _ := s.child(name)
		errs = append(errs, sub.validate(v[name], p)...)
	}
	return errs
}

func child(path *field.Path, name string) *field.Path {
	if path == nil {
		return field.NewPath(name)
	}
	return path.Child(name)
}

func (s *structural) validateList(v []any, path *field.Path) (errs field.ErrorList) {
	if s.MaxItems != nil && len(v) > *s.MaxItems {
		errs = append(errs, field.TooMany(path, len(v), *s.MaxItems))
	}
	if s.MinItems != nil && len(v) < *s.MinItems {
		errs = append(errs, field.Invalid(path, len(v), fmt.Sprintf("%s in body should have at least %d items", path, *s.MinItems)))
	}
	seen := map[string]bool{}
	for i, item := range v {
		at := path.Index(i)
		errs = append(errs, s.Items.validate(item, at)...)
		if key, ok := s.key(item); ok {
			if seen[key] {
				errs = append(errs, field.Duplicate(at, keyed(item, s.ListKeys)))
			}
			seen[key] = true
		}
	}
	return errs
}

// key is what tells items of a set or map apart.
func (s *structural) key(item any) (string, bool) {
	switch s.ListType {
	case "set":
		return fmt.Sprint(item), true
	case "map":
		data, err := json.Marshal(keyed(item, s.ListKeys))
		return string(data), err == nil
	}
	return "", false
}

func keyed(item any, keys []string) any {
	m, ok := item.(map[string]any)
	if !ok {
		return item
	}
	part := map[string]any{}
	for _, k := range keys {
		if v, ok := m[k]; ok {
			part[k] = v
		}
	}
	return part
}

func (s *structural) validateString(v string, path *field.Path) (errs field.ErrorList) {
	n := utf8.RuneCountInString(v)
	if s.MaxLength != nil && n > *s.MaxLength {
		errs = append(errs, field.TooLong(path, v, *s.MaxLength))
	}
	if s.MinLength != nil && n < *s.MinLength {
		errs = append(errs, field.Invalid(path, v, fmt.Sprintf("%s in body should be at least %d chars long", path, *s.MinLength)))
	}
	if s.Pattern != "" {
		s.compile.Do(func() { s.pattern, _ = regexp.Compile(s.Pattern) }) // what Go cannot read is not checked
		if s.pattern != nil && !s.pattern.MatchString(v) {
			errs = append(errs, field.Invalid(path, v, fmt.Sprintf("%s in body should match '%s'", path, s.Pattern)))
		}
	}
	return errs
}

func (s *structural) validateNumber(v float64, value any, path *field.Path) (errs field.ErrorList) {
	if s.Maximum != nil && v > *s.Maximum {
		errs = append(errs, field.Invalid(path, value, fmt.Sprintf("%s in body should be less than or equal to %s", path, strconv.FormatFloat(*s.Maximum, 'f', -1, 64))))
	}
	if s.Minimum != nil && v < *s.Minimum {
		errs = append(errs, field.Invalid(path, value, fmt.Sprintf("%s in body should be greater than or equal to %s", path, strconv.FormatFloat(*s.Minimum, 'f', -1, 64))))
	}
	return errs
}
