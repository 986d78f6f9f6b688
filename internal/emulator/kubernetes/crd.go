// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

//go:generate go run crds/generate.go

//go:embed crds/definitions.json.gz
var packedDefinitions []byte

// definition is a custom resource's, as crds/generate.go writes it.
type definition struct {
	Group      string          `json:"group"`
	Version    string          `json:"version"`
	Plural     string          `json:"plural"`
	Singular   string          `json:"singular"`
	Kind       string          `json:"kind"`
	Cluster    bool            `json:"cluster"`
	Short      []string        `json:"short"`
	Categories []string        `json:"categories"`
	Status     bool            `json:"status"`
	Rules      bool            `json:"rules"` // has rules in CEL
	Columns    []printerColumn `json:"columns"`
	Schema     json.RawMessage `json:"schema"`

	once      sync.Once
	root      *structural
	converter managedfields.TypeConverter
	err       error
}

type printerColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Format   string `json:"format"`
	JSONPath string `json:"jsonPath"`
	Priority int32  `json:"priority"`
}

// customResources are read from the definitions once; their schemas when one is
// first used.
var customResources = sync.OnceValue(func() []*resource {
	var defs []*definition
	unzipped, err := gzip.NewReader(bytes.NewReader(packedDefinitions))
	if err == nil {
		var data []byte
		if data, err = io.ReadAll(unzipped); err == nil {
			err = json.Unmarshal(data, &defs)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("the embedded definitions are broken: %v", err))
	}
	found := make([]*resource, 0, len(defs))
	for _, d := range defs {
		found = append(found, &resource{group: d.Group, version: d.Version, plural: d.Plural, singular: d.Singular, kind: d.Kind, cluster: d.Cluster,
			status: d.Status, generation: true, short: d.Short, categories: d.Categories, crd: d})
	}
	return found
})

// load reads the schema.
func (d *definition) load() error {
	d.once.Do(func() {
		var root structural
		if d.err = json.Unmarshal(d.Schema, &root); d.err != nil {
			return
		}
		d.root = &root
		d.converter, d.err = d.typeConverter()
	})
	return d.err
}

// objectMeta are the list types that the server gives to every custom resource.
const objectMeta = `{"type":"object","properties":{"name":{"type":"string"},"generateName":{"type":"string"},"namespace":{"type":"string"},"selfLink":{"type":"string"},
"uid":{"type":"string"},"resourceVersion":{"type":"string"},"generation":{"type":"integer"},"creationTimestamp":{"type":"string"},"deletionTimestamp":{"type":"string"},
"deletionGracePeriodSeconds":{"type":"integer"},"labels":{"type":"object","additionalProperties":{"type":"string"}},
"annotations":{"type":"object","additionalProperties":{"type":"string"}},"finalizers":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"set"},
"ownerReferences":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["uid"],"items":{"type":"object","x-kubernetes-map-type":"atomic",
"properties":{"apiVersion":{"type":"string"},"kind":{"type":"string"},"name":{"type":"string"},"uid":{"type":"string"},"controller":{"type":"boolean"},"blockOwnerDeletion":{"type":"boolean"}}}},
"managedFields":{"type":"array","x-kubernetes-list-type":"atomic","items":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}`

// typeConverter tells the library of managed fields what the object is made of.
func (d *definition) typeConverter() (managedfields.TypeConverter, error) {
	var object, meta spec.Schema
	if err := json.Unmarshal(d.Schema, &object); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(objectMeta), &meta); err != nil {
		return nil, err
	}
	object.Properties["metadata"] = *spec.RefSchema("#/definitions/ObjectMeta")
	object.Properties["apiVersion"] = *spec.StringProperty()
	object.Properties["kind"] = *spec.StringProperty()
	object.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": d.Group, "version": d.Version, "kind": d.Kind}})
	return managedfields.NewTypeConverter(map[string]*spec.Schema{d.Kind: &object, "ObjectMeta": &meta}, false)
}

// plain converts nothing: a custom resource has one version here.
type plain struct{ runtime.ObjectConvertor }

func (plain) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

// maker makes empty objects of custom resources.
type maker struct{ r *resource }

func (m maker) New(schema.GroupVersionKind) (runtime.Object, error) { return m.r.empty(), nil }
