// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

func describeEndpoint(r *request) (obj, error) {
	e, err := r.endpoint(r.in.str("EndpointName"))
	if err != nil {
		return nil, err
	}
	out := obj{"EndpointName": e.Name, "EndpointArn": e.ARN, "EndpointConfigName": e.Config, "EndpointStatus": e.status(),
		"CreationTime": e.Created, "LastModifiedTime": e.Modified}
	if e.FailureReason != "" && e.Pending == nil {
		out["FailureReason"] = e.FailureReason
	}
	if len(e.Deployment) > 0 {
		out["LastDeploymentConfig"] = e.Deployment
	}
	config, err := r.config(e.Config)
	if err == nil { // a configuration that was deleted no longer tells
		for _, name := range []string{"DataCaptureConfig", "AsyncInferenceConfig", "ExplainerConfig"} {
			if config.has(name) {
				out[name] = config[name]
			}
		}
		if capture := config.obj("DataCaptureConfig"); capture != nil {
			status := "Started"
			if !capture.flag("EnableCapture") {
				status = "Stopped"
			}
			out["DataCaptureConfig"] = obj{"EnableCapture": capture.flag("EnableCapture"), "CaptureStatus": status,
				"CurrentSamplingPercentage": capture["InitialSamplingPercentage"], "DestinationS3Uri": capture["DestinationS3Uri"], "KmsKeyId": capture.str("KmsKeyId")}
		}
	}
	production, shadow := r.describeVariants(e.Variants, "")
	setVariants(out, production, shadow)
	if p := e.Pending; p != nil && p.Config != "" {
		status := map[string]string{"create": "Creating", "update": "Updating"}[p.Kind]
		if p.newShare(r.now()) > 0 {
			status = "Baking"
		}
		next, nextShadow := r.describeVariants(p.Variants, status)
		summary := obj{"EndpointConfigName": p.Config, "StartTime": epoch(p.Began)}
		setVariants(summary, next, nextShadow)
		out["PendingDeploymentSummary"] = summary
	}
	return out, nil
}

func setVariants(out obj, production, shadow []any) {
	if len(production) > 0 {
		out["ProductionVariants"] = production
	}
	if len(shadow) > 0 {
		out["ShadowProductionVariants"] = shadow
	}
}

func (r *request) describeVariants(all []*variant, status string) (production, shadow []any) {
	production, shadow = []any{}, []any{}
	for _, v := range all {
		d := obj{"VariantName": v.Name, "CurrentWeight": single(v.Weight), "DesiredWeight": single(v.DesiredWeight)}
		if v.Serverless != nil {
			d["CurrentServerlessConfig"], d["DesiredServerlessConfig"] = v.Serverless, v.Serverless
		} else {
			d["CurrentInstanceCount"], d["DesiredInstanceCount"] = v.Count, v.DesiredCount
		}
		if m, err := r.model(v.Model); err == nil {
			image := m.obj("PrimaryContainer").str("Image")
			if p, err := r.modelPackage(m.obj("PrimaryContainer").str("ModelPackageName")); err == nil {
				for _, c := range p.obj("InferenceSpecification").list("Containers") {
					image = c.str("Image")
				}
			}
			d["DeployedImages"] = []any{obj{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": epoch(r.now())}}
		}
		if status != "" {
			d["VariantStatus"] = []any{obj{"Status": status, "StartTime": epoch(r.now())}}
		}
		if v.Shadow {
			shadow = append(shadow, d)
		} else {
			production = append(production, d)
		}
	}
	return production, shadow
}

func updateWeights(r *request) (obj, error) {
	e, err := r.idle(r.in.str("EndpointName"))
	if err != nil {
		return nil, err
	}
	config, err := r.config(e.Config)
	if err != nil {
		config = obj{}
	}
	fleet := copied(e.Variants)
	counts := 0
	for _, change := range r.in.list("DesiredWeightsAndCapacities") {
		v := findVariant(fleet, change.str("VariantName"))
		if v == nil {
			return nil, invalid("Could not find variant \"%s\" in endpoint \"%s\".", change.str("VariantName"), e.ARN)
		}
		if change.has("DesiredWeight") {
			v.DesiredWeight = single(change.num("DesiredWeight"))
		}
		if change.has("DesiredInstanceCount") {
			if counts++; counts > 1 {
				return nil, invalid("The capacity of only one variant can be updated at a time.")
			}
			if v.DesiredCount = int(change.num("DesiredInstanceCount")); v.DesiredCount < 1 && !config.has("AsyncInferenceConfig") {
				return nil, invalid("DesiredInstanceCount of variant %s must be at least 1.", v.Name)
			}
		}
		if change.has("ServerlessUpdateConfig") && v.Serverless != nil {
			v.Serverless = mergeObj(mergeObj(obj{}, v.Serverless), change.obj("ServerlessUpdateConfig"))
		}
	}
	growth := copied(fleet)
	for i, v := range growth {
		v.Count = v.DesiredCount - e.Variants[i].Count
	}
	if err := r.checkQuota(growth); err != nil {
		return nil, err
	}
	if e.Pending, err = r.begin("weights", "", fleet); err != nil {
		return nil, err
	}
	return obj{"EndpointArn": e.ARN}, r.save(e)
}

func copied(all []*variant) []*variant {
	fleet := make([]*variant, len(all))
	for i, v := range all {
		c := *v
		fleet[i] = &c
	}
	return fleet
}

func findVariant(all []*variant, name string) *variant {
	for _, v := range all {
		if v.Name == name {
			return v
		}
	}
	return nil
}
