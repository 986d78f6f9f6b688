// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// asset is a version of a model, an environment, code or data.
type asset struct {
	ID         string
	Created    time.Time
	Changed    time.Time
	State      string
	Busy       string
	Properties map[string]any
}

// family is the container of an asset's versions.
type family struct {
	ID         string
	Created    time.Time
	Changed    time.Time
	Latest     string
	Next       int
	Properties map[string]any
}

// ready reports whether the asset is there, and a model of a type.
func (a *asset) ready(modelType string) bool {
	if a == nil {
		return false
	}
	is, _ := a.Properties["modelType"].(string)
	return same(is, modelType)
}

// assetKind is what differs between models, environments, code and data.
type assetKind struct {
	version   func(body []byte) (any, error) // reads one strictly
	container func(body []byte) (any, error)
	fixed     []string // what cannot be changed, beside the address
	address   string   // where it is stored; "" is nowhere
	check     func(r *request, p map[string]any) error
}

func read[T any](body []byte) (any, error) { return decode[T](body) }

var assetKinds = map[string]assetKind{
	"models": {read[ml.ModelVersion], read[ml.ModelContainer], []string{"modelType", "flavors", "jobName"}, "modelUri", checkModel},
	"environments": {read[ml.EnvironmentVersion], read[ml.EnvironmentContainer],
		[]string{"image", "condaFile", "build", "inferenceConfig", "osType", "autoRebuild"}, "", checkEnvironment},
	"codes": {read[ml.CodeVersion], read[ml.CodeContainer], nil, "codeUri", nil},
	"data":  {read[ml.DataVersionBase], read[ml.DataContainer], []string{"dataType"}, "dataUri", nil},
}

func assetRoutes() []*route {
	var all []*route
	for _, parent := range []string{"workspaces", "registries"} {
		for _, plural := range []string{"models", "environments", "codes", "data"} {
			family, version := strings.TrimSuffix(plural, "s")+"Containers.", strings.TrimSuffix(plural, "s")+"Versions."
			if parent == "registries" {
				family, version = "registry"+upper(family), "registry"+upper(version)
			}
			one := parent + "/*/" + plural
			all = append(all,
				&route{name: family + "createOrUpdate", pattern: "PUT " + one + "/*", handle: putFamily},
				&route{name: family + "get", pattern: "GET " + one + "/*", handle: getFamily},
				&route{name: family + "list", pattern: "GET " + one, handle: listFamilies, query: []string{"$skip", "count", "listViewType"}},
				&route{name: family + "delete", pattern: "DELETE " + one + "/*", handle: deleteFamily},
				&route{name: version + "createOrUpdate", pattern: "PUT " + one + "/*/versions/*", handle: putAsset},
				&route{name: version + "get", pattern: "GET " + one + "/*/versions/*", handle: getAsset},
				&route{name: version + "list", pattern: "GET " + one + "/*/versions", handle: listAssets, query: assetLists},
				&route{name: version + "delete", pattern: "DELETE " + one + "/*/versions/*", handle: deleteAsset},
				&route{name: version + "publish", pattern: "POST " + one + "/*/versions/*/publish", handle: publishAsset},
				&route{name: version + "createOrGetStartPendingUpload", pattern: "POST " + one + "/*/versions/*/startPendingUpload", handle: startUpload})
		}
	}
	return append(all, datastoreRoutes()...)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

var assetName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}$`)

func (r *request) assetKind() assetKind { return assetKinds[r.types[1]] }

// shared reports whether the request is to a registry, where writes take time.
func (r *request) shared() bool { return r.types[0] == "registries" }

func (r *request) loadAsset(key string) (*asset, error) {
	a := &asset{}
	found, err := r.tx.Get(kindAsset, key, a)
	if err != nil || !found {
		return nil, err
	}
	return a, nil
}

func (r *request) loadFamily(key string) (*family, error) {
	f := &family{}
	found, err := r.tx.Get(kindFamily, key, f)
	if err != nil || !found {
		return nil, err
	}
	return f, nil
}

func (a *asset) view() map[string]any {
	return assetView(a.ID, a.Properties, a.State, a.Created, a.Changed)
}

func assetView(id string, properties map[string]any, state string, created, changed time.Time) map[string]any {
	at, _ := parseID(id)
	p := map[string]any{}
	maps.Copy(p, properties)
	if p["provisioningState"] = state; state == "" {
		delete(p, "provisioningState")
	}
	return map[string]any{"id": id, "name": at.name(), "type": at.kind(), "properties": p, "systemData": systemData(created, changed)}
}

func (f *family) view() map[string]any {
	out := assetView(f.ID, f.Properties, "Succeeded", f.Created, f.Changed)
	p, _ := out["properties"].(map[string]any)
	p["nextVersion"] = strconv.Itoa(max(1, f.Next))
	if f.Latest != "" {
		p["latestVersion"] = f.Latest
	}
	return out
}

// propertiesOf are those of a request, with what all assets have.
func propertiesOf(in any) (map[string]any, error) {
	body, err := shown(in, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	p, is := body["properties"].(map[string]any)
	if !is {
		return nil, userError("The required property 'properties' is missing.")
	}
	for _, readOnly := range []string{"provisioningState", "latestVersion", "nextVersion", "environmentType"} {
		delete(p, readOnly)
	}
	for name, usual := range map[string]any{"tags": map[string]any{}, "properties": map[string]any{}, "isArchived": false} {
		if p[name] == nil {
			p[name] = usual
		}
	}
	return p, nil
}

func putAsset(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	k := r.assetKind()
	in, err := k.version(r.body)
	if err != nil {
		return nil, err
	}
	if !assetName.MatchString(r.names[1]) || !assetName.MatchString(r.names[2]) {
		return nil, userError("The name '%s' or the version '%s' of an asset is invalid.", r.names[1], r.names[2])
	}
	p, err := propertiesOf(in)
	if err != nil {
		return nil, err
	}
	if k.check != nil {
		if err := k.check(r, p); err != nil {
			return nil, err
		}
	}
	if k.address != "" {
		if err := r.readdress(p, k.address); err != nil {
			return nil, err
		}
	}
	old, err := r.loadAsset(r.key())
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := k.changeable(old.Properties, p); err != nil {
			return nil, err
		}
	}
	return r.putVersion(old, p)
}

// changeable refuses other content for a version, and keeps its properties.
func (k assetKind) changeable(is, p map[string]any) error {
	if k.address != "" && !sameURI(fmt.Sprint(is[k.address]), fmt.Sprint(p[k.address])) {
		return userError("Asset paths cannot be updated.")
	}
	for _, name := range k.fixed {
		a, err := json.Marshal(is[name])
		if err != nil {
			return err
		}
		b, err := json.Marshal(p[name])
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return userError("The property '%s' of an asset version cannot be updated.", name)
		}
	}
	old, _ := is["properties"].(map[string]any)
	now, _ := p["properties"].(map[string]any)
	for name, v := range old {
		if other, named := now[name]; named && other != v {
			return userError("The property '%s' of an asset version cannot be updated: properties can be added only.", name)
		}
		now[name] = v
	}
	return nil
}

func (r *request) putVersion(old *asset, p map[string]any) (*reply, error) {
	a, status := &asset{ID: r.id(), Created: r.now(), Changed: r.now(), Properties: p}, http.StatusCreated
	if old != nil {
		a.ID, a.Created, status = old.ID, old.Created, http.StatusOK
	}
	if !r.shared() {
		if err := r.saveAsset(a); err != nil {
			return nil, err
		}
		return &reply{status: status, body: a.view()}, nil
	}
	if old != nil {
		running, err := r.runningOn(old.Busy)
		if err != nil {
			return nil, err
		}
		if running != nil {
			return nil, conflict("Another operation on the asset %s is already running.", r.id())
		}
	}
	a.State = "Creating"
	if old != nil {
		a.State = "Updating"
	}
	o := &operation{Subject: a.ID, Location: defaultLocation}
	if err := r.start("registryAssets.createOrUpdate", o); err != nil {
		return nil, err
	}
	a.Busy = o.ID
	if err := r.saveAsset(a); err != nil {
		return nil, err
	}
	return r.accepted(status, a.view(), o), nil
}

func (r *request) saveAsset(a *asset) error {
	at, _ := parseID(a.ID)
	up := at.up(1)
	f, err := r.loadFamily(up.key())
	if err != nil {
		return err
	}
	if f == nil {
		f = &family{ID: up.id(), Created: a.Created, Changed: a.Created, Properties: map[string]any{"tags": map[string]any{}, "properties": map[string]any{}, "isArchived": false}}
	}
	if known, err := r.loadAsset(at.key()); err != nil || known == nil {
		if err != nil {
			return err
		}
		f.Latest = at.name()
		if n, err := strconv.Atoi(at.name()); err == nil && n >= f.Next {
			f.Next = n + 1
		}
	}
	if err := r.tx.Put(kindFamily, up.key(), f); err != nil {
		return err
	}
	return r.tx.Put(kindAsset, at.key(), a)
}

// assetFailed leaves what could not be written in a registry as failed, and what could
// not be deleted as it was.
func assetFailed(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	a, err := r.loadAsset(at.key())
	if err != nil || a == nil {
		return err
	}
	if a.Busy = ""; a.State == "Deleting" {
		a.State = "Succeeded"
	} else {
		a.State = "Failed"
	}
	return r.tx.Put(kindAsset, at.key(), a)
}

// assetWritten is the end of a write to a registry.
func assetWritten(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	a, err := r.loadAsset(at.key())
	if err != nil || a == nil {
		return err
	}
	a.State, a.Busy = "Succeeded", ""
	return r.tx.Put(kindAsset, at.key(), a)
}

func getAsset(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	a, err := r.loadAsset(r.key())
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, refuse(http.StatusNotFound, "UserError", "The specified asset %s:%s was not found in %s.", r.names[1], r.names[2], r.names[0])
	}
	return ok(a.view()), nil
}

func listAssets(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	size, err := r.limit("$top")
	if err != nil {
		return nil, err
	}
	return r.page(kindAsset, r.key()+"/", size, func(_ string, data []byte) (any, error) {
		a := &asset{}
		if err := json.Unmarshal(data, a); err != nil {
			return nil, err
		}
		at, _ := parseID(a.ID)
		if !r.viewed(a.Properties) || (r.query.Get("version") != "" && r.query.Get("version") != at.name()) || !taggedAny(a.Properties["tags"], r.query.Get("tags")) {
			return nil, nil
		}
		return a.view(), nil
	})
}

// viewed reports whether a list shows an asset, which it does not by default when that
// is archived.
func (r *request) viewed(p map[string]any) bool {
	archived, _ := p["isArchived"].(bool)
	switch r.query.Get("listViewType") {
	case "All":
		return true
	case "ArchivedOnly":
		return archived
	}
	return !archived
}

func taggedAny(tags any, filter string) bool {
	typed := map[string]*string{}
	own, _ := tags.(map[string]any)
	for name, v := range own {
		text, _ := v.(string)
		typed[name] = &text
	}
	return tagged(typed, filter)
}

func deleteAsset(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	a, err := r.loadAsset(r.key())
	if err != nil {
		return nil, err
	}
	if a == nil {
		return &reply{status: http.StatusNoContent}, nil
	}
	users, err := r.users(r.target)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, userError("The asset %s:%s cannot be deleted: it is used by %s.", r.names[1], r.names[2], strings.Join(users, ", "))
	}
	if !r.shared() {
		return &reply{status: http.StatusOK}, r.dropAsset(r.target)
	}
	o := &operation{Subject: a.ID, Location: defaultLocation}
	if err := r.start("registryAssets.delete", o); err != nil {
		return nil, err
	}
	a.State, a.Busy = "Deleting", o.ID
	if err := r.tx.Put(kindAsset, r.key(), a); err != nil {
		return nil, err
	}
	return r.accepted(http.StatusAccepted, nil, o), nil
}

func assetDeleted(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	return r.dropAsset(at)
}

// dropAsset removes a version. Its container stays, as does what is stored of it.
func (r *request) dropAsset(at target) error {
	if err := r.tx.Delete(kindAsset, at.key()); err != nil {
		return err
	}
	f, err := r.loadFamily(at.up(1).key())
	if err != nil || f == nil || f.Latest != at.name() {
		return err
	}
	f.Latest = ""
	var newest time.Time
	err = r.tx.Each(kindAsset, at.up(1).key()+"/", func(_ string, data []byte) error {
		a := &asset{}
		if err := json.Unmarshal(data, a); err != nil {
			return err
		}
		if f.Latest == "" || !a.Created.Before(newest) {
			other, _ := parseID(a.ID)
			f.Latest, newest = other.name(), a.Created
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.tx.Put(kindFamily, at.up(1).key(), f)
}

// users are the deployments that use an asset.
func (r *request) users(at target) (all []string, err error) {
	err = r.tx.Each(kindDeployment, "", func(_ string, data []byte) error {
		d := &deployment{}
		if err := json.Unmarshal(data, d); err != nil {
			return err
		}
		s := d.settings()
		names := []string{value(s.model), value(s.environment)}
		if s.code != nil {
			names = append(names, value(s.code.CodeID))
		}
		if slices.ContainsFunc(names, func(name string) bool { return refersTo(name, at) }) {
			own := d.at()
			all = append(all, "deployment "+own.name()+" of endpoint "+own.up(1).name())
		}
		return nil
	})
	return all, err
}
