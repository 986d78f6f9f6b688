// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Small constructors keep the schema readable: name, kind, sentence.

func text(doc string, validators ...validator.String) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, MarkdownDescription: doc, Validators: validators}
}

func secretText(doc string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: doc}
}

func needed(a schema.StringAttribute) schema.StringAttribute {
	a.Optional, a.Required = false, true
	return a
}

func flag(doc string) schema.BoolAttribute {
	return schema.BoolAttribute{Optional: true, MarkdownDescription: doc}
}

func texts(doc string) schema.ListAttribute {
	return schema.ListAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: doc}
}

func object(doc string, attributes map[string]schema.Attribute) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{Optional: true, MarkdownDescription: doc, Attributes: attributes}
}

func providerSchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "Deploys machine-learning models: one `ml_model` and one `ml_endpoint` that map to AWS SageMaker, Google Vertex AI, " +
			"Azure ML and Kubernetes. A platform is opened when a resource first uses it. Values that are not set fall back to the environment " +
			"variables of that platform's own Terraform provider, and then to its SDK's default credentials.",
		Attributes: map[string]schema.Attribute{
			"sagemaker":  object("AWS SageMaker.", sagemakerAttributes()),
			"vertex_ai":  object("Google Vertex AI. Without credentials here or in the environment, application default credentials are used.", vertexAttributes()),
			"azure_ml":   object("Azure Machine Learning. Without credentials here or in the environment, those of the Azure CLI are used.", azureAttributes()),
			"kubernetes": object("A Kubernetes cluster. Without a host or kubeconfig here or in the environment, `KUBECONFIG`, `~/.kube/config` and a pod's own service account are tried.", kubernetesAttributes()),
			"labels":     schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Labels put on everything that this provider creates. A resource's own `labels` win."},
			"rehearsal": object("Runs everything against emulators of the platforms inside the provider: no account is needed and nothing leaves loopback. The environment variable `ML_REHEARSAL` does the same to an unchanged configuration.",
				map[string]schema.Attribute{
					"state_dir": needed(text("Directory that holds what the emulated platforms hold, between Terraform commands.", stringvalidator.LengthAtLeast(1))),
				}),
		},
	}
}

func sagemakerAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"region":                   text("Default region of models and endpoints. Also `AWS_REGION` and the profile's."),
		"profile":                  text("Profile of the shared configuration. Also `AWS_PROFILE`."),
		"shared_config_files":      texts("Shared configuration files. Default: `~/.aws/config`."),
		"shared_credentials_files": texts("Shared credentials files. Default: `~/.aws/credentials`."),
		"access_key":               text("Access key id. Also `AWS_ACCESS_KEY_ID`."),
		"secret_key":               secretText("Secret access key. Also `AWS_SECRET_ACCESS_KEY`."),
		"token":                    secretText("Session token. Also `AWS_SESSION_TOKEN`."),
		"assume_role": object("Role to take with these credentials.", map[string]schema.Attribute{
			"role_arn":     needed(text("ARN of the role.")),
			"session_name": text("Name of the session."),
			"external_id":  text("External id that the role's trust policy asks for."),
			"duration": schema.StringAttribute{Optional: true, CustomType: timetypes.GoDurationType{}, Validators: []validator.String{isPositive},
				MarkdownDescription: "Length of the session, a Go duration such as `1h`. Default: 15 minutes, renewed as needed."},
		}),
		"assume_role_with_web_identity": object("Role to take with an OIDC token, as HCP Terraform and CI systems issue them.", map[string]schema.Attribute{
			"role_arn":                needed(text("ARN of the role.")),
			"session_name":            text("Name of the session."),
			"web_identity_token":      secretText("The token. Exactly one of this and `web_identity_token_file`."),
			"web_identity_token_file": text("File that holds the token; it is read whenever credentials are renewed."),
		}),
		"execution_role_arn": text("ARN of the IAM role that models run with, unless an endpoint names another."),
		"staging_uri":        text("Where artifacts from elsewhere are copied to, `s3://bucket/prefix`. The bucket must exist, in the models' region."),
		"endpoint_url":       text("One base URL for every AWS API in use, for private gateways and emulators."),
	}
}

func vertexAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"project":                     text("Project id. Also `GOOGLE_PROJECT`, `GOOGLE_CLOUD_PROJECT`, `GCLOUD_PROJECT` and `CLOUDSDK_CORE_PROJECT`."),
		"region":                      text("Default region of models and endpoints. Also `GOOGLE_REGION`, `GCLOUD_REGION` and `CLOUDSDK_COMPUTE_REGION`."),
		"credentials":                 secretText("Service account key or external account configuration, as JSON or as the path of a file. Also `GOOGLE_CREDENTIALS`, `GOOGLE_CLOUD_KEYFILE_JSON` and `GCLOUD_KEYFILE_JSON`."),
		"access_token":                secretText("OAuth 2.0 access token. Also `GOOGLE_OAUTH_ACCESS_TOKEN`."),
		"impersonate_service_account": text("Service account to impersonate with these credentials. Also `GOOGLE_IMPERSONATE_SERVICE_ACCOUNT`."),
		"staging_uri":                 text("Where artifacts are copied to, `gs://bucket/prefix`. The bucket must exist, in the models' region or a multi-region that holds it."),
		"image_repository":            text("Artifact Registry repository with the images of the runtimes `triton` and `onnx`, which Google does not publish. Default: `<region>-docker.pkg.dev/<project>/ml-runtimes`."),
		"endpoint_url":                text("One base URL for the Vertex AI API of every region, without a version, for private gateways and emulators. Also `GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT`."),
		"storage_endpoint_url":        text("Base URL of the Cloud Storage API."),
	}
}

func azureAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"subscription_id":                    text("Subscription id. Also `ARM_SUBSCRIPTION_ID`."),
		"tenant_id":                          text("Tenant id. Also `ARM_TENANT_ID`."),
		"client_id":                          text("Client id. Also `ARM_CLIENT_ID`."),
		"client_id_file_path":                text("File that holds the client id. Also `ARM_CLIENT_ID_FILE_PATH`."),
		"client_secret":                      secretText("Client secret. Also `ARM_CLIENT_SECRET`."),
		"client_secret_file_path":            text("File that holds the client secret. Also `ARM_CLIENT_SECRET_FILE_PATH`."),
		"client_certificate":                 secretText("Client certificate, base64 of a PKCS#12 bundle. Also `ARM_CLIENT_CERTIFICATE`."),
		"client_certificate_path":            text("File that holds the client certificate. Also `ARM_CLIENT_CERTIFICATE_PATH`."),
		"client_certificate_password":        secretText("Password of the client certificate. Also `ARM_CLIENT_CERTIFICATE_PASSWORD`."),
		"use_oidc":                           flag("Authenticate with an OIDC token. Also `ARM_USE_OIDC`."),
		"oidc_token":                         secretText("The OIDC token. Also `ARM_OIDC_TOKEN`."),
		"oidc_token_file_path":               text("File that holds the OIDC token. Also `ARM_OIDC_TOKEN_FILE_PATH`."),
		"oidc_request_url":                   text("URL that issues OIDC tokens. Also `ARM_OIDC_REQUEST_URL`."),
		"oidc_request_token":                 secretText("Bearer token for `oidc_request_url`. Also `ARM_OIDC_REQUEST_TOKEN`."),
		"ado_pipeline_service_connection_id": text("Azure DevOps service connection. Also `ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID`."),
		"use_msi":                            flag("Authenticate with a managed identity. Also `ARM_USE_MSI`."),
		"use_cli":                            flag("Authenticate with the Azure CLI. Also `ARM_USE_CLI`."),
		"msi_endpoint":                       text("URL that gives tokens of a managed identity. Also `ARM_MSI_ENDPOINT`."),
		"auxiliary_tenant_ids":               texts("Further tenants that tokens are asked for. Also `ARM_AUXILIARY_TENANT_IDS`."),
		"use_aks_workload_identity":          flag("Authenticate with an AKS workload identity. Also `ARM_USE_AKS_WORKLOAD_IDENTITY`."),
		"environment":                        text("`public`, `usgovernment` or `china`. Also `ARM_ENVIRONMENT`.", stringvalidator.OneOf("public", "usgovernment", "china")),
		"resource_group":                     text("Default resource group."),
		"workspace":                          text("Default workspace."),
		"staging_uri":                        text("Where artifacts are copied to, `https://account.blob.core.windows.net/container/prefix`. A datastore of the workspace must have the container. Default: the workspace's default datastore."),
		"invoker_role_definition_id":         text("Id of the role that `auth.invokers` of endpoints get, best one with the action `Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action` alone. Default: AzureML Data Scientist."),
		"endpoint_url":                       text("Base URL of Azure Resource Manager, for private clouds and emulators."),
		"storage_endpoint_url":               text("Base URL of Blob storage, below which each account is a path."),
	}
}

func kubernetesAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"config_path":            text("Kubeconfig file. Also `KUBE_CONFIG_PATH`."),
		"config_paths":           texts("Kubeconfig files. Also `KUBE_CONFIG_PATHS`."),
		"config_context":         text("Context of the kubeconfig. Also `KUBE_CTX`."),
		"host":                   text("URL of the API server. Also `KUBE_HOST`."),
		"token":                  secretText("Bearer token. Also `KUBE_TOKEN`."),
		"cluster_ca_certificate": text("PEM certificate of the API server's authority. Also `KUBE_CLUSTER_CA_CERT_DATA`."),
		"client_certificate":     text("PEM client certificate. Also `KUBE_CLIENT_CERT_DATA`."),
		"client_key":             secretText("PEM client key. Also `KUBE_CLIENT_KEY_DATA`."),
		"insecure":               flag("Do not verify the API server's certificate. Also `KUBE_INSECURE`."),
		"exec": object("Command that prints credentials.", map[string]schema.Attribute{
			"api_version": needed(text("Version of the client authentication API.")),
			"command":     needed(text("The command.")),
			"args":        texts("Its arguments."),
			"env":         schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Its environment."},
		}),
		"namespace": text("Default namespace. Also the kubeconfig's."),
		"serving":   text("How endpoints are served unless they say otherwise: `deployment` (plain Kubernetes, default) or `kserve`.", stringvalidator.OneOf("deployment", "kserve")),
		"gateway": object("A Gateway API Gateway through which endpoints are exposed. Without one they are reached through a Service, inside of the cluster.", map[string]schema.Attribute{
			"name":      needed(text("Name of the Gateway.")),
			"namespace": text("Namespace of the Gateway. Default: the endpoint's."),
			"hostname":  text("Domain below which each endpoint has the host `<endpoint>-<namespace>`. Without it each has the path `/<namespace>/<endpoint>`."),
		}),
		"staging_uri":    text("Where artifacts are copied to: `s3://bucket/prefix`, `oci://registry/repository` or `pvc://claim/prefix`."),
		"storage_secret": text("Secret, in the endpoint's namespace, with what pods need to fetch artifacts: its keys become environment variables (`AWS_ACCESS_KEY_ID`), and files in `/mnt/oci-fetch-auth` (`config.json`)."),
		"images": object("Containers that stand beside the model.", map[string]schema.Attribute{
			"fetch": text("Brings and verifies the artifact: a KServe storage initializer. Default: `kserve/storage-initializer:v0.20.0`."),
			"auth":  text("Stands in front of the model: kube-rbac-proxy. Default: `quay.io/brancz/kube-rbac-proxy:v0.19.1`."),
		}),
		"metrics": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Names of the metrics in `custom.metrics.k8s.io` that autoscaling by `requests_per_replica`, `concurrency`, `latency_ms` and `gpu` follows. " +
			"Default: `ml_requests_per_minute`, `ml_requests_in_flight`, `ml_request_latency_milliseconds` and `DCGM_FI_DEV_GPU_UTIL`."},
		"prometheus": object("A Prometheus that sees the requests to endpoints: what `rollout.checks.max_error_rate`, `max_latency_ms` and `alarms` ask.", map[string]schema.Attribute{
			"url":            text("Its address, without `/api/v1`. Also `PROMETHEUS_URL`."),
			"token":          secretText("Bearer token. Also `PROMETHEUS_TOKEN`."),
			"ca_certificate": text("PEM certificate of its authority."),
			"insecure":       flag("Do not verify its certificate."),
			"metrics": text("Whose metrics count the requests: `istio` or `traefik`. Default: whose it has.",
				stringvalidator.OneOf("istio", "traefik"), stringvalidator.ConflictsWith(path.MatchRelative().AtParent().AtName("queries"))),
			"scrape_interval": schema.StringAttribute{Optional: true, CustomType: timetypes.GoDurationType{}, Validators: []validator.String{isPositive},
				MarkdownDescription: "How often it scrapes what counts the requests, a Go duration. `rollout.interval` has to be longer than twice that. Default: `30s`."},
			"queries": object("PromQL that counts the requests, where no metrics that are known do. Each gives one number; `{{ namespace }}`, `{{ endpoint }}`, `{{ deployment }}`, `{{ service }}`, `{{ workload }}` and `{{ interval }}` are filled in.", map[string]schema.Attribute{
				"requests": needed(text("How many requests were answered in the interval.")),
				"errors":   text("How many of them with a status of 500 and above, or not at all. `max_error_rate` needs it."),
				"latency":  text("The 95th percentile of how long they took, in seconds. `max_latency_ms` needs it."),
			}),
		}),
	}
}
