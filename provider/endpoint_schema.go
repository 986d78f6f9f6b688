// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/float64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func endpointSchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "An endpoint: a name that answers predictions from one or more deployments of model versions. Changing a deployment's model, compute or " +
			"environment is a rollout in place: the new version is brought up beside the old one, tested, given traffic, and the old one is removed. A failure " +
			"goes back to what served before and fails the apply with the cause.\n\n" +
			"A replica count that an autoscaler chose is never reset, and never shows as a difference.",
		Attributes: common(driver.KindEndpoint, attributes{
			"name": fixed(required(str("Name on the platform. Changing it makes a new endpoint."))),
			"deployments": schema.MapNestedAttribute{Required: true, MarkdownDescription: "What serves, by the deployment's name.",
				Validators:   []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(stringvalidator.LengthAtLeast(1))},
				NestedObject: schema.NestedAttributeObject{Attributes: deploymentAttributes()}},
			"rollout":         rolloutAttribute(),
			"smoke_test":      smokeTestAttribute(),
			"network":         settled(nested("From where the endpoint can be reached, and what it can reach.", networkAttributes())),
			"auth":            settled(nested("Who may call. Default: the platform's own identity and access management.", authAttributes())),
			"encryption":      nested("The customer's key and the server's certificate.", encryptionAttributes()),
			"capture":         nested("Recording of requests and responses.", captureAttributes()),
			"request_timeout": durationStr("How long the model has for its answer. Default: the platform's."),
			"sagemaker":       settled(nested("What only `sagemaker` has.", sagemakerEndpointAttributes())),
			"vertex_ai": nested("What only `vertex_ai` has.", attributes{
				"service_account": str("Email address of the service account that the model runs as. Default: the platform's own. Another one replaces the deployments."),
				"dedicated":       boolean("Give the endpoint a host name of its own: no quota shared with others, larger requests, up to an hour for an answer, and scaling to zero. The region's host then no longer answers for it. Default: no."),
			}),
			"azure_ml": nested("What only `azure_ml` has.", attributes{
				"identity": str("Resource id of a user-assigned identity that the model runs as. Default: one that the platform makes."),
				"compute":  str("Name or resource id of a Kubernetes compute of the workspace that the endpoint is on. Changing it makes a new endpoint. Default: machines of the platform's."),
				"egress_public": schema.BoolAttribute{Optional: true, // and left to the platform by default, which is neither
					MarkdownDescription: "Whether the model may reach the public internet. Another value replaces the deployments. Default: the platform's, which lets it, unless the workspace has a managed network."},
			}),
			"kubernetes":    settled(nested("What only `kubernetes` has.", kubernetesEndpointAttributes())),
			"url":           computed("Where predictions are sent."),
			"invoke_policy": computed("What a caller must be granted, in the platform's policy language. On `sagemaker` an IAM policy document, on `vertex_ai` the role, the permission and the resource to grant it on, on `azure_ml` the action and its scope, on `kubernetes` a Role."),
		}),
	}
}

// settled is for objects of which the platform always has one.
func settled(a schema.SingleNestedAttribute) schema.SingleNestedAttribute {
	a.Computed = true
	return a
}

func computedInt(a schema.Int64Attribute) schema.Int64Attribute {
	a.Computed = true
	return a
}

func requiredInt(a schema.Int64Attribute) schema.Int64Attribute {
	a.Optional, a.Required = false, true
	return a
}

func deploymentAttributes() attributes {
	accelerator := nested("GPU or other accelerator.", attributes{
		"type":  required(str("Such as `nvidia-l4`, `nvidia-a100-80gb` or `aws-inferentia2`.")),
		"count": integer("How many. Default: 1.", 1, 64),
	})
	return attributes{
		"model":   required(str("`version_id` of an `ml_model` on the same platform and in the same location (on `vertex_ai` in the same project), or the platform's own id of a model outside the registry.")),
		"traffic": computedInt(integer("Percent of requests; of all deployments they sum to 100. May be left out when there is one.", 0, 100)),
		"mirror":  computedInt(integer("Percent of requests that are copied to it as shadow traffic. Default: 0.", 0, 100)),
		"compute": nested("Hardware of one replica: an exact `instance_type`, or numbers of which the smallest type that satisfies all is chosen.", attributes{
			"instance_type": str("Exact machine type. On `vertex_ai` an `accelerator` can be added to `n1` types.", stringvalidator.ConflictsWith(siblings("cpu", "memory_gib")...)),
			"cpu":           float("Virtual CPUs, at least.", float64validator.Between(0.001, 10000)),
			"memory_gib":    float("Memory in GiB, at least.", float64validator.Between(0.001, 100000)),
			"accelerator":   accelerator,
			"spot":          boolean("Use interruptible capacity."),
		}),
		"scaling":       settled(nested("Number of replicas. Default: one.", scalingAttributes())),
		"env":           stringMap("Environment over the model's. Not for secrets: platforms show it."),
		"instance_type": computed("Machine type in use, as resolved from `compute`."),
		"model_version": computed("Number of the version that was observed to serve."),
	}
}

func scalingAttributes() attributes {
	return attributes{
		"min": computedInt(integer("Least replicas; 0 scales to zero where the platform can. Default: 1.", 0, 100000)),
		"max": computedInt(integer("Most replicas. Default: `min`, a fixed count.", 1, 100000)),
		"metrics": nestedList("What an autoscaler watches.", attributes{
			"type": required(oneOf("Requests are per replica and minute; CPU, memory and GPU in percent of the replica's; concurrency is of requests in flight; latency is the model's.", driver.MetricTypes())),
			"target": schema.Float64Attribute{Required: true, MarkdownDescription: "Value to keep near.",
				Validators: []validator.Float64{float64validator.AtLeast(0.001)}},
		}),
		"scale_in_cooldown":  durationStr("Least time between two reductions. Default: the platform's."),
		"scale_out_cooldown": durationStr("Least time between two increases. Default: the platform's."),
		"schedules": nestedList("Bounds that change at a time of day.", attributes{
			"name":     required(str("Name, unique in the deployment.")),
			"cron":     required(str("Five fields: minute, hour, day of month, month, day of week.", isCron)),
			"timezone": str("IANA time zone. Default: `UTC`.", isTimezone),
			"min":      requiredInt(integer("Least replicas from then on.", 0, 100000)),
			"max":      requiredInt(integer("Most replicas from then on.", 0, 100000)),
		}),
	}
}

func rolloutAttribute() schema.SingleNestedAttribute {
	return nested("How a changed deployment takes over. Default: all at once, with rollback on failure.", attributes{
		"strategy": defaulted(oneOf("Default: `all_at_once`.", driver.Strategies())),
		"steps": schema.ListAttribute{Optional: true, ElementType: types.Int64Type,
			MarkdownDescription: "Percents. `canary`: the shares before 100, such as `[5, 25, 50]`. `linear`: one, the size of each step. Default: `[10]`.",
			Validators:          []validator.List{listvalidator.ValueInt64sAre(int64validator.Between(1, 100)), listvalidator.SizeAtLeast(1)}},
		"interval":   durationStr("How long each step is watched before the next; with `all_at_once` and `blue_green` how long the old version waits without requests. Default: `5m`, and nothing with `all_at_once` and no checks by metrics or alarms."),
		"on_failure": defaulted(oneOf("Whether to go back, or to stop and leave the split. Default: `rollback`.", driver.OnFailures())),
		"checks": nested("What is judged at each step.", attributes{
			"smoke_test":     schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether the endpoint's `smoke_test` is sent. Default: `true` where there is one."},
			"max_error_rate": float("Most of the new version's answers that may have a status of 500 and above, in percent.", float64validator.Between(0, 100)),
			"max_latency_ms": integer("Most milliseconds that 95 of 100 of the new version's answers may take.", 1, 3600000),
			"alarms":         set("Names of the platform's own alarms that fail the rollout."),
		}),
	})
}

func smokeTestAttribute() schema.SingleNestedAttribute {
	return nested("A request that a new deployment must answer as expected before it gets traffic. Where the platform cannot address it then, it is sent to an endpoint of its own that is made for the test, and the plan tells.", attributes{
		"request":      required(str("Body of the request, as the model wants it.")),
		"content_type": defaulted(str("Content type of the body. Default: `application/json`.")),
		"expect": nested("What the answer must be.", attributes{
			"status":         integer("HTTP status. Default: 200.", 100, 599),
			"json":           schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "JSONPath to the JSON value that must be there; a bare word is a string.", Validators: []validator.Map{mapvalidator.KeysAre(isJSONPath)}},
			"max_latency_ms": integer("Most milliseconds until the answer.", 1, 3600000),
		}),
		"attempts": computedInt(integer("How often it is tried before it counts as failed. Default: 3.", 1, 100)),
	})
}

func networkAttributes() attributes {
	return attributes{
		"access":             defaulted(oneOf("Default: `public`.", []string{"public", "private"})),
		"subnets":            set("Subnets that replicas are attached to."),
		"security_groups":    set("Security groups of replicas."),
		"network":            str("Network that the endpoint is peered with."),
		"allowed_namespaces": set("Namespaces from which it can be reached, `*` for all. Default: with access `public` all, with `private` the endpoint's own."),
	}
}

func authAttributes() attributes {
	return attributes{
		"mode": defaulted(oneOf("`none` must be written out. Default: `iam`.", driver.AuthModes())),
		"invokers": set("Principals that may call, in the platform's notation. On `sagemaker` ARNs; on `azure_ml` `user:`, `group:` or `servicePrincipal:` and an object id; " +
			"on `kubernetes` `system:serviceaccount:<namespace>:<name>`, `group:<name>` or `user:<name>`, and with mode `key` the names of the keys."),
		"oidc": nested("Whose tokens are accepted, with mode `oidc`.", attributes{
			"issuer":    required(str("URL of the issuer.")),
			"audiences": set("Accepted audiences."),
			"claims":    stringMap("Claims that a token must have."),
		}),
	}
}

func encryptionAttributes() attributes {
	return attributes{
		"key": str("KMS key ARN, Cloud KMS key name, or, on `azure_ml`, the key that the workspace is checked against."),
		"tls": nested("Certificate of the endpoint.", attributes{
			"secret_name": str("Secret that holds it."),
			"issuer":      str("cert-manager issuer that makes it."),
			"min_version": oneOf("Least TLS version.", []string{"1.2", "1.3"}),
		}),
	}
}

func captureAttributes() attributes {
	include := set("What is recorded: `request`, `response`. Default: both.", stringvalidator.OneOf("request", "response"))
	include.Computed = true
	include.Validators = append(include.Validators, setvalidator.SizeAtLeast(1))
	return attributes{
		"percent":     requiredInt(integer("Percent of requests.", 0, 100)),
		"destination": required(str("Where to: `s3://bucket/prefix` on `sagemaker`, `bq://project.dataset.table` on `vertex_ai`, `azureml://datastores/<datastore>/paths/<path>` on `azure_ml`.")),
		"include":     include,
	}
}

func sagemakerEndpointAttributes() attributes {
	return attributes{
		"execution_role_arn": defaulted(str("ARN of the IAM role that models run with. Default: the provider's.")),
		"network_isolation":  boolean("Cut the container off the network."),
		"async": nested("Answer into a bucket. An endpoint cannot change between this and direct answers.", attributes{
			"output_uri":                   required(str("Where answers go, `s3://bucket/prefix`.")),
			"failure_uri":                  str("Where failures go."),
			"encryption_key":               str("KMS key of the answers."),
			"success_topic":                str("SNS topic that is told of answers."),
			"error_topic":                  str("SNS topic that is told of failures."),
			"max_concurrency_per_instance": integer("Requests at once per instance. Default: the platform's choice.", 1, 1000),
		}),
		"serverless": nested("Run without instances. An endpoint cannot change between this and instances.", attributes{
			"memory_mb":               requiredInt(integer("1024 to 6144 in steps of 1024.", 1024, 6144)),
			"max_concurrency":         requiredInt(integer("Requests at once.", 1, 200)),
			"provisioned_concurrency": integer("Requests at once that need no cold start.", 1, 200),
		}),
	}
}

func kubernetesEndpointAttributes() attributes {
	return attributes{
		"serving":         defaulted(oneOf("`deployment` makes a Deployment of each deployment, `kserve` an InferenceService. Default: the provider's.", []string{"deployment", "kserve"})),
		"service_account": str("Service account of the pods. Default: one of the endpoint's own."),
		"node_selector":   stringMap("Labels that nodes must have."),
		"tolerations": nestedList("Taints that pods tolerate.", attributes{
			"key": str("Key of the taint."), "operator": oneOf("How `value` is compared.", []string{"Exists", "Equal"}),
			"value": str("Value of the taint."), "effect": oneOf("Effect of the taint.", []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}),
		}),
		"runtime_class":  str("Runtime class of the pods."),
		"priority_class": str("Priority class of the pods."),
		"pod_security": defaulted(oneOf("Pod Security Standard that the pods keep. `restricted` runs them as another user than root, on a read-only root file system and without "+
			"capabilities; `baseline` runs them as the image says. Default: `restricted`.", []string{"restricted", "baseline"})),
		"run_as_user": integer("User id of the pods. Default: 1000, or with `pod_security = \"baseline\"` the image's.", 1, 2147483647),
	}
}
