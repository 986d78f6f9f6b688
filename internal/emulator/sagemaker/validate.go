// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
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

	pattern *pattern // nil if there is none
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
				s.pattern = compile(s.Pattern)
			}
		}
	}
	return all
})

// pattern is a regular expression of a service model. They are Java's, and RE2
// has no look-around: what must not begin a value is an expression of its own.
type pattern struct{ must, mustNot *regexp.Regexp }

// lookAhead is a negative look-ahead at the very beginning.
var lookAhead = regexp.MustCompile(`^\(\?!((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*)\)`)

// toRE2 are the ways in which the models' expressions differ from RE2's.
var toRE2 = strings.NewReplacer(
	`\uD800\uDC00-\uDBFF\uDFFF`, `\x{10000}-\x{10FFFF}`, // a surrogate pair is one character here
	`\p{Print}`, `[[:print:]]`,
	`[a-zA-Z0-9]([a-zA-Z0-9-]){0,62})(?<!-)`, `[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)`,
	`*)${1,128}`, `*)`, `*)${1,256}`, `*)`, // lengths are checked by min and max
)

var (
	unicodeEscape = regexp.MustCompile(`\\u([0-9a-fA-F]{4})`)
	manyTimes     = regexp.MustCompile(`\{[01],\d{4,}\}`) // RE2 counts to 1000; max says the same
)

// compile panics on an expression that it cannot check: one must not pass as if
// it were fulfilled.
func compile(text string) *pattern {
	text = unicodeEscape.ReplaceAllString(toRE2.Replace(text), `\x{$1}`)
	text = manyTimes.ReplaceAllStringFunc(text, func(m string) string { return map[byte]string{'0': "*", '1': "+"}[m[1]] })
	p := &pattern{}
	if m := lookAhead.FindStringSubmatch(text); m != nil {
		text = strings.TrimPrefix(text, m[0])
		p.mustNot = regexp.MustCompile("^(?:" + m[1] + ")")
	}
	p.must = regexp.MustCompile("^(?:" + text + ")$") // holds for the whole value
	return p
}

func (p *pattern) match(text string) bool {
	return p == nil || (p.must.MatchString(text) && (p.mustNot == nil || !p.mustNot.MatchString(text)))
}

// validate checks a request against the service model, and words what it finds
// as AWS does: a member of another type cannot be read at all, everything else
// that is wrong is listed.
func validate(service, operation string, request obj) *apiError {
	m := models()[service]
	if m == nil || m.Operations[operation] == "" {
		return &apiError{"UnknownOperationException", "The requested operation is not recognized by the service.", 400}
	}
	v := &validator{model: m}
	v.check("", m.Operations[operation], map[string]any(request))
	if v.unreadable != "" {
		return &apiError{"SerializationException", v.unreadable, 400}
	}
	if len(v.found) == 0 {
		return nil
	}
	noun := "error"
	if len(v.found) > 1 {
		noun = "errors"
	}
	refusal := invalid("%d validation %s detected: %s", len(v.found), noun, strings.Join(v.found, "; "))
	if service == "monitoring" || service == "sts" { // the services that once spoke the query protocol
		refusal.Code = "ValidationError"
	}
	return refusal
}

type validator struct {
	model      *serviceModel
	found      []string
	unreadable string
}

func (v *validator) fail(path string, value any, constraint string) {
	v.found = append(v.found, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", show(value), path, constraint))
}

// show writes a value as AWS does.
func show(value any) string {
	if value == nil {
		return "null"
	}
	return "'" + plain(value) + "'"
}

func plain(value any) string {
	var parts []string
	switch x := value.(type) {
	case []any:
		for _, item := range x {
			parts = append(parts, plain(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(x)) {
			parts = append(parts, key+"="+plain(x[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

// check walks a value. A value of the wrong type is noted in unreadable.
func (v *validator) check(path, name string, value any) {
	s := v.model.Shapes[name]
	switch x := value.(type) {
	case map[string]any:
		switch s.Type {
		case "structure":
			v.structure(path, s, x)
		case "map":
			v.mapping(path, s, x)
		default:
			v.unreadable = "Start of structure or map found where not expected."
		}
	case []any:
		if s.Type != "list" {
			v.unreadable = "Start of list found where not expected"
			return
		}
		v.list(path, s, x)
	default:
		if v.readable(s, value) {
			for _, constraint := range s.broken(value) {
				v.fail(path, value, constraint)
			}
		}
	}
}

// kinds are the words for what JSON can hold, and for what a member wants.
var kinds = map[string]string{"string": "String", "integer": "Integer", "long": "Long", "float": "Float", "double": "Double", "boolean": "Boolean",
	"timestamp": "Date", "list": "List", "map": "Map", "structure": "Structure"}

func (v *validator) readable(s *shape, value any) bool {
	ok, token := false, "NULL_VALUE"
	switch x := value.(type) {
	case string:
		ok, token = s.Type == "string", "STRING_VALUE"
	case bool:
		ok, token = s.Type == "boolean", strings.ToUpper(strconv.FormatBool(x))+"_VALUE"
	case float64:
		token = "NUMBER_VALUE"
		switch s.Type {
		case "integer", "long":
			ok = x == math.Trunc(x)
		case "float", "double", "timestamp":
			ok = true
		}
	}
	if !ok {
		v.unreadable = token + " can not be converted to a " + kinds[s.Type]
	}
	return ok
}

func (v *validator) structure(path string, s *shape, members map[string]any) {
	for _, name := range s.Required {
		if members[name] == nil {
			v.fail(join(path, lower(name)), nil, "Member must not be null")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		// AWS ignores members that it does not know.
		if target, known := s.Members[name]; known && members[name] != nil {
			v.check(join(path, lower(name)), target, members[name])
		}
	}
}

func (v *validator) list(path string, s *shape, items []any) {
	for _, constraint := range s.length(len(items)) {
		v.fail(path, items, constraint)
	}
	element := v.model.Shapes[s.Element]
	broken := false
	for i, item := range items {
		switch item.(type) {
		case map[string]any, []any:
			v.check(fmt.Sprintf("%s.%d.member", path, i+1), s.Element, item)
		default:
			broken = v.readable(element, item) && len(element.broken(item)) > 0 || broken
		}
	}
	if broken {
		v.fail(path, items, "Member must satisfy constraint: ["+strings.Join(element.constraints(), ", ")+"]")
	}
}

func (v *validator) mapping(path string, s *shape, entries map[string]any) {
	for _, constraint := range s.length(len(entries)) {
		v.fail(path, entries, constraint)
	}
	key, value := v.model.Shapes[s.Key], v.model.Shapes[s.Value]
	brokenKey, brokenValue := false, false
	for k, item := range entries {
		brokenKey = len(key.broken(k)) > 0 || brokenKey
		if _, scalar := item.(string); scalar || item == nil {
			brokenValue = v.readable(value, item) && len(value.broken(item)) > 0 || brokenValue
		} else {
			v.check(path+"."+k+".member", s.Value, item)
		}
	}
	if brokenKey {
		v.fail(path, entries, "Map keys must satisfy constraint: ["+strings.Join(key.constraints(), ", ")+"]")
	}
	if brokenValue {
		v.fail(path, entries, "Map value must satisfy constraint: ["+strings.Join(value.constraints(), ", ")+"]")
	}
}

// broken are the constraints that a scalar does not satisfy.
func (s *shape) broken(value any) []string {
	switch x := value.(type) {
	case string:
		broken := s.length(utf8.RuneCountInString(x))
		if !s.pattern.match(x) {
			broken = append(broken, "Member must satisfy regular expression pattern: "+s.Pattern)
		}
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, x) {
			broken = append(broken, "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
		}
		return broken
	case float64:
		return s.bounds("value", x)
	}
	return nil
}

func (s *shape) length(n int) []string { return s.bounds("length", float64(n)) }

func (s *shape) bounds(what string, n float64) []string {
	var broken []string
	if s.Max != nil && n > *s.Max {
		broken = append(broken, fmt.Sprintf("Member must have %s less than or equal to %.0f", what, *s.Max))
	}
	if s.Min != nil && n < *s.Min {
		broken = append(broken, fmt.Sprintf("Member must have %s greater than or equal to %.0f", what, *s.Min))
	}
	return broken
}

// constraints are all constraints of a string.
func (s *shape) constraints() []string {
	all := s.bounds("length", math.Inf(1))
	all = append(all, s.bounds("length", math.Inf(-1))...)
	if s.Pattern != "" {
		all = append(all, "Member must satisfy regular expression pattern: "+s.Pattern)
	}
	if len(s.Enum) > 0 {
		all = append(all, "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
	}
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func lower(name string) string { return strings.ToLower(name[:1]) + name[1:] }
