// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// domain is what our labels and annotations begin with.
const domain = "ml.terraform.io/"

// Labels.
const (
	labelManaged    = "app.kubernetes.io/managed-by"
	manager         = "terraform-provider-ml"
	labelKind       = domain + "kind"
	labelModel      = domain + "model"
	labelVersion    = domain + "model-version"
	labelEndpoint   = domain + "endpoint"
	labelDeployment = domain + "deployment"
	labelID         = domain + "deployment-id"
	labelNamespace  = domain + "namespace" // on objects of the cluster
	labelUses       = domain + "uses-"     // and the first digits of a version's hash
)

// Values of labelKind.
const (
	kindModel    = "model"
	kindVersion  = "model-version"
	kindEndpoint = "endpoint"
)

// Annotations.
const (
	noteIncomplete = domain + "incomplete"
	noteUntested   = domain + "untested"
	noteApproval   = domain + "approval"
	noteMetadata   = domain + "metadata"
	noteDigest     = domain + "digest"
	noteSpec       = domain + "spec-hash"
	noteWarning    = domain + "warning"
)

// marked are the labels of something of ours: the user's, and on top of them ours.
func marked(user map[string]string, ours ...string) map[string]string {
	all := make(map[string]string, len(user)+1+len(ours)/2)
	maps.Copy(all, user)
	all[labelManaged] = manager
	for pair := range slices.Chunk(ours, 2) {
		all[pair[0]] = pair[1]
	}
	return all
}

// labelsIn are the user's labels of something of ours, nil for none.
func labelsIn(o *object) map[string]string {
	var user map[string]string
	for k, v := range o.GetLabels() {
		if !reserved(k) {
			if user == nil {
				user = map[string]string{}
			}
			user[k] = v
		}
	}
	return user
}

func reserved(label string) bool { return label == labelManaged || strings.HasPrefix(label, domain) }

func ours(o *object) bool { return o.GetLabels()[labelManaged] == manager }

// selecting is the selector of what is ours and has those labels.
func selecting(pairs ...string) string {
	all := []string{labelManaged + "=" + manager}
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, strings.Join(pair, "="))
	}
	return strings.Join(all, ",")
}

// note sets or removes an annotation.
func note(o *object, name, value string) {
	all := o.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	if all[name] = value; value == "" {
		delete(all, name)
	}
	o.SetAnnotations(all)
}

func noted(o *object, name string) bool { return o.GetAnnotations()[name] == "true" }

// The syntax of labels
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
var (
	labelKey   = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
)

func checkLabels(labels map[string]string) error {
	var all mlerr.List
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case reserved(k):
			all.Add(mlerr.New(mlerr.InvalidArgument, "the label %s belongs to this provider", k).At("labels").WithHint("Choose another name"))
		case !labelKey.MatchString(k):
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be a label's name on kubernetes", k).At("labels").
				WithHint("Use up to 63 letters, digits, hyphens, underscores and dots, perhaps after a domain and a slash"))
		case !labelValue.MatchString(labels[k]):
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the value of a label on kubernetes", labels[k]).At("labels.%s", k).
				WithHint("Use up to 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both ends"))
		}
	}
	return all.Err()
}

// uses is the label that an endpoint carries for each version that it refers to.
func uses(ref driver.VersionRef) string { return labelUses + hash(ref.String())[:16] }
