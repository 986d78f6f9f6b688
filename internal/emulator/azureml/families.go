// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

func putFamily(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	in, err := r.assetKind().container(r.body)
	if err != nil {
		return nil, err
	}
	if !assetName.MatchString(r.names[1]) {
		return nil, userError("The name '%s' of an asset is invalid.", r.names[1])
	}
	p, err := propertiesOf(in)
	if err != nil {
		return nil, err
	}
	old, err := r.loadFamily(r.key())
	if err != nil {
		return nil, err
	}
	f, status := &family{ID: r.id(), Created: r.now(), Changed: r.now(), Properties: p}, http.StatusCreated
	if old != nil {
		f.ID, f.Created, f.Latest, f.Next, status = old.ID, old.Created, old.Latest, old.Next, http.StatusOK
	}
	if err := r.tx.Put(kindFamily, r.key(), f); err != nil {
		return nil, err
	}
	return &reply{status: status, body: f.view()}, nil
}

func getFamily(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	f, err := r.loadFamily(r.key())
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, refuse(http.StatusNotFound, "UserError", "The specified asset container %s was not found in %s.", r.names[1], r.names[0])
	}
	return ok(f.view()), nil
}

func listFamilies(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	size, err := r.limit("count")
	if err != nil {
		return nil, err
	}
	return r.page(kindFamily, r.key()+"/", size, func(_ string, data []byte) (any, error) {
		f := &family{}
		if err := json.Unmarshal(data, f); err != nil || !r.viewed(f.Properties) {
			return nil, err
		}
		return f.view(), nil
	})
}

func deleteFamily(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	f, err := r.loadFamily(r.key())
	if err != nil {
		return nil, err
	}
	if f == nil {
		return &reply{status: http.StatusNoContent}, nil
	}
	versions, err := r.prefixed(kindAsset, r.key()+"/")
	if err != nil {
		return nil, err
	}
	if len(versions) > 0 {
		return nil, userError("The asset container %s cannot be deleted: it has %d versions.", r.names[1], len(versions))
	}
	return &reply{status: http.StatusOK}, r.tx.Delete(kindFamily, r.key())
}

var modelTypes = []string{"custom_model", "mlflow_model", "triton_model"}

func checkModel(_ *request, p map[string]any) error {
	modelType, _ := p["modelType"].(string)
	if modelType == "" {
		modelType = modelTypes[0]
	}
	if !slices.ContainsFunc(modelTypes, func(known string) bool { return same(known, modelType) }) {
		return userError("The modelType '%s' is not one of %s.", modelType, strings.Join(modelTypes, ", "))
	}
	p["modelType"] = modelType
	return nil
}

func checkEnvironment(_ *request, p map[string]any) error {
	image, _ := p["image"].(string)
	conda, _ := p["condaFile"].(string)
	switch {
	case (image == "") == (p["build"] == nil):
		return userError("An environment needs either an image or a build context.")
	case conda != "" && image == "":
		return userError("A condaFile needs an image.")
	}
	for name, usual := range map[string]any{"osType": string(ml.OperatingSystemTypeLinux), "autoRebuild": string(ml.AutoRebuildSettingDisabled), "isAnonymous": false} {
		if p[name] == nil {
			p[name] = usual
		}
	}
	if !slices.Contains(ml.PossibleOperatingSystemTypeValues(), ml.OperatingSystemType(fmt.Sprint(p["osType"]))) {
		return userError("The osType '%v' is not valid.", p["osType"])
	}
	inference, _ := p["inferenceConfig"].(map[string]any)
	for name, v := range inference {
		route, _ := v.(map[string]any)
		path, _ := route["path"].(string)
		port, _ := route["port"].(float64)
		if !strings.HasPrefix(path, "/") || port < 1 || port > 65535 {
			return userError("The route inferenceConfig.%s needs a path that begins with '/', and a port.", name)
		}
	}
	return nil
}

// curated is the registry of the platform's own environments.
const curated = "azureml"

// referenced finds the asset that a deployment names, nil for "" and for a curated
// environment: by its id, or as azureml://registries/R/models/M/versions/V.
func (r *request) referenced(plural, name string) (*asset, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // none
	}
	missing := nested("BadArgument", "The asset %s was not found, or is not one of %s.", name, plural)
	if path, is := strings.CutPrefix(name, "azureml://registries/"); is {
		parts := strings.Split(path, "/")
		if len(parts) != 5 || !same(parts[1], plural) || (!same(parts[3], "versions") && !same(parts[3], "labels")) {
			return nil, missing
		}
		if same(parts[0], curated) && plural == "environments" {
			return nil, nil //nolint:nilnil // they are there, and have no inferenceConfig
		}
		return r.fromRegistry(parts, missing)
	}
	at, is := parseID(strings.TrimPrefix(name, "azureml:"))
	if !is || len(at.names) != 3 || !same(at.types[1], plural) {
		return nil, missing
	}
	if !same(at.up(2).id(), r.up(len(r.names)-1).id()) && !same(at.types[0], "registries") {
		return nil, badRequest("The asset %s is not in workspace %s.", name, r.names[0])
	}
	a, err := r.loadAsset(at.key())
	if err == nil && (a == nil || (a.State != "" && a.State != "Succeeded")) {
		err = missing
	}
	return a, err
}

// fromRegistry finds an asset by its registry's name alone.
func (r *request) fromRegistry(parts []string, missing error) (found *asset, err error) {
	err = r.tx.Each(kindAsset, "", func(_ string, data []byte) error {
		a := &asset{}
		if err := json.Unmarshal(data, a); err != nil {
			return err
		}
		at, _ := parseID(a.ID)
		if !same(at.types[0], "registries") || !same(at.names[0], parts[0]) || !same(at.types[1], parts[1]) || !same(at.names[1], parts[2]) || a.State != "Succeeded" {
			return nil
		}
		switch {
		case same(parts[3], "versions") && same(at.names[2], parts[4]):
			found = a
		case same(parts[3], "labels") && same(parts[4], "latest") && (found == nil || found.Created.Before(a.Created)):
			found = a
		}
		return nil
	})
	if err == nil && found == nil {
		err = missing
	}
	return found, err
}

// refersTo reports whether a name that a deployment has is that of an asset.
func refersTo(name string, at target) bool {
	if same(strings.TrimPrefix(name, "azureml:"), at.id()) {
		return true
	}
	return at.types[0] == "registries" && same(name, "azureml://registries/"+at.names[0]+"/"+at.types[1]+"/"+at.names[1]+"/versions/"+at.names[2])
}

// publishAsset copies a version of a workspace into a registry.
func publishAsset(r *request) (*reply, error) {
	in, err := decode[ml.DestinationAsset](r.body)
	if err != nil {
		return nil, err
	}
	from := r.target
	from.types = from.types[:len(from.names)]
	a, err := r.loadAsset(from.key())
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, notFound(from)
	}
	if value(in.RegistryName) == "" {
		return nil, userError("The required property 'registryName' is missing.")
	}
	name, version := value(in.DestinationName), value(in.DestinationVersion)
	if name == "" {
		name = from.names[1]
	}
	if version == "" {
		version = from.names[2]
	}
	registry, err := r.registryNamed(*in.RegistryName)
	if err != nil {
		return nil, err
	}
	into := registry.child(from.types[1], name).child("versions", version)
	if old, err := r.loadAsset(into.key()); err != nil || old != nil {
		if err == nil {
			err = conflict("The asset %s already exists.", into.id())
		}
		return nil, err
	}
	copied := &asset{ID: into.id(), Created: r.now(), Changed: r.now(), State: "Creating", Properties: a.Properties}
	o := &operation{Subject: copied.ID, Location: defaultLocation}
	if err := r.start("registryAssets.createOrUpdate", o); err != nil {
		return nil, err
	}
	copied.Busy = o.ID
	if err := r.saveAsset(copied); err != nil {
		return nil, err
	}
	return r.accepted(http.StatusAccepted, nil, o), nil
}

// registryNamed finds a registry by its name: where it has something, or else in the
// resource group of the workspace.
func (r *request) registryNamed(name string) (target, error) {
	own := target{scope: r.scope, sub: r.sub, group: r.group, namespace: machineLearning, types: []string{"registries"}, names: []string{name}}
	keys, err := r.prefixed(kindFamily, "")
	if err != nil {
		return own, err
	}
	for _, key := range keys {
		if at, is := parseID(key); is && at.types[0] == "registries" && same(at.names[0], name) {
			found := own
			found.scope, found.sub, found.group = at.scope, at.sub, at.group
			return found, nil
		}
	}
	return own, nil
}
