// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"regexp"
	"slices"
	"strings"
)

// filter are the conditions on the dimensions of a metric, each of another one.
type filter []condition

// condition is what a dimension has to be. Values are compared without case.
type condition struct {
	dimension string
	is        []string // one of them; "*" is any
	not       []string
}

// conditionForm is one of a $filter: "deployment eq 'blue'".
var (
	conditionForm = regexp.MustCompile(`^(?i)(\w+)\s+(eq|ne)\s+'([^']*)'$`)
	conjunctions  = regexp.MustCompile(`(?i)\s+and\s+`)
	alternatives  = regexp.MustCompile(`(?i)\s+or\s+`)
)

// filtered reads a $filter: "deployment eq 'blue' and statusCode eq '*'". An "or" stands
// between values of one dimension only.
func filtered(text string) (filter, error) {
	var f filter
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for _, part := range conjunctions.Split(strings.TrimSpace(text), -1) {
		var c condition
		for _, one := range alternatives.Split(part, -1) {
			m := conditionForm.FindStringSubmatch(strings.TrimSpace(one))
			if len(m) == 0 || c.dimension != "" && !strings.EqualFold(c.dimension, m[1]) {
				return nil, invalidMetrics("The $filter '%s' is not valid.", text)
			}
			c.dimension = m[1]
			if strings.EqualFold(m[2], "eq") {
				c.is = append(c.is, m[3])
			} else {
				c.not = append(c.not, m[3])
			}
		}
		f = append(f, c)
	}
	return f, nil
}

// of is the filter of one metric, in the spelling of its dimensions. Those that it does not
// have are refused, or left out.
func (f filter) of(name string, m metric, lenient bool) (filter, error) {
	var own filter
	for _, c := range f {
		i := slices.IndexFunc(m.dimensions, func(known string) bool { return strings.EqualFold(known, c.dimension) })
		if i < 0 {
			if lenient {
				continue
			}
			return nil, invalidMetrics("Metric: %s does not support requested dimension combination: %s, supported ones are: %s", name, strings.ToLower(c.dimension), strings.Join(m.dimensions, ","))
		}
		c.dimension = m.dimensions[i]
		own = append(own, c)
	}
	return own, nil
}

// admits reports whether what has these dimensions is meant.
func (f filter) admits(labels map[string]string) bool {
	for _, c := range f {
		same := func(v string) bool { return v == "*" || strings.EqualFold(v, labels[c.dimension]) }
		if len(c.is) > 0 && !slices.ContainsFunc(c.is, same) || slices.ContainsFunc(c.not, same) {
			return false
		}
	}
	return true
}

// kept are the dimensions that the filter names: only those are told apart.
func (f filter) kept(labels map[string]string) map[string]string {
	own := map[string]string{}
	for _, c := range f {
		own[c.dimension] = labels[c.dimension]
	}
	return own
}
