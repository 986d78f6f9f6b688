// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	_ "cloud.google.com/go/aiplatform/apiv1/aiplatformpb" // the messages of v1, found by name
	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The versions of the API. Everything is kept and handled in the messages of the
// second, which has all fields of the first: requests of v1 are parsed by v1's
// messages and then translated, as answers are.
const (
	v1      = "v1"
	v1beta1 = "v1beta1"
)

const apiPackage = "google.cloud.aiplatform."

// in returns an empty message of the same name in a version of the API.
func in(m proto.Message, version string) (proto.Message, error) {
	name := string(m.ProtoReflect().Descriptor().FullName())
	rest, ok := strings.CutPrefix(name, apiPackage+v1beta1+".")
	if !ok || version == v1beta1 {
		return m.ProtoReflect().New().Interface(), nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(apiPackage + version + "." + rest))
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// translate turns a message into the one of the same name in another version. They
// have the same numbers on the wire; what the other does not know is dropped.
func translate(from, to proto.Message) error {
	data, err := proto.Marshal(from)
	if err != nil {
		return err
	}
	return proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, to)
}

// as is a message in a version of the API.
func as(m proto.Message, version string) (proto.Message, error) {
	to, err := in(m, version)
	if err != nil || version == v1beta1 {
		return m, err
	}
	return to, translate(m, to)
}

// decode parses a body strictly by the message of the request's version.
func (r *request) decode(into proto.Message) error {
	body, err := normalizeMasks(r.body)
	if err != nil {
		return invalid("Invalid JSON payload received. %s", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	typed, err := in(into, r.version)
	if err != nil {
		return err
	}
	var raw any
	if err := json.Unmarshal(body, &raw); err != nil {
		return invalid("Invalid JSON payload received. %s", err)
	}
	if field, path := unknown(raw, typed.ProtoReflect().Descriptor(), ""); field != "" {
		if path != "" {
			path = " at '" + path + "'"
		}
		return invalid("Invalid JSON payload received. Unknown name \"%s\"%s: Cannot find field.", field, path)
	}
	if err := protojson.Unmarshal(body, typed); err != nil {
		return invalid("Invalid JSON payload received. %s", strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:")))
	}
	if err := translate(typed, into); err != nil {
		return err
	}
	if r.version == v1beta1 {
		v1Logging(into)
	}
	return nil
}

// v1Logging says of a deployment in v1beta1's words what v1 would: there the logs
// of containers are off unless they are switched on.
func v1Logging(m proto.Message) {
	if deploy, ok := m.(*pb.DeployModelRequest); ok && deploy.GetDeployedModel() != nil {
		dm := deploy.GetDeployedModel()
		dm.DisableContainerLogging = !dm.GetEnableContainerLogging()
	}
}

// unknown finds a member that the message does not have, and where it is.
func unknown(value any, d protoreflect.MessageDescriptor, path string) (field, where string) {
	object, ok := value.(map[string]any)
	if !ok || strings.HasPrefix(string(d.FullName()), "google.protobuf.") || strings.HasPrefix(string(d.FullName()), "google.api.HttpBody") {
		return "", ""
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := d.Fields().ByJSONName(name)
		if f == nil {
			f = d.Fields().ByTextName(name)
		}
		if f == nil {
			return name, path
		}
		at := strings.TrimPrefix(path+"."+string(f.Name()), ".")
		if field, where = unknownIn(object[name], f, at); field != "" {
			return field, where
		}
	}
	return "", ""
}

func unknownIn(value any, f protoreflect.FieldDescriptor, at string) (field, where string) {
	switch {
	case f.IsMap():
		entries, _ := value.(map[string]any)
		if f.MapValue().Message() == nil {
			return "", ""
		}
		for key, entry := range entries {
			if field, where = unknown(entry, f.MapValue().Message(), at+"["+key+"]"); field != "" {
				return field, where
			}
		}
	case f.Message() == nil:
	case f.IsList():
		items, _ := value.([]any)
		for i, item := range items {
			if field, where = unknown(item, f.Message(), fmt.Sprintf("%s[%d]", at, i)); field != "" {
				return field, where
			}
		}
	default:
		return unknown(value, f.Message(), at)
	}
	return "", ""
}

// normalizeMasks makes of a field mask in a body what protobuf's JSON takes: the
// platform also takes an object with paths, and snake case.
func normalizeMasks(body []byte) ([]byte, error) {
	if !bytes.Contains(body, []byte("Mask")) && !bytes.Contains(body, []byte("_mask")) {
		return body, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	for _, name := range []string{"updateMask", "update_mask"} {
		if object[name] == nil {
			continue
		}
		var paths struct{ Paths []string }
		var text string
		if err := json.Unmarshal(object[name], &text); err != nil {
			if err := json.Unmarshal(object[name], &paths); err != nil {
				return nil, errors.New("Invalid value at 'update_mask'") //nolint:staticcheck // the platform's words
			}
			text = strings.Join(paths.Paths, ",")
		}
		normal, err := json.Marshal(camel(text))
		if err != nil {
			return nil, err
		}
		object[name] = normal
	}
	return json.Marshal(object)
}

var (
	underscored = regexp.MustCompile("_([a-z0-9])")
	capital     = regexp.MustCompile("[A-Z]")
)

func camel(s string) string {
	return underscored.ReplaceAllStringFunc(s, func(m string) string { return strings.ToUpper(m[1:]) })
}

func snake(s string) string {
	return capital.ReplaceAllStringFunc(s, func(m string) string { return "_" + strings.ToLower(m) })
}

// encode is an answer in JSON, in the messages of the request's version.
func (r *request) encode(m proto.Message) ([]byte, error) {
	typed, err := as(m, r.version)
	if err != nil {
		return nil, err
	}
	// The generated REST clients ask for numbers of enums.
	numbers := strings.Contains(r.query.Get("$alt"), "enum-encoding=int")
	data, err := protojson.MarshalOptions{UseEnumNumbers: numbers}.Marshal(typed)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson's spaces are random
	if err := json.Compact(&compact, data); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// mask reads the paths of a mask, in snake case.
func mask(text string) []string {
	var paths []string
	for path := range strings.SplitSeq(text, ",") {
		if path = snake(strings.TrimSpace(path)); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// keep drops everything of a message that a read mask does not name.
func keep(m protoreflect.Message, paths []string) {
	if len(paths) == 0 || slices.Contains(paths, "*") {
		return
	}
	below := map[string][]string{}
	for _, path := range paths {
		first, rest, _ := strings.Cut(path, ".")
		if rest == "" {
			rest = "*"
		}
		below[first] = append(below[first], rest)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch rest := below[string(f.Name())]; {
		case rest == nil:
			m.Clear(f)
		case f.Message() != nil && !f.IsMap() && !f.IsList():
			keep(v.Message(), rest)
		}
		return true
	})
}
