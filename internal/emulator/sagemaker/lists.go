// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"sort"
	"strings"
)

// listing is what a list operation answers from.
type listing struct {
	items      []obj
	id         func(obj) string // unique among the items
	by         string           // member that the items are ordered by; "" is by id alone
	descending bool
	size       int // of a page when the request asks for none
	most       int // of a page, whatever the request asks for; 0 is no limit
	// keep drops items from a page that was cut without regard to it. So a
	// filtered page may be short, or empty, and still have a successor: AWS does so.
	keep func(obj) bool
}

// position is the last item of a page. A page begins with what comes after it,
// so that nothing is skipped when items vanish between two pages.
type position struct {
	Operation string
	Value     any
	ID        string
}

// page cuts a page for the request's NextToken and size.
func (r *request) page(l listing) (items []any, token any, err error) {
	size := l.size
	for _, name := range []string{"MaxResults", "MaxRecords"} {
		if n := int(r.in.num(name)); n > 0 {
			size = n
		}
	}
	if l.most > 0 {
		size = min(size, l.most)
	}
	sort.Slice(l.items, func(i, j int) bool { return l.before(l.at(l.items[i]), l.at(l.items[j])) })
	from := 0
	if r.in.has("NextToken") {
		after, err := r.position()
		if err != nil {
			return nil, nil, err
		}
		from = sort.Search(len(l.items), func(i int) bool { return l.before(after, l.at(l.items[i])) })
	}
	to := min(from+size, len(l.items))
	items = make([]any, 0, to-from)
	for _, item := range l.items[from:to] {
		if l.keep == nil || l.keep(item) {
			items = append(items, map[string]any(item))
		}
	}
	if to < len(l.items) {
		last := l.at(l.items[to-1])
		last.Operation = r.operation
		text, err := json.Marshal(last)
		return items, base64.RawURLEncoding.EncodeToString(text), err
	}
	return items, nil, nil
}

func (l *listing) at(item obj) position { return position{Value: item[l.by], ID: l.id(item)} }

func (l *listing) before(a, b position) bool {
	c := compare(a.Value, b.Value)
	if c == 0 {
		c = cmp.Compare(a.ID, b.ID)
	}
	if l.descending {
		return c > 0
	}
	return c < 0
}

func compare(a, b any) int {
	switch x := a.(type) {
	case float64:
		y, _ := b.(float64)
		return cmp.Compare(x, y)
	case string:
		y, _ := b.(string)
		return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
	}
	return 0
}

// position reads NextToken, which must be one of the same operation.
func (r *request) position() (position, error) {
	var p position
	text, err := base64.RawURLEncoding.DecodeString(r.in.str("NextToken"))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil && p.Operation == r.operation {
		return p, nil
	}
	code := map[string]string{"application-autoscaling": "InvalidNextTokenException", "monitoring": "InvalidNextToken"}[r.service]
	if code == "" {
		code = "ValidationException"
	}
	return p, &apiError{code, "Invalid NextToken", 400}
}

// member makes an identity of a member that is unique.
func member(name string) func(obj) string { return func(o obj) string { return o.str(name) } }

// summaries lists things of SageMaker: of every item the members in shown, for
// the filters and the order that SageMaker's lists share. kind is the common
// beginning of the members' names, "Endpoint".
func (r *request) summaries(kind string, all []obj, shown ...string) (items []any, token any, err error) {
	l := listing{id: member(kind + "Arn"), by: "CreationTime", size: 10, descending: true}
	for _, o := range all {
		l.items = append(l.items, o.only(shown...))
	}
	switch r.in.str("SortBy") {
	case "Name":
		l.by = kind + "Name"
	case "Status":
		l.by = kind + "Status"
	}
	if order := r.in.str("SortOrder"); order != "" {
		l.descending = order == "Descending"
	}
	part, status := strings.ToLower(r.in.str("NameContains")), r.in.str("StatusEquals")
	l.keep = func(o obj) bool {
		return strings.Contains(strings.ToLower(o.str(kind+"Name")), part) && (status == "" || status == o.str(kind+"Status")) &&
			r.within("CreationTime", o) && r.within("LastModifiedTime", o)
	}
	return r.page(l)
}

// within compares a time of o with the request's "…After" and "…Before".
func (r *request) within(name string, o obj) bool {
	at := o.num(name)
	return (!r.in.has(name+"After") || at > r.in.num(name+"After")) && (!r.in.has(name+"Before") || at < r.in.num(name+"Before"))
}
