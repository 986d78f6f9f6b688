// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/clouds/sagemaker"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// platforms opens the platforms of one provider configuration, each when it is
// first used. No other file knows which there are.
type platforms struct {
	config    *providerModel
	userAgent string
	log       hclog.Logger
	labels    map[string]string
	rehearsal *rehearsal // nil when it is for real

	mu       sync.Mutex
	opened   map[driver.Platform]opened
	approved map[driver.VersionRef]driver.Approval // that the plans of models give to versions
}

type opened struct {
	cloud *clouds.Cloud
	err   error
}

// answered opens the drivers that this release has.
var answered = map[driver.Platform]func(p *platforms) (driver.Driver, error){
	driver.SageMaker:  (*platforms).openSageMaker,
	driver.VertexAI:   (*platforms).openVertexAI,
	driver.AzureML:    (*platforms).openAzureML,
	driver.Kubernetes: (*platforms).openKubernetes,
}

func newPlatforms(m *providerModel, version string) *platforms {
	p := &platforms{config: m, userAgent: "terraform-provider-ml/" + version, log: newLogger(), opened: map[driver.Platform]opened{}, approved: map[driver.VersionRef]driver.Approval{}}
	if known(m.Labels) && !m.Labels.IsNull() {
		p.labels = map[string]string{}
		for k, v := range m.Labels.Elements() {
			p.labels[k] = v.(types.String).ValueString() //nolint:forcetypeassert // as the schema says
		}
	}
	dir := os.Getenv("ML_REHEARSAL")
	if known(m.Rehearsal) && !m.Rehearsal.IsNull() {
		var r struct {
			StateDir string `json:"state_dir"`
		}
		read(m.Rehearsal, &r)
		dir = r.StateDir
	}
	if dir != "" {
		p.rehearsal = &rehearsal{dir: dir, log: p.log}
	}
	return p
}

// ready reports whether everything that opening a platform needs is known.
// While Terraform plans, parts of a provider's configuration may not be.
func (p *platforms) ready(platform driver.Platform) bool {
	object := map[driver.Platform]types.Object{driver.SageMaker: p.config.SageMaker, driver.VertexAI: p.config.VertexAI,
		driver.AzureML: p.config.AzureML, driver.Kubernetes: p.config.Kubernetes}[platform]
	return known(object) && known(p.config.Labels) && known(p.config.Rehearsal)
}

// cloud opens a platform, once. A platform that this release does not answer is
// Unsupported at the path "platform".
func (p *platforms) cloud(platform driver.Platform) (*clouds.Cloud, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := p.opened[platform]; ok {
		return o.cloud, o.err
	}
	open, ok := answered[platform]
	if !ok {
		return nil, mlerr.New(mlerr.Unsupported, "%s is not answered by this release of the provider", platform).At("platform").
			WithHint("Use %s", answeredWords())
	}
	var o opened
	d, err := open(p)
	if err != nil {
		// Without its path, which would be looked for in the resource.
		o.err = mlerr.New(mlerr.CodeOf(err), "cannot use the provider's %s configuration: %s", platform, err).WithHint("%s", mlerr.Hint(err))
	} else {
		o.cloud = clouds.New(d, clouds.Options{Logger: p.log.Named(string(platform)), Labels: p.labels, Pace: p.rehearsal.pace()})
	}
	p.opened[platform] = o
	return o.cloud, o.err
}

// answeredWords names the platforms of this release, for an error.
func answeredWords() string {
	var all []string
	for _, platform := range driver.Platforms() {
		if answered[platform] != nil {
			all = append(all, string(platform))
		}
	}
	return strings.Join(all, " or ")
}

// planApproval notes the approval that a version is about to get, for the plans
// of endpoints, which come after the plan of the model that they refer to.
func (p *platforms) planApproval(ref driver.VersionRef, a driver.Approval) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.approved[ref] = a
}

func (p *platforms) plannedApproval(ref driver.VersionRef) (driver.Approval, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.approved[ref]
	return a, ok
}

// forImport finds the platform that an identifier belongs to.
func (p *platforms) forImport(kind driver.Kind, id string) (driver.Key, error) {
	if key, ok := driver.ParseID(id); ok {
		_, err := p.cloud(key.Platform)
		return key, err
	}
	var examples []string
	for _, platform := range driver.Platforms() {
		if answered[platform] == nil {
			continue
		}
		examples = append(examples, strconv.Quote(clouds.ExampleID(platform)))
		c, err := p.cloud(platform)
		if err != nil {
			continue // nor is it used here
		}
		if key, ok := c.ParseNativeID(kind, id); ok {
			return key, nil
		}
	}
	return driver.Key{}, mlerr.New(mlerr.InvalidArgument, "%q does not name any %s", id, kind).
		WithHint("Use the id as in %s, or the platform's own id", strings.Join(examples, " or "))
}

// sagemakerConfig are the attributes of the provider's "sagemaker".
type sagemakerConfig struct {
	Region                 string   `json:"region"`
	Profile                string   `json:"profile"`
	SharedConfigFiles      []string `json:"shared_config_files"`
	SharedCredentialsFiles []string `json:"shared_credentials_files"`
	AccessKey              string   `json:"access_key"`
	SecretKey              string   `json:"secret_key"`
	Token                  string   `json:"token"`
	AssumeRole             *struct {
		RoleARN     string        `json:"role_arn"`
		SessionName string        `json:"session_name"`
		ExternalID  string        `json:"external_id"`
		Duration    time.Duration `json:"duration"`
	} `json:"assume_role"`
	AssumeRoleWithWebIdentity *struct {
		RoleARN              string `json:"role_arn"`
		SessionName          string `json:"session_name"`
		WebIdentityToken     string `json:"web_identity_token"`
		WebIdentityTokenFile string `json:"web_identity_token_file"`
	} `json:"assume_role_with_web_identity"`
	ExecutionRoleARN string `json:"execution_role_arn"`
	StagingURI       string `json:"staging_uri"`
	EndpointURL      string `json:"endpoint_url"`
}

func (p *platforms) openSageMaker() (driver.Driver, error) {
	var m sagemakerConfig
	if !p.config.SageMaker.IsNull() {
		read(p.config.SageMaker, &m)
	}
	c := sagemaker.Config{
		Region: m.Region, Profile: m.Profile, SharedConfigFiles: m.SharedConfigFiles, SharedCredentialsFiles: m.SharedCredentialsFiles,
		AccessKey: m.AccessKey, SecretKey: secret.New(m.SecretKey), Token: secret.New(m.Token),
		ExecutionRoleARN: m.ExecutionRoleARN, StagingURI: m.StagingURI, EndpointURL: m.EndpointURL,
		UserAgent: p.userAgent, Logger: p.log.Named("sagemaker"),
	}
	if a := m.AssumeRole; a != nil {
		c.AssumeRole = &sagemaker.AssumeRole{RoleARN: a.RoleARN, SessionName: a.SessionName, ExternalID: a.ExternalID, Duration: a.Duration}
	}
	if w := m.AssumeRoleWithWebIdentity; w != nil {
		c.AssumeRoleWithWebIdentity = &sagemaker.WebIdentity{RoleARN: w.RoleARN, SessionName: w.SessionName,
			WebIdentityToken: secret.New(w.WebIdentityToken), WebIdentityTokenFile: w.WebIdentityTokenFile}
	}
	if p.rehearsal != nil {
		if err := p.rehearsal.sagemaker(&c); err != nil {
			return nil, err
		}
	}
	return sagemaker.Open(c)
}

// vertexConfig are the attributes of the provider's "vertex_ai".
type vertexConfig struct {
	Project                   string `json:"project"`
	Region                    string `json:"region"`
	Credentials               string `json:"credentials"`
	AccessToken               string `json:"access_token"`
	ImpersonateServiceAccount string `json:"impersonate_service_account"`
	StagingURI                string `json:"staging_uri"`
	ImageRepository           string `json:"image_repository"`
	EndpointURL               string `json:"endpoint_url"`
	StorageEndpointURL        string `json:"storage_endpoint_url"`
}

func (p *platforms) openVertexAI() (driver.Driver, error) {
	var m vertexConfig
	if !p.config.VertexAI.IsNull() {
		read(p.config.VertexAI, &m)
	}
	c := vertexai.Config{
		Project: m.Project, Region: m.Region, Credentials: secret.New(m.Credentials), AccessToken: secret.New(m.AccessToken),
		ImpersonateServiceAccount: m.ImpersonateServiceAccount, StagingURI: m.StagingURI, ImageRepository: m.ImageRepository,
		EndpointURL: m.EndpointURL, StorageEndpointURL: m.StorageEndpointURL, UserAgent: p.userAgent, Logger: p.log.Named("vertex_ai"),
	}
	if p.rehearsal != nil {
		if err := p.rehearsal.vertexAI(&c); err != nil {
			return nil, err
		}
	}
	return vertexai.Open(c)
}

// azureConfig are the attributes of the provider's "azure_ml".
type azureConfig struct {
	SubscriptionID                 string   `json:"subscription_id"`
	TenantID                       string   `json:"tenant_id"`
	AuxiliaryTenantIDs             []string `json:"auxiliary_tenant_ids"`
	ClientID                       string   `json:"client_id"`
	ClientIDFilePath               string   `json:"client_id_file_path"`
	ClientSecret                   string   `json:"client_secret"`
	ClientSecretFilePath           string   `json:"client_secret_file_path"`
	ClientCertificate              string   `json:"client_certificate"`
	ClientCertificatePath          string   `json:"client_certificate_path"`
	ClientCertificatePassword      string   `json:"client_certificate_password"`
	UseOIDC                        *bool    `json:"use_oidc"`
	OIDCToken                      string   `json:"oidc_token"`
	OIDCTokenFilePath              string   `json:"oidc_token_file_path"`
	OIDCRequestURL                 string   `json:"oidc_request_url"`
	OIDCRequestToken               string   `json:"oidc_request_token"`
	ADOPipelineServiceConnectionID string   `json:"ado_pipeline_service_connection_id"`
	UseMSI                         *bool    `json:"use_msi"`
	MSIEndpoint                    string   `json:"msi_endpoint"`
	UseCLI                         *bool    `json:"use_cli"`
	UseAKSWorkloadIdentity         *bool    `json:"use_aks_workload_identity"`
	Environment                    string   `json:"environment"`
	ResourceGroup                  string   `json:"resource_group"`
	Workspace                      string   `json:"workspace"`
	StagingURI                     string   `json:"staging_uri"`
	InvokerRoleDefinitionID        string   `json:"invoker_role_definition_id"`
	EndpointURL                    string   `json:"endpoint_url"`
	StorageEndpointURL             string   `json:"storage_endpoint_url"`
}

func (p *platforms) openAzureML() (driver.Driver, error) {
	var m azureConfig
	if !p.config.AzureML.IsNull() {
		read(p.config.AzureML, &m)
	}
	c := azureml.Config{
		Account: azure.Config{
			SubscriptionID: m.SubscriptionID, TenantID: m.TenantID, AuxiliaryTenantIDs: m.AuxiliaryTenantIDs, Environment: m.Environment,
			ClientID: m.ClientID, ClientIDFilePath: m.ClientIDFilePath, ClientSecret: secret.New(m.ClientSecret), ClientSecretFilePath: m.ClientSecretFilePath,
			ClientCertificate: secret.New(m.ClientCertificate), ClientCertificatePath: m.ClientCertificatePath, ClientCertificatePassword: secret.New(m.ClientCertificatePassword),
			UseOIDC: m.UseOIDC, OIDCToken: secret.New(m.OIDCToken), OIDCTokenFilePath: m.OIDCTokenFilePath, OIDCRequestURL: m.OIDCRequestURL, OIDCRequestToken: secret.New(m.OIDCRequestToken),
			ADOPipelineServiceConnectionID: m.ADOPipelineServiceConnectionID, UseMSI: m.UseMSI, MSIEndpoint: m.MSIEndpoint, UseCLI: m.UseCLI,
			UseAKSWorkloadIdentity: m.UseAKSWorkloadIdentity, EndpointURL: m.EndpointURL, UserAgent: p.userAgent,
		},
		ResourceGroup: m.ResourceGroup, Workspace: m.Workspace, StagingURI: m.StagingURI, InvokerRole: m.InvokerRoleDefinitionID,
		StorageEndpointURL: m.StorageEndpointURL, Logger: p.log.Named("azure_ml"),
	}
	if p.rehearsal != nil {
		if err := p.rehearsal.azureML(&c); err != nil {
			return nil, err
		}
	}
	return azureml.Open(c)
}

// kubernetesConfig are the attributes of the provider's "kubernetes".
type kubernetesConfig struct {
	ConfigPath           string   `json:"config_path"`
	ConfigPaths          []string `json:"config_paths"`
	ConfigContext        string   `json:"config_context"`
	Host                 string   `json:"host"`
	Token                string   `json:"token"`
	ClusterCACertificate string   `json:"cluster_ca_certificate"`
	ClientCertificate    string   `json:"client_certificate"`
	ClientKey            string   `json:"client_key"`
	Insecure             bool     `json:"insecure"`
	Exec                 *struct {
		APIVersion string            `json:"api_version"`
		Command    string            `json:"command"`
		Args       []string          `json:"args"`
		Env        map[string]string `json:"env"`
	} `json:"exec"`
	Namespace string `json:"namespace"`
	Serving   string `json:"serving"`
	Gateway   *struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Hostname  string `json:"hostname"`
	} `json:"gateway"`
	StagingURI    string `json:"staging_uri"`
	StorageSecret string `json:"storage_secret"`
	Images        struct {
		Fetch string `json:"fetch"`
		Auth  string `json:"auth"`
	} `json:"images"`
	Metrics    map[string]string `json:"metrics"`
	Prometheus struct {
		URL            string        `json:"url"`
		Token          string        `json:"token"`
		CACertificate  string        `json:"ca_certificate"`
		Insecure       bool          `json:"insecure"`
		Metrics        string        `json:"metrics"`
		ScrapeInterval time.Duration `json:"scrape_interval"`
		Queries        *struct {
			Requests string `json:"requests"`
			Errors   string `json:"errors"`
			Latency  string `json:"latency"`
		} `json:"queries"`
	} `json:"prometheus"`
}

func (p *platforms) openKubernetes() (driver.Driver, error) {
	var m kubernetesConfig
	if !p.config.Kubernetes.IsNull() {
		read(p.config.Kubernetes, &m)
	}
	if m.ConfigPath != "" {
		m.ConfigPaths = append([]string{m.ConfigPath}, m.ConfigPaths...)
	}
	c := kubernetes.Config{
		ConfigPaths: m.ConfigPaths, ConfigContext: m.ConfigContext, Host: m.Host, Token: secret.New(m.Token),
		ClusterCACertificate: m.ClusterCACertificate, ClientCertificate: m.ClientCertificate, ClientKey: secret.New(m.ClientKey), Insecure: m.Insecure,
		Namespace: m.Namespace, Serving: m.Serving, StagingURI: m.StagingURI, StorageSecret: m.StorageSecret,
		Images: kubernetes.Images{Fetch: m.Images.Fetch, Auth: m.Images.Auth}, Metrics: m.Metrics,
		Prometheus: kubernetes.Prometheus{URL: m.Prometheus.URL, Token: secret.New(m.Prometheus.Token), CACertificate: m.Prometheus.CACertificate,
			Insecure: m.Prometheus.Insecure, Metrics: m.Prometheus.Metrics, Scrapes: m.Prometheus.ScrapeInterval},
		UserAgent: p.userAgent, Logger: p.log.Named("kubernetes"),
	}
	if q := m.Prometheus.Queries; q != nil {
		c.Prometheus.Queries = &kubernetes.Queries{Requests: q.Requests, Errors: q.Errors, Latency: q.Latency}
	}
	if e := m.Exec; e != nil {
		c.Exec = &kubernetes.Exec{APIVersion: e.APIVersion, Command: e.Command, Args: e.Args, Env: e.Env}
	}
	if g := m.Gateway; g != nil {
		c.Gateway = &kubernetes.Gateway{Name: g.Name, Namespace: g.Namespace, Hostname: g.Hostname}
	}
	if p.rehearsal != nil {
		if err := p.rehearsal.kubernetes(&c); err != nil {
			return nil, err
		}
	}
	return kubernetes.Open(c)
}
