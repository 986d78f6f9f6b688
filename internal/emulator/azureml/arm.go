// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The resource providers that are served.
const (
	machineLearning = "Microsoft.MachineLearningServices"
	insights        = "Microsoft.Insights"
	authorization   = "Microsoft.Authorization"
)

// target is what the path of a request names.
type target struct {
	scope     string // what stands before the last "/providers/"
	sub       string
	group     string
	namespace string   // of the resource provider
	types     []string // "workspaces", "onlineEndpoints", as the API spells them
	names     []string // one for each type, or one less
}

// id is the resource's id, as the caller spells its names.
func (t target) id() string { return t.scope + "/providers/" + t.relative() }

// relative is the id without its scope.
func (t target) relative() string {
	var b strings.Builder
	b.WriteString(t.namespace)
	for i, name := range t.types {
		b.WriteString("/" + name)
		if i < len(t.names) {
			b.WriteString("/" + t.names[i])
		}
	}
	return b.String()
}

// key is the same for all spellings of an id.
func (t target) key() string { return strings.ToLower(t.id()) }

// kind is the full type, "Microsoft.MachineLearningServices/workspaces/models".
func (t target) kind() string { return t.namespace + "/" + strings.Join(t.types, "/") }

// name is the last one.
func (t target) name() string { return t.names[len(t.names)-1] }

// up is the resource that this one is a child of, n levels up.
func (t target) up(n int) target {
	t.types = t.types[:len(t.names)-n]
	t.names = t.names[:len(t.names)-n]
	return t
}

// child is a resource below this one.
func (t target) child(kind, name string) target {
	t.types = append(slices.Clone(t.types[:len(t.names)]), kind)
	t.names = append(slices.Clone(t.names), name)
	return t
}

// parseID takes an id apart; ok is false if it is not one of a resource.
func parseID(id string) (t target, ok bool) {
	const providers = "/providers/"
	at := strings.LastIndex(strings.ToLower(id), providers)
	if at < 0 {
		return t, false
	}
	t.scope = id[:at]
	parts := strings.Split(id[at+len(providers):], "/")
	t.namespace = parts[0]
	for i, part := range parts[1:] {
		if part == "" {
			return t, false
		}
		if i%2 == 0 {
			t.types = append(t.types, part)
		} else {
			t.names = append(t.names, part)
		}
	}
	if m := scopePattern.FindStringSubmatch(t.scope); m != nil {
		t.sub, t.group = m[1], m[2]
	}
	return t, len(t.types) > 0
}

var scopePattern = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)(?:/resourceGroups/([^/]+))?`)

// same reports whether two ids, or other names that Azure compares without case, are
// the same.
func same(a, b string) bool { return strings.EqualFold(strings.Trim(a, "/"), strings.Trim(b, "/")) }

// decode reads a request's body into the type of the client library. What that type
// does not know is refused, as is what is of another type.
func decode[T any](body []byte) (*T, error) {
	in := new(T)
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	if !json.Valid(body) {
		return nil, refuse(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: it is not JSON.")
	}
	if err := json.Unmarshal(body, in); err != nil {
		return nil, refuse(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '%s'.", err)
	}
	again, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	var sent, known any
	if err := json.Unmarshal(body, &sent); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(again, &known); err != nil {
		return nil, err
	}
	if path := unknown(sent, known, ""); path != "" {
		name := path[strings.LastIndex(path, ".")+1:]
		return nil, nested("ValidationError", "Could not find member '%s' on object of type '%s'. Path '%s'.", name, typeName(in), strings.TrimPrefix(path, "."))
	}
	return in, nil
}

func typeName(v any) string {
	full := fmt.Sprintf("%T", v)
	return full[strings.LastIndex(full, ".")+1:]
}

// unknown is the path of the first member that was sent and is not known; null says
// nothing.
func unknown(sent, known any, path string) string {
	switch s := sent.(type) {
	case map[string]any:
		k, _ := known.(map[string]any)
		for _, name := range sortedKeys(s) {
			if s[name] == nil {
				continue
			}
			v, is := k[name]
			if !is {
				return path + "." + name
			}
			if p := unknown(s[name], v, path+"."+name); p != "" {
				return p
			}
		}
	case []any:
		k, _ := known.([]any)
		for i := range s {
			if i < len(k) {
				if p := unknown(s[i], k[i], path+"["+strconv.Itoa(i)+"]"); p != "" {
					return p
				}
			}
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// value is what a pointer points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

var durationPattern = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// duration reads an ISO 8601 duration of days and less.
func duration(text string) (time.Duration, bool) {
	m := durationPattern.FindStringSubmatch(text)
	if m == nil || strings.HasSuffix(text, "P") || strings.HasSuffix(text, "T") {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] != "" {
			n, _ := strconv.ParseFloat(m[i+1], 64) // digits
			d += time.Duration(n * float64(unit))
		}
	}
	return d, true
}

// isoDuration writes a duration as the platform does, in the largest units: what was
// sent as PT60S is read as PT1M.
func isoDuration(d time.Duration) string {
	if d == 0 {
		return "PT0S"
	}
	text := "P"
	if days := d / (24 * time.Hour); days > 0 {
		text += fmt.Sprint(int(days)) + "D"
		d %= 24 * time.Hour
	}
	if d == 0 {
		return text
	}
	text += "T"
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "H"}, {time.Minute, "M"}} {
		if n := d / u.unit; n > 0 {
			text += fmt.Sprint(int(n)) + u.name
			d %= u.unit
		}
	}
	if d > 0 {
		text += strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "S"
	}
	return text
}

// guid makes a UUID of a text, always the same.
func guid(text string) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(text)) // never fails
	b := h.Sum(nil)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// systemData says who made a resource, and when.
func systemData(created, changed time.Time) map[string]any {
	who := map[string]any{"createdBy": "rehearsal", "createdByType": "User", "lastModifiedBy": "rehearsal", "lastModifiedByType": "User"}
	who["createdAt"], who["lastModifiedAt"] = created.Format(time.RFC3339Nano), changed.Format(time.RFC3339Nano)
	return who
}

// defaultPage is how many resources a page has when the caller does not say.
const defaultPage = 30

// page lists the documents of a kind below a prefix, from where $skip says. show makes
// what is listed of one; nil leaves it out.
func (r *request) page(kind, prefix string, size int, show func(key string, data []byte) (any, error)) (*reply, error) {
	after, err := base64.RawURLEncoding.DecodeString(r.query.Get("$skip"))
	if err != nil {
		return nil, badRequest("The continuation token is malformed.")
	}
	if size <= 0 {
		size = defaultPage
	}
	keys, err := r.tx.Keys(kind, prefix, string(after), 0)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"value": []any{}}
	values, last := []any{}, ""
	for _, key := range keys {
		data, err := r.tx.Raw(kind, key)
		if err != nil {
			return nil, err
		}
		one, err := show(key, data)
		if err != nil {
			return nil, err
		}
		if one == nil {
			continue
		}
		if len(values) == size {
			out["nextLink"] = r.nextLink(last)
			break
		}
		values, last = append(values, one), key
	}
	out["value"] = values
	return ok(out), nil
}

func (r *request) nextLink(last string) string {
	query := url.Values{}
	maps.Copy(query, r.query)
	query.Set("$skip", base64.RawURLEncoding.EncodeToString([]byte(last)))
	return r.base() + r.http.URL.EscapedPath() + "?" + query.Encode()
}

// base is the address of this server, as the caller knows it.
func (r *request) base() string { return "http://" + r.http.Host }

// limit is a page size that a query asks for; 0 is none.
func (r *request) limit(name string) (int, error) {
	text := r.query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, badRequest("The value '%s' is not valid for '%s'.", text, name)
	}
	return n, nil
}
