// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/hardware"
)

func (r *request) config(name string) (obj, error) {
	var c obj
	found, err := r.tx.Get("config", r.key(name), &c)
	if err == nil && !found {
		err = invalid("Could not find endpoint configuration \"%s\".", r.arn("endpoint-config", name))
	}
	return c, err
}

func createConfig(r *request) (obj, error) {
	name := r.in.str("EndpointConfigName")
	arn := r.arn("endpoint-config", name)
	if _, err := r.config(name); err == nil {
		return nil, invalid("Cannot create already existing endpoint configuration \"%s\".", arn)
	} else if !refused(err) {
		return nil, err
	}
	if err := r.checkConfig(); err != nil {
		return nil, err
	}
	c := obj{}
	for k, v := range r.in {
		if k != "Tags" {
			c[k] = v
		}
	}
	for _, v := range append(c.list("ProductionVariants"), c.list("ShadowProductionVariants")...) {
		if !v.has("InitialVariantWeight") {
			v["InitialVariantWeight"] = 1.0
		}
		v["InitialVariantWeight"] = single(v.num("InitialVariantWeight"))
		if v.has("ServerlessConfig") {
			v["VolumeSizeInGB"] = 0 // AWS echoes it, although it cannot be set
		}
	}
	if capture := c.obj("DataCaptureConfig"); capture != nil && !capture.has("EnableCapture") {
		capture["EnableCapture"] = true
	}
	c["EndpointConfigArn"], c["CreationTime"], c["EnableNetworkIsolation"] = arn, epoch(r.now()), r.in.flag("EnableNetworkIsolation")
	if err := r.putTags(arn); err != nil {
		return nil, err
	}
	return obj{"EndpointConfigArn": arn}, r.tx.Put("config", r.key(name), c)
}

// single rounds to the float32 that the API stores.
func single(f float64) float64 { return float64(float32(f)) }

// checkConfig holds the rules between the fields of an endpoint configuration.
func (r *request) checkConfig() error {
	production, shadow := r.in.list("ProductionVariants"), r.in.list("ShadowProductionVariants")
	if len(shadow) > 1 || (len(shadow) == 1 && len(production) != 1) {
		return invalid("Only one shadow variant is supported, and it requires exactly one production variant.")
	}
	names := map[string]bool{}
	for _, v := range append(production, shadow...) {
		name := v.str("VariantName")
		if names[name] {
			return invalid("Duplicate variant name: %s. Variant names must be unique within an endpoint configuration.", name)
		}
		names[name] = true
		if err := r.checkVariant(v); err != nil {
			return err
		}
	}
	serverless := false
	for _, v := range production {
		serverless = serverless || v.has("ServerlessConfig")
	}
	if serverless {
		return r.checkServerless(production, shadow)
	}
	return nil
}

func (r *request) checkVariant(v obj) error {
	name := v.str("VariantName")
	if !v.has("ModelName") {
		return invalid("Inference component endpoints are not served in rehearsal; variant %s needs a ModelName.", name)
	}
	m, err := r.model(v.str("ModelName"))
	if err != nil {
		return err
	}
	if v.has("ManagedInstanceScaling") {
		return invalid("ManagedInstanceScaling is only supported for inference component endpoints.")
	}
	if sc := v.obj("ServerlessConfig"); sc != nil {
		if m.has("VpcConfig") || m.flag("EnableNetworkIsolation") {
			return invalid("Serverless inference does not support VPC configuration or network isolation for model \"%s\".", m.str("ModelName"))
		}
		if all := containersOf(m); len(all) != 1 || all[0].str("Mode") == "MultiModel" || r.uncompressed(all[0]) {
			return invalid("Serverless inference supports one container in SingleModel mode with its data in ModelDataUrl, and model \"%s\" is not so.", m.str("ModelName"))
		}
		return checkServerlessVariant(v, sc)
	}
	instance := v.str("InstanceType")
	if instance == "" && !v.has("InstancePools") {
		return invalid("InstanceType is required for variant %s.", name)
	}
	if v.num("InitialInstanceCount") < 1 {
		return invalid("InitialInstanceCount is required for variant %s and must be at least 1.", name)
	}
	if t, known := hardware.Lookup("sagemaker", instance); known && t.LocalNVMe {
		if r.in.str("KmsKeyId") != "" {
			return invalid("KmsKeyId parameter is not allowed for the selected Instance type: %s uses local instance storage, which is encrypted by a hardware module.", instance)
		}
		if v.has("VolumeSizeInGB") {
			return invalid("VolumeSize parameter is not allowed for the selected Instance type")
		}
	}
	return nil
}

// uncompressed reports whether a container's data is a ModelDataSource, of its
// own or of the package that it is made from.
func (r *request) uncompressed(c obj) bool {
	if p, err := r.modelPackage(c.str("ModelPackageName")); err == nil {
		for _, registered := range p.obj("InferenceSpecification").list("Containers") {
			c = registered
		}
	}
	return c.has("ModelDataSource")
}

func checkServerlessVariant(v, sc obj) error {
	if v.has("InstanceType") || v.has("InitialInstanceCount") || v.has("VolumeSizeInGB") {
		return invalid("InstanceType, InitialInstanceCount and VolumeSizeInGB cannot be specified together with ServerlessConfig.")
	}
	if int(sc.num("MemorySizeInMB"))%1024 != 0 {
		return invalid("MemorySizeInMB must be a multiple of 1024.")
	}
	if sc.num("ProvisionedConcurrency") > sc.num("MaxConcurrency") {
		return invalid("ProvisionedConcurrency must be less than or equal to MaxConcurrency.")
	}
	return nil
}

func (r *request) checkServerless(production, shadow []obj) error {
	switch {
	case len(production) > 1 || len(shadow) > 0:
		return invalid("Serverless endpoints support exactly one production variant.")
	case r.in.has("DataCaptureConfig"):
		return invalid("Data capture is not supported for serverless endpoints.")
	case r.in.has("AsyncInferenceConfig"):
		return invalid("AsyncInferenceConfig is not supported for serverless endpoints.")
	}
	return nil
}

func describeConfig(r *request) (obj, error) { return r.config(r.in.str("EndpointConfigName")) }

func listConfigs(r *request) (obj, error) {
	all, err := r.documents("config")
	if err != nil {
		return nil, err
	}
	items, token, err := r.summaries("EndpointConfig", all, "EndpointConfigName", "EndpointConfigArn", "CreationTime")
	return obj{"EndpointConfigs": items, "NextToken": token}, err
}

// deleteConfig never refuses, even under a live endpoint: neither does AWS. The
// endpoint's next update is then refused.
func deleteConfig(r *request) (obj, error) {
	c, err := r.config(r.in.str("EndpointConfigName"))
	if err != nil {
		return nil, err
	}
	if err := r.tx.Delete("tags", c.str("EndpointConfigArn")); err != nil {
		return nil, err
	}
	return nil, r.tx.Delete("config", r.key(r.in.str("EndpointConfigName")))
}

// variants are all variants of a configuration.
func variants(c obj) []obj {
	return append(c.list("ProductionVariants"), c.list("ShadowProductionVariants")...)
}

func find(all []obj, name string) obj {
	for _, v := range all {
		if strings.EqualFold(v.str("VariantName"), name) {
			return v
		}
	}
	return nil
}
