// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
)

// mostPerPage is what a page has at most, and when nothing is asked for.
const mostPerPage = 100

// fieldOf is the value of a field for a filter; ok is false when it has none.
// "labels.k" is a label's.
type fieldOf[T any] func(item T, field string) (value string, ok bool)

// paged cuts the page that a request asks for. It is cut without regard to the
// filter: so a page may be short, or empty, and still have a successor.
func paged[T any](r *request, all []T, field fieldOf[T]) (page []T, next string, err error) {
	match, err := parseFilter(r.query.Get("filter"), listField)
	if err != nil {
		return nil, "", err
	}
	some, next, err := cut(r, all, mostPerPage, mostPerPage)
	for _, item := range some {
		if match(func(name string) (string, bool) { return field(item, name) }) {
			page = append(page, item)
		}
	}
	return page, next, err
}

// cut takes the page that a request asks for: so many unless it says how many, and
// never more than most.
func cut[T any](r *request, all []T, usual, most int) (page []T, next string, err error) {
	size, from := usual, 0
	if text := r.query.Get("pageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, "", invalid("Invalid value at 'page_size' (TYPE_INT32), \"%s\"", text)
		}
		if n > 0 {
			size = min(n, most)
		}
	}
	if token := r.query.Get("pageToken"); token != "" {
		data, err := base64.RawURLEncoding.DecodeString(token)
		text, ok := strings.CutPrefix(string(data), r.list()+" ")
		if err == nil && ok {
			from, err = strconv.Atoi(text)
		}
		if err != nil || !ok || from < 0 {
			return nil, "", invalid("Page token is invalid.")
		}
	}
	from = min(from, len(all))
	to := min(from+size, len(all))
	if to < len(all) {
		next = base64.RawURLEncoding.EncodeToString([]byte(r.list() + " " + strconv.Itoa(to)))
	}
	return all[from:to], next, nil
}

// list tells the list that is read from every other: a token of one is of no use for
// another, nor for the same list filtered or ordered differently.
func (r *request) list() string {
	h := fnv.New64a()
	_, path, located := strings.Cut(r.http.URL.Path, "/locations/")
	if !located {
		path = r.route.name
	}
	_, _ = fmt.Fprintf(h, "%s %q %q %q", r.Number, path, r.query.Get("filter"), r.query.Get("orderBy")) // never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// filter decides by the values of fields.
type filter func(value func(field string) (string, bool)) bool

// filterToken is one of a filter: a bracket, a comparison, a quoted text or a word.
var filterToken = regexp.MustCompile(`\s*(\(|\)|!=|=|:|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s()=:!"']+)`)

// filterParser reads the filters of lists: comparisons with =, != and : (has), joined
// by AND and OR, NOT before one, and brackets.
type filterParser struct {
	tokens []string
	at     int
	text   string
	field  func(string) (string, bool)
}

// parseFilter reads a filter of fields that field knows, by the name that it gives them.
func parseFilter(text string, field func(string) (string, bool)) (filter, error) {
	if strings.TrimSpace(text) == "" {
		return func(func(string) (string, bool)) bool { return true }, nil
	}
	p := &filterParser{text: text, field: field}
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := filterToken.FindStringSubmatchIndex(rest)
		if len(m) == 0 || m[0] != 0 {
			return nil, p.invalid()
		}
		p.tokens = append(p.tokens, rest[m[2]:m[3]])
		rest = rest[m[1]:]
	}
	f, err := p.any()
	if err == nil && p.at < len(p.tokens) {
		err = p.invalid()
	}
	return f, err
}

func (p *filterParser) invalid() error { return invalid("Invalid filter \"%s\".", p.text) }

func (p *filterParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *filterParser) next() string {
	t := p.peek()
	p.at++
	return t
}

func (p *filterParser) any() (filter, error) {
	f, err := p.all()
	for err == nil && p.peek() == "OR" {
		p.at++
		var g filter
		left := f
		if g, err = p.all(); err == nil {
			f = func(v func(string) (string, bool)) bool { return left(v) || g(v) }
		}
	}
	return f, err
}

func (p *filterParser) all() (filter, error) {
	f, err := p.one()
	for err == nil && p.peek() != "" && p.peek() != "OR" && p.peek() != ")" {
		if p.peek() == "AND" {
			p.at++
		}
		var g filter
		left := f
		if g, err = p.one(); err == nil {
			f = func(v func(string) (string, bool)) bool { return left(v) && g(v) }
		}
	}
	return f, err
}

func (p *filterParser) one() (filter, error) {
	switch t := p.next(); {
	case t == "NOT":
		f, err := p.one()
		return func(v func(string) (string, bool)) bool { return !f(v) }, err
	case t == "(":
		f, err := p.any()
		if err == nil && p.next() != ")" {
			err = p.invalid()
		}
		return f, err
	case strings.ContainsAny(t, `()=:!"'`), t == "", t == "AND", t == "OR":
		return nil, p.invalid()
	default:
		return p.comparison(t)
	}
}

// filterFields are those that lists can be filtered by, beside labels.
var filterFields = map[string]string{"endpoint": "endpoint", "model": "model", "display_name": "display_name", "displayName": "display_name",
	"base_model_name": "base_model_name", "done": "done"}

func listField(field string) (string, bool) {
	if key, label := strings.CutPrefix(field, "labels."); label {
		return "labels." + key, true
	}
	name, ok := filterFields[field]
	return name, ok
}

func (p *filterParser) comparison(field string) (filter, error) {
	name, ok := p.field(field)
	if field == "labels" && p.peek() == "." || field == "labels." { // labels."a key"
		return nil, p.invalid()
	}
	operator := p.next()
	value := p.next()
	if field == "labels" && operator == ":" { // labels:key
		return func(v func(string) (string, bool)) bool {
			_, has := v("labels." + unquote(value))
			return has
		}, nil
	}
	if !ok || value == "" {
		return nil, p.invalid()
	}
	want := unquote(value)
	switch operator {
	case "=":
		return func(v func(string) (string, bool)) bool {
			got, _ := v(name)
			return got == want
		}, nil
	case "!=":
		return func(v func(string) (string, bool)) bool {
			got, _ := v(name)
			return got != want
		}, nil
	case ":":
		return func(v func(string) (string, bool)) bool {
			got, has := v(name)
			return has && (want == "*" || got == want)
		}, nil
	}
	return nil, p.invalid()
}

func unquote(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return strings.Trim(text, `"'`)
}

// order reads orderBy: a field of those, and whether it descends.
func (r *request) order(fields ...string) (by string, descending bool, err error) {
	text := strings.TrimSpace(r.query.Get("orderBy"))
	if text == "" {
		return "", false, nil
	}
	by, direction, _ := strings.Cut(text, " ")
	by, direction = snake(by), strings.ToLower(strings.TrimSpace(direction))
	for _, f := range fields {
		if f == by && (direction == "" || direction == "asc" || direction == "desc") {
			return by, direction == "desc", nil
		}
	}
	return "", false, invalid("Invalid order by \"%s\".", text)
}
