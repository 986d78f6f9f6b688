// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"maps"
	"sort"
	"strings"
)

var registryHandlers = map[string]handler{
	"CreateModelPackageGroup": createGroup, "DescribeModelPackageGroup": describeGroup,
	"ListModelPackageGroups": listGroups, "DeleteModelPackageGroup": deleteGroup,
	"CreateModelPackage": createPackage, "DescribeModelPackage": describePackage, "UpdateModelPackage": updatePackage,
	"DeleteModelPackage": deletePackage, "ListModelPackages": listPackages, "BatchDescribeModelPackage": batchDescribePackages,
}

// nameOf takes the name out of an ARN; a name stays as it is.
func nameOf(arnOrName string) string {
	if strings.HasPrefix(arnOrName, "arn:") {
		_, name, _ := strings.Cut(arnOrName, "/")
		return name
	}
	return arnOrName
}

func (r *request) group(arnOrName string) (obj, error) {
	var g obj
	found, err := r.tx.Get("group", r.key(nameOf(arnOrName)), &g)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, invalid("ModelPackageGroup %s does not exist.", r.arn("model-package-group", nameOf(arnOrName)))
	}
	return g, nil
}

func createGroup(r *request) (obj, error) {
	name := r.in.str("ModelPackageGroupName")
	if g, err := r.group(name); err == nil {
		return nil, invalid("Model Package Group already exists: %s", g.str("ModelPackageGroupArn"))
	} else if !refused(err) {
		return nil, err
	}
	arn := r.arn("model-package-group", name)
	g := r.in.only("ModelPackageGroupName", "ModelPackageGroupDescription")
	g["ModelPackageGroupArn"], g["CreationTime"], g["ModelPackageGroupStatus"], g["CreatedBy"] = arn, epoch(r.now()), "Completed", obj{}
	if err := r.putTags(arn); err != nil {
		return nil, err
	}
	return obj{"ModelPackageGroupArn": arn}, r.tx.Put("group", r.key(name), g)
}

func describeGroup(r *request) (obj, error) { return r.group(r.in.str("ModelPackageGroupName")) }

func listGroups(r *request) (obj, error) {
	all, err := r.documents("group")
	if err != nil {
		return nil, err
	}
	items, token, err := r.summaries("ModelPackageGroup", all, "ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime", "ModelPackageGroupStatus")
	return obj{"ModelPackageGroupSummaryList": items, "NextToken": token}, err
}

func deleteGroup(r *request) (obj, error) {
	g, err := r.group(r.in.str("ModelPackageGroupName"))
	if err != nil {
		return nil, err
	}
	packages, err := r.packages(g.str("ModelPackageGroupName"))
	if err != nil {
		return nil, err
	}
	if len(packages) > 0 {
		return nil, &apiError{"ConflictException", fmt.Sprintf("Model Package Group %s cannot be deleted because it still contains Model Packages.", g.str("ModelPackageGroupArn")), 400}
	}
	if err := r.tx.Delete("tags", g.str("ModelPackageGroupArn")); err != nil {
		return nil, err
	}
	if err := r.tx.Delete("counter", "package/"+r.key(g.str("ModelPackageGroupName"))); err != nil {
		return nil, err
	}
	return nil, r.tx.Delete("group", r.key(g.str("ModelPackageGroupName")))
}

// packages are a group's versions, oldest first.
func (r *request) packages(group string) ([]obj, error) {
	all, err := r.documents("package")
	if err != nil {
		return nil, err
	}
	var kept []obj
	for _, p := range all {
		if group == "" || strings.EqualFold(p.str("ModelPackageGroupName"), nameOf(group)) {
			kept = append(kept, p)
		}
	}
	sort.SliceStable(kept, func(i, j int) bool { return kept[i].num("ModelPackageVersion") < kept[j].num("ModelPackageVersion") })
	return kept, nil
}

func createPackage(r *request) (obj, error) {
	group, name := r.in.str("ModelPackageGroupName"), r.in.str("ModelPackageName")
	switch {
	case (group == "") == (name == ""):
		return nil, invalid("Either ModelPackageName or ModelPackageGroupName must be provided, but not both.")
	case group != "" && len(r.in.list("Tags")) > 0:
		return nil, invalid("Tags cannot be specified for a versioned model package; tags of the model package group apply.")
	}
	if arn, found, err := r.repeated(); found || err != nil {
		return obj{"ModelPackageArn": arn}, err
	}
	if !r.in.has("InferenceSpecification") && !r.in.has("SourceUri") {
		return nil, invalid("InferenceSpecification is required to create a model package.")
	}
	p := obj{}
	for k, v := range r.in {
		if k != "ClientToken" && k != "Tags" {
			p[k] = v
		}
	}
	id, err := r.identify(p, group, name)
	if err != nil {
		return nil, err
	}
	if err := r.checkContainers(r.in.obj("InferenceSpecification").list("Containers"), true); err != nil {
		return nil, err
	}
	arn := r.arn("model-package", id)
	p["ModelPackageArn"], p["ModelPackageStatus"], p["CreationTime"], p["LastModifiedTime"] = arn, "Completed", epoch(r.now()), epoch(r.now())
	p["ModelPackageStatusDetails"] = obj{"ValidationStatuses": []any{}, "ImageScanStatuses": []any{}}
	if token := r.in.str("ClientToken"); token != "" {
		if err := r.tx.Put("token", r.region+"/"+token, arn); err != nil {
			return nil, err
		}
	}
	return obj{"ModelPackageArn": arn}, r.tx.Put("package", r.key(id), p)
}

// identify gives a package its place: the next version of a group, or a name of
// its own.
func (r *request) identify(p obj, group, name string) (id string, err error) {
	if group == "" {
		if _, err := r.modelPackage(name); err == nil {
			return "", invalid("Model Package already exists: %s", r.arn("model-package", name))
		} else if !refused(err) {
			return "", err
		}
		return name, r.putTags(r.arn("model-package", name))
	}
	g, err := r.group(group)
	if err != nil {
		return "", err
	}
	name = g.str("ModelPackageGroupName")
	n, err := r.tx.Next("package/" + r.key(name))
	if err != nil {
		return "", err
	}
	p["ModelPackageGroupName"], p["ModelPackageVersion"] = name, n
	if !p.has("ModelApprovalStatus") {
		p["ModelApprovalStatus"] = "PendingManualApproval"
	}
	return fmt.Sprintf("%s/%d", name, n), nil
}

// repeated finds the package that an earlier call with the same ClientToken made.
func (r *request) repeated() (arn string, found bool, err error) {
	token := r.in.str("ClientToken")
	if token == "" {
		return "", false, nil
	}
	if found, err = r.tx.Get("token", r.region+"/"+token, &arn); !found || err != nil {
		return "", false, err
	}
	var p obj
	found, err = r.tx.Get("package", r.key(nameOf(arn)), &p)
	return arn, found, err
}

func (r *request) modelPackage(arnOrName string) (obj, error) {
	var p obj
	found, err := r.tx.Get("package", r.key(nameOf(arnOrName)), &p)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, invalid("ModelPackage %s does not exist.", r.arn("model-package", nameOf(arnOrName)))
	}
	return p, nil
}

func describePackage(r *request) (obj, error) {
	p, err := r.modelPackage(r.in.str("ModelPackageName"))
	if err == nil && !p.has("ModelPackageName") {
		p["ModelPackageName"] = p["ModelPackageGroupName"] // the service model requires it, also of a version
	}
	return p, err
}

func updatePackage(r *request) (obj, error) {
	p, err := r.modelPackage(r.in.str("ModelPackageArn"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"ModelApprovalStatus", "ApprovalDescription", "ModelLifeCycle", "ModelCard", "SourceUri"} {
		if r.in.has(name) {
			p[name] = r.in[name]
		}
	}
	if r.in.has("InferenceSpecification") && p.has("InferenceSpecification") {
		return nil, invalid("InferenceSpecification of a model package cannot be changed.")
	}
	metadata := p.obj("CustomerMetadataProperties")
	if metadata == nil {
		metadata = obj{}
	}
	maps.Copy(metadata, r.in.obj("CustomerMetadataProperties"))
	for _, k := range r.in.strings("CustomerMetadataPropertiesToRemove") {
		delete(metadata, k)
	}
	if len(metadata) > 50 {
		return nil, invalid("The number of customer metadata properties must not exceed 50.")
	}
	p["CustomerMetadataProperties"], p["LastModifiedTime"] = metadata, epoch(r.now())
	if len(metadata) == 0 {
		delete(p, "CustomerMetadataProperties")
	}
	return obj{"ModelPackageArn": p.str("ModelPackageArn")}, r.tx.Put("package", r.key(nameOf(r.in.str("ModelPackageArn"))), p)
}

func deletePackage(r *request) (obj, error) {
	p, err := r.modelPackage(r.in.str("ModelPackageName"))
	if err != nil {
		return nil, err
	}
	if err := r.tx.Delete("tags", p.str("ModelPackageArn")); err != nil {
		return nil, err
	}
	return nil, r.tx.Delete("package", r.key(nameOf(r.in.str("ModelPackageName"))))
}

var packageSummary = []string{"ModelPackageName", "ModelPackageArn", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageDescription", "CreationTime",
	"ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle"}

func listPackages(r *request) (obj, error) {
	group := r.in.str("ModelPackageGroupName")
	if group != "" {
		if _, err := r.group(group); err != nil {
			return nil, err
		}
	}
	all, err := r.packages(group)
	if err != nil {
		return nil, err
	}
	kind := r.in.str("ModelPackageType")
	if kind == "" && group == "" {
		kind = "Unversioned"
	}
	l := listing{by: "CreationTime", size: 10, descending: r.in.str("SortOrder") == "Descending"}
	for _, p := range all {
		if versioned := p.has("ModelPackageVersion"); (versioned && kind != "Unversioned") || (!versioned && kind != "Versioned") {
			l.items = append(l.items, p.only(packageSummary...))
		}
	}
	if r.in.str("SortBy") == "Name" {
		l.by = "" // identities begin with the name
	}
	name := func(o obj) string { return strings.ToLower(o.str("ModelPackageGroupName") + o.str("ModelPackageName")) }
	l.id = func(o obj) string { return fmt.Sprintf("%s/%09.0f", name(o), o.num("ModelPackageVersion")) }
	part, approval := strings.ToLower(r.in.str("NameContains")), r.in.str("ModelApprovalStatus")
	l.keep = func(o obj) bool {
		return strings.Contains(name(o), part) && (approval == "" || approval == o.str("ModelApprovalStatus")) &&
			r.within("CreationTime", o)
	}
	items, token, err := r.page(l)
	return obj{"ModelPackageSummaryList": items, "NextToken": token}, err
}

func batchDescribePackages(r *request) (obj, error) {
	found, errs := obj{}, obj{}
	for _, arn := range r.in.strings("ModelPackageArnList") {
		p, err := r.modelPackage(arn)
		if err != nil && !refused(err) {
			return nil, err
		}
		if err != nil {
			errs[arn] = obj{"ErrorCode": "ValidationException", "ErrorResponse": message(err)}
			continue
		}
		found[arn] = p.only(append(packageSummary, "InferenceSpecification", "ModelPackageRegistrationType")...)
	}
	return obj{"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errs}, nil
}
