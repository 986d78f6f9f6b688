// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// The names of our tags. Those that begin with "tfml-" are ours, and the rest are the
// user's. Endpoints, deployments and autoscale settings have them as tags of Resource
// Manager, models, versions and environments as tags of the asset.
const (
	tagManagedBy  = "managed-by"
	tagModel      = "tfml-model"    // on a model its name, on a deployment the version that it serves: "fraud@7"
	tagEndpoint   = "tfml-endpoint" // the name of the endpoint
	tagDeployment = "tfml-logical"
	tagIncomplete = "tfml-incomplete"
	tagUntested   = "tfml-untested"
	tagAdopted    = "tfml-adopted" // on a model: the versions up to that one were there when it was adopted
	tagPlaced     = "tfml-d-"      // + a deployment's name, on an endpoint: the platform's name of one that was adopted
	tagContent    = "tfml-content" // on a deployment: hash of what it was made with
	tagScaling    = "tfml-scaling" // on an autoscale setting, in as many parts as it takes: what was wanted
	tagHash       = "tfml-hash"
	tagDigest     = "tfml-digest"
	tagApproval   = "tfml-approval"
	tagMetadata   = "tfml-metadata"
	tagRegistry   = "tfml-registry" // on a model: where its versions are published to
	tagAlias      = "alias."        // + an alias, on a model: the version that it points to

	// What an endpoint's deployments are to be made with, and what a setting was
	// written like where the platform changes that.
	tagTimeout     = "tfml-request-timeout"
	tagPercent     = "tfml-capture-percent"
	tagInclude     = "tfml-capture-include"
	tagDestination = "tfml-capture-destination"
	tagEgress      = "tfml-egress-public"
	tagIdentity    = "tfml-identity"
	tagCompute     = "tfml-compute"
	tagKey         = "tfml-encryption-key"

	// Properties of versions and deployments, which cannot change.
	propertyFormat      = "tfml-format"
	propertyServing     = "tfml-serving"
	propertyEnvironment = "tfml-environment" // of a version: the environment that serves it
	propertyArtifact    = "tfml-artifact"    // of a version: where its bytes were staged
	propertyRegistry    = "tfml-registry"    // of a version: where it is published to
	propertyEnv         = "tfml-env"         // of a deployment: its own variables
	propertyPath        = "tfml-path"        // of a deployment: where its server answers below the endpoint's host
	propertyVariables   = "tfml-variables"   // of a deployment: hash of all its variables

	prefixOurs = "tfml-"
	managedBy  = "terraform-provider-ml"
	yes        = "true"

	mostTags, longestTag, longestTagName = 50, 256, 512
)

func ours(key string) bool {
	return strings.EqualFold(key, tagManagedBy) || strings.HasPrefix(strings.ToLower(key), prefixOurs)
}

// users are the tags that the user sees.
func users(all map[string]*string) map[string]string {
	var found map[string]string
	for k, v := range all {
		if ours(k) || v == nil {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[k] = *v
	}
	return found
}

// tag is one tag. Their names have no case.
func tag(all map[string]*string, key string) string {
	if v, ok := all[key]; ok && v != nil {
		return *v
	}
	for k, v := range all {
		if strings.EqualFold(k, key) && v != nil {
			return *v
		}
	}
	return ""
}

func pointers(m map[string]string) map[string]*string {
	all := make(map[string]*string, len(m))
	for k, v := range m {
		all[k] = new(v)
	}
	return all
}

func texts(m map[string]*string) map[string]string {
	all := make(map[string]string, len(m))
	for k, v := range m {
		if v != nil {
			all[k] = *v
		}
	}
	return all
}

func nonEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// fits refuses what the value of a tag does not take.
func fits(r *refusal, path, value string) {
	r.when(len(value) > longestTag, mlerr.InvalidArgument, path, "Use a shorter one", "%s is noted in a tag, and has %d characters where %d fit", path, len(value), longestTag)
}

var tagName = regexp.MustCompile(`^[^<>%&\\?/\x00-\x1f]{1,512}$`)

// checkLabels holds the rules of Resource Manager; reserved is how many tags we add.
func checkLabels(labels map[string]string, reserved int) error {
	var all mlerr.List
	folded := map[string]string{}
	for k, v := range labels {
		path := "labels." + k
		low := strings.ToLower(k)
		switch {
		case ours(k), strings.HasPrefix(low, tagAlias), strings.HasPrefix(low, "microsoft"), strings.HasPrefix(low, "azure"), strings.HasPrefix(low, "windows"):
			all.Add(mlerr.New(mlerr.InvalidArgument, "label %q is reserved", k).At("%s", path).
				WithHint("Use a key that is not managed-by, and does not begin with tfml-, alias., azure, microsoft or windows"))
		case !tagName.MatchString(k):
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the name of a tag on Azure", k).At("%s", path).
				WithHint("Use 1 to %d characters without any of < > %% & \\ ? /", longestTagName))
		case len(v) > longestTag:
			all.Add(mlerr.New(mlerr.InvalidArgument, "the value of label %s has %d characters, and a tag on Azure takes %d", k, len(v), longestTag).At("%s", path).
				WithHint("Use a shorter value"))
		}
		if other, twice := folded[low]; twice {
			all.Add(mlerr.New(mlerr.InvalidArgument, "the labels %q and %q are one tag on Azure", min(k, other), max(k, other)).At("labels").WithHint("Leave one of them out"))
		}
		folded[low] = k
	}
	if most := mostTags - reserved; len(labels) > most {
		all.Add(mlerr.New(mlerr.InvalidArgument, "there are %d labels, and Azure has room for %d beside those of this provider", len(labels), most).At("labels"))
	}
	return all.Err()
}

// longestDeployment is what the platform allows.
const longestDeployment = 32

// physical is the platform's name of a deployment: the user's, and a hash of what
// cannot change while it runs. So an interrupted creation is found again, and a
// changed deployment stands beside its predecessor. The whole of the user's name is
// hashed too, as its case and its end may not fit.
func physical(name, content string, longest int) string {
	return naming.Name(strings.ToLower(name), longest, naming.Hash([]string{name, content}))
}

// deploymentTags are all tags of a deployment.
func deploymentTags(endpoint string, dep *driver.Deployment, content string, s *driver.Settings) map[string]string {
	tags := map[string]string{tagManagedBy: managedBy, tagEndpoint: endpoint, tagDeployment: dep.Name, tagContent: content, tagModel: modelWords(dep.Model)}
	carry(tags, s)
	return tags
}

// modelWords is a version as a tag has it.
func modelWords(ref driver.VersionRef) string {
	if ref.Native != "" {
		return ref.Native
	}
	return ref.Key.Name + "@" + ref.Version
}
