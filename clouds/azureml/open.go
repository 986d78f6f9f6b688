// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Config is how Azure is reached. What it does not say of the account comes from the
// environment variables of azurerm.
type Config struct {
	Account azure.Config // with the default subscription

	ResourceGroup, Workspace string // of the default location
	StagingURI               string // "https://account.blob.core.windows.net/container/prefix"; "" refuses what must be copied
	StorageEndpointURL       string // of Blob storage, for every account; "" is Azure's
	InvokerRole              string // id of the role that auth.invokers get; "" is the smallest built-in one

	Logger hclog.Logger // nil discards
}

// azureML is the driver.
type azureML struct {
	cfg     Config
	account *azure.Account
	log     hclog.Logger

	mu         sync.Mutex
	workspaces map[string]*workspace // by location, in lower case
}

var _ driver.Driver = (*azureML)(nil)

// Open makes the driver. It never dials out: credentials are first used by the first
// call. Impossible combinations are InvalidArgument.
func Open(c Config) (driver.Driver, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	account, err := azure.Open(c.Account)
	if err != nil {
		return nil, err
	}
	d := &azureML{cfg: c, account: account, log: c.Logger, workspaces: map[string]*workspace{}}
	if d.log == nil {
		d.log = hclog.NewNullLogger()
	}
	return d, nil
}

var (
	subscriptionID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	groupName      = regexp.MustCompile(`^[-\w.()]{0,89}[-\w()]$`)
	workspaceName  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`)
	blobAddress    = regexp.MustCompile(`^https://[a-z0-9]{3,24}\.blob\.[a-z0-9.-]+/[a-z0-9$][a-z0-9-]{1,62}(/.*)?$`)
	roleID         = regexp.MustCompile(`(?i)^(/.*/providers/Microsoft\.Authorization/roleDefinitions/)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (c *Config) check() error {
	var all mlerr.List
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path))
		}
	}
	refuse(c.ResourceGroup != "" && !groupName.MatchString(c.ResourceGroup), "resource_group", "%q is not the name of a resource group", c.ResourceGroup)
	refuse(c.Workspace != "" && !workspaceName.MatchString(c.Workspace), "workspace", "%q is not the name of a workspace", c.Workspace)
	refuse(c.StagingURI != "" && !blobAddress.MatchString(c.StagingURI), "staging_uri",
		"staging_uri must be like https://account.blob.core.windows.net/container/prefix, is %q", c.StagingURI)
	refuse(c.InvokerRole != "" && !roleID.MatchString(c.InvokerRole), "invoker_role_definition_id", "%q is not the id of a role definition", c.InvokerRole)
	refuse(c.StorageEndpointURL != "" && !strings.Contains(c.StorageEndpointURL, "://"), "storage_endpoint_url", "storage_endpoint_url must be an absolute URL, is %q", c.StorageEndpointURL)
	return all.Err()
}

// Locate returns "subscription/resource-group/workspace", in lower case: Azure's names have
// none, and portals, tools and people write the same one in several. What a location
// leaves out from its beginning is the provider's.
func (d *azureML) Locate(location string) (string, error) {
	parts := []string{d.account.SubscriptionID(), d.cfg.ResourceGroup, d.cfg.Workspace}
	refuse := func(what, hint string) (string, error) {
		return "", mlerr.New(mlerr.InvalidArgument, "%s", what).At("location").WithHint("%s", hint)
	}
	if location != "" {
		given := strings.Split(location, "/")
		if len(given) > len(parts) {
			return refuse("\""+location+"\" is not a workspace", "Use resource-group/workspace, or subscription/resource-group/workspace")
		}
		copy(parts[len(parts)-len(given):], given)
	}
	switch subscription, group, name := parts[0], parts[1], parts[2]; {
	case subscription == "":
		return refuse("no Azure subscription is configured", "Set the provider's azure_ml.subscription_id, or ARM_SUBSCRIPTION_ID")
	case group == "":
		return refuse("no Azure resource group is configured", "Set location to resource-group/workspace, or the provider's azure_ml.resource_group")
	case name == "":
		return refuse("no Azure ML workspace is configured", "Set location to resource-group/workspace, or the provider's azure_ml.workspace")
	case !subscriptionID.MatchString(subscription):
		return refuse("\""+subscription+"\" is not the id of a subscription", "Use an id such as 00000000-0000-0000-0000-000000000000, not its name")
	case !groupName.MatchString(group):
		return refuse("\""+group+"\" is not the name of a resource group", "Use resource-group/workspace")
	case !workspaceName.MatchString(name):
		return refuse("\""+name+"\" is not the name of a workspace", "Use resource-group/workspace")
	}
	return strings.ToLower(strings.Join(parts, "/")), nil
}

// The forms of ids of Resource Manager, with or without its host. They have no case.
const inWorkspace = `(?i)^(?:https://[^/]+)?/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.MachineLearningServices/workspaces/([^/]+)/`

var nativeNames = map[driver.Kind]*regexp.Regexp{
	driver.KindEndpoint: regexp.MustCompile(inWorkspace + `onlineEndpoints/([^/?]+)$`),
	driver.KindModel:    regexp.MustCompile(inWorkspace + `models/([^/?]+)(?:/versions/[^/?]+)?$`),
}

// ParseNativeID understands "/subscriptions/S/resourceGroups/G/…/onlineEndpoints/E"
// in any casing.
func (d *azureML) ParseNativeID(kind driver.Kind, id string) (driver.Key, bool) {
	m := nativeNames[kind].FindStringSubmatch(id)
	if len(m) == 0 || !subscriptionID.MatchString(m[1]) || !groupName.MatchString(m[2]) || !workspaceName.MatchString(m[3]) {
		return driver.Key{}, false
	}
	return driver.Key{Platform: driver.AzureML, Location: strings.ToLower(strings.Join(m[1:4], "/")), Name: m[4]}, true
}
