// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"errors"
	"io/fs"
	"strings"
)

var modelHandlers = map[string]handler{
	"CreateModel": createModel, "DescribeModel": describeModel, "ListModels": listModels, "DeleteModel": deleteModel,
}

// maxEnvironment is the limit of all keys and values of a model's containers.
const maxEnvironment = 32 << 10

func (r *request) model(name string) (obj, error) {
	var m obj
	found, err := r.tx.Get("model", r.key(name), &m)
	if err == nil && !found {
		err = invalid("Could not find model \"%s\".", r.arn("model", name))
	}
	return m, err
}

// containersOf are a model's containers, also where there is but one.
func containersOf(m obj) []obj {
	if primary := m.obj("PrimaryContainer"); primary != nil {
		return []obj{primary}
	}
	return m.list("Containers")
}

func createModel(r *request) (obj, error) {
	name := r.in.str("ModelName")
	arn := r.arn("model", name)
	if _, err := r.model(name); err == nil {
		return nil, invalid("Cannot create already existing model \"%s\".", arn)
	} else if !refused(err) {
		return nil, err
	}
	containers := r.in.list("Containers")
	if primary := r.in.obj("PrimaryContainer"); primary != nil {
		if len(containers) > 0 {
			return nil, invalid("You must provide either PrimaryContainer or Containers, but not both.")
		}
		containers = []obj{primary}
	}
	if len(containers) == 0 {
		return nil, invalid("You must provide either PrimaryContainer or Containers.")
	}
	if !r.in.has("ExecutionRoleArn") {
		return nil, invalid("ExecutionRoleArn is required.")
	}
	if err := r.checkContainers(containers, false); err != nil {
		return nil, err
	}
	if err := checkHosts(containers, r.in.obj("InferenceExecutionConfig").str("Mode")); err != nil {
		return nil, err
	}
	m := obj{}
	for k, v := range r.in {
		if k != "Tags" {
			m[k] = v
		}
	}
	for _, c := range containers {
		if !c.has("Mode") && !c.has("ModelPackageName") {
			c["Mode"] = "SingleModel"
		}
	}
	m["ModelArn"], m["CreationTime"] = arn, epoch(r.now())
	m["EnableNetworkIsolation"] = r.in.flag("EnableNetworkIsolation")
	if err := r.putTags(arn); err != nil {
		return nil, err
	}
	return obj{"ModelArn": arn}, r.tx.Put("model", r.key(name), m)
}

// checkHosts holds the rules between several containers: names are given to all
// or none, differ, and are needed where requests name the container.
func checkHosts(containers []obj, mode string) error {
	if len(containers) < 2 {
		return nil
	}
	names := map[string]bool{}
	for _, c := range containers {
		if name := c.str("ContainerHostname"); name != "" {
			if names[name] {
				return invalid("Container hostnames must be unique within a model: %s.", name)
			}
			names[name] = true
		}
	}
	switch {
	case mode == "Direct" && len(names) < len(containers):
		return invalid("ContainerHostname is required for every container when the inference execution mode is Direct.")
	case len(names) > 0 && len(names) < len(containers):
		return invalid("ContainerHostname must be specified for all containers or for none.")
	}
	return nil
}

// checkContainers applies CreateModel's own checks, most of which hold for a
// package's containers too.
func (r *request) checkContainers(containers []obj, registered bool) error {
	size := 0
	for _, c := range containers {
		for k, v := range c.obj("Environment") {
			text, _ := v.(string)
			size += len(k) + len(text)
		}
		if err := r.checkContainer(c, registered); err != nil {
			return err
		}
	}
	if size > maxEnvironment {
		return invalid("The total size of the environment variables must not exceed 32 KB.")
	}
	return nil
}

func (r *request) checkContainer(c obj, registered bool) error {
	if name := c.str("ModelPackageName"); name != "" && !registered {
		p, err := r.modelPackage(name)
		if err != nil {
			return err
		}
		if p.has("ModelPackageVersion") && p.str("ModelApprovalStatus") != "Approved" {
			return invalid("Model package %s is not approved: its ModelApprovalStatus is %s.", p.str("ModelPackageArn"), p.str("ModelApprovalStatus"))
		}
		if c.has("Image") || c.has("ModelDataUrl") || c.has("ModelDataSource") {
			return invalid("Image and model data cannot be given together with ModelPackageName.")
		}
		return nil
	}
	if c.str("Image") == "" {
		return invalid("Container image must be provided.")
	}
	if registry := c.obj("ImageConfig"); registry.has("RepositoryAuthConfig") && registry.str("RepositoryAccessMode") != "Vpc" {
		return invalid("RepositoryAuthConfig can be specified only when RepositoryAccessMode is Vpc.")
	}
	if c.str("Mode") == "MultiModel" && c.has("ModelDataSource") {
		return invalid("ModelDataSource is not supported for containers in MultiModel mode.")
	}
	if c.has("ModelDataUrl") && c.has("ModelDataSource") {
		return invalid("You cannot provide both ModelDataUrl and ModelDataSource.")
	}
	if url := c.str("ModelDataUrl"); url != "" {
		if c.str("Mode") != "MultiModel" && !strings.HasSuffix(url, ".tar.gz") {
			return invalid("Invalid model data URL \"%s\": it must point to a single gzip compressed tar archive (.tar.gz suffix).", url)
		}
		return r.checkObject(url)
	}
	source := c.obj("ModelDataSource").obj("S3DataSource")
	if source == nil {
		return nil
	}
	uri := source.str("S3Uri")
	switch prefix := source.str("S3DataType") == "S3Prefix"; {
	case prefix && source.str("CompressionType") == "Gzip":
		return invalid("S3DataType S3Prefix cannot be used with CompressionType Gzip.")
	case prefix && !strings.HasSuffix(uri, "/"):
		return invalid("S3Uri \"%s\" must end with a forward slash when S3DataType is S3Prefix.", uri)
	}
	return r.checkObject(uri)
}

// checkObject refuses model data that is not there.
func (r *request) checkObject(uri string) error {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	if !ok || !strings.HasPrefix(uri, "s3://") {
		return invalid("Invalid S3 URI \"%s\".", uri)
	}
	missing := invalid("Could not access model data at %s. Please ensure that the role \"%s\" exists and that its trust relationship policy allows the action \"sts:AssumeRole\" for the service principal \"sagemaker.amazonaws.com\". Also ensure that the role has \"s3:GetObject\" permissions and that the object is located in %s.", uri, r.in.str("ExecutionRoleArn"), r.region)
	if r.o.Artifact == nil {
		return nil
	}
	if strings.HasSuffix(key, "/") {
		keys, err := r.o.Keys(bucket, key)
		if err == nil && len(keys) == 0 {
			return missing
		}
		return r.unless(err, missing)
	}
	object, err := r.o.Artifact(bucket, key)
	if err != nil {
		return r.unless(err, missing)
	}
	return object.Close()
}

func (r *request) unless(err error, missing *apiError) error {
	if errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	return err
}

func describeModel(r *request) (obj, error) { return r.model(r.in.str("ModelName")) }

func listModels(r *request) (obj, error) {
	all, err := r.documents("model")
	if err != nil {
		return nil, err
	}
	items, token, err := r.summaries("Model", all, "ModelName", "ModelArn", "CreationTime")
	return obj{"Models": items, "NextToken": token}, err
}

// deleteModel never refuses because a model is in use: neither does AWS.
func deleteModel(r *request) (obj, error) {
	m, err := r.model(r.in.str("ModelName"))
	if err != nil {
		return nil, err
	}
	if err := r.tx.Delete("tags", m.str("ModelArn")); err != nil {
		return nil, err
	}
	return nil, r.tx.Delete("model", r.key(r.in.str("ModelName")))
}
