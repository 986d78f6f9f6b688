// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The keys of our labels. Those that begin with "ml-" are ours, "goog-" is the
// platform's and other Google tools', and the rest are the user's.
const (
	labelManagedBy  = "managed-by"
	labelModel      = "ml-model"
	labelEndpoint   = "ml-endpoint"
	labelIncomplete = "ml-incomplete"
	labelUntested   = "ml-untested"
	labelInvokers   = "ml-invokers" // the endpoint's policy is looked at
	labelTimeout    = "ml-timeout"  // the time that the shared host gives is asked for
	labelAccount    = "ml-account"  // the local part of the service account's address
	labelDomain     = "ml-account-domain"
	labelDeployment = "ml-d-" // + a deployment's name: the id of one that was adopted
	labelAdopted    = "ml-adopted"
	labelHash       = "ml-hash"
	labelDigest     = "ml-digest"
	labelApproval   = "ml-approval"

	prefixOurs   = "ml-"
	prefixGoogle = "goog-"
	managedBy    = "terraform-provider-ml"
	yes          = "true"

	mostLabels = 64
)

func ours(key string) bool { return key == labelManagedBy || strings.HasPrefix(key, prefixOurs) }

// users are the labels that the user sees.
func users(all map[string]string) map[string]string {
	var found map[string]string
	for k, v := range all {
		if ours(k) || strings.HasPrefix(k, prefixGoogle) {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[k] = v
	}
	return found
}

// platforms are the labels that are to stay whatever the user wants.
func platforms(all map[string]string) map[string]string {
	kept := map[string]string{}
	for k, v := range all {
		if strings.HasPrefix(k, prefixGoogle) {
			kept[k] = v
		}
	}
	return kept
}

var (
	labelKey   = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]*$`)
	labelValue = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)
)

// labelFits holds a label's key or value to a form and to 63 characters and 128 bytes: if
// a pattern counted them, it would take megabytes in every process.
func labelFits(form *regexp.Regexp, text string) bool {
	return form.MatchString(text) && utf8.RuneCountInString(text) <= 63 && len(text) <= 128
}

// checkLabels holds the platform's rules; reserved is how many we add.
func checkLabels(labels map[string]string, reserved int) error {
	var all mlerr.List
	for k, v := range labels {
		path := "labels." + k
		switch {
		case ours(k), strings.HasPrefix(k, prefixGoogle):
			all.Add(mlerr.New(mlerr.InvalidArgument, "label %q is reserved", k).At("%s", path).WithHint("Use a key that does not begin with ml- or goog-, and is not managed-by"))
		case !labelFits(labelKey, k):
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the key of a label on Vertex AI", k).At("%s", path).
				WithHint("Use 1 to 63 lower-case letters, digits, underscores and hyphens, a letter first"))
		case !labelFits(labelValue, v):
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the value of a label on Vertex AI", v).At("%s", path).
				WithHint("Use up to 63 lower-case letters, digits, underscores and hyphens"))
		}
	}
	if most := mostLabels - reserved; len(labels) > most {
		all.Add(mlerr.New(mlerr.InvalidArgument, "there are %d labels, and Vertex AI has room for %d beside those of this provider", len(labels), most).At("labels"))
	}
	return all.Err()
}

// short is the hex of a SHA-256 in 52 characters that a label takes: hex has 64,
// and 63 fit.
func short(digest string) string {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) == 0 {
		return ""
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

// long is what short was made of, "" if it was not.
func long(label string) string {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(label))
	if err != nil || len(raw) != sha256.Size {
		return ""
	}
	return hex.EncodeToString(raw)
}

// A deployment has no labels. Its display name is ml/<name>/<hash>, and its id
// follows from that and from where it is: nothing else of that display name and id
// was made by anybody else.

// deploymentHash identifies what cannot change in a deployment while it runs.
func deploymentHash(dep *driver.Deployment, m machineSpec, account string) string {
	_, region, _ := strings.Cut(dep.Model.Key.Location, "/") // a project has an id and a number
	content, err := json.Marshal([]any{region, dep.Model.Key.Name, dep.Model.Version, m, dep.Compute.Spot, account})
	if err != nil {
		panic("a deployment is plain data: " + err.Error())
	}
	sum := sha256.Sum256(content)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:10]
}

func displayName(name, hash string) string { return prefixName + name + "/" + hash }

const prefixName = "ml/"

// mostAttempts is how many ids a deployment can have: one that has failed may keep
// its own reserved.
const mostAttempts = 8

// deploymentID is 10 digits, the most that the platform takes.
func deploymentID(region, endpoint, display string, attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s\n%s\n%d", region, endpoint, display, attempt))
	return fmt.Sprint(1_000_000_000 + binary.BigEndian.Uint64(sum[:8])%9_000_000_000)
}

// ownName is the name of a deployment that we made; ok is false of any other.
func ownName(region, endpoint string, dm *deployedModel) (name string, ok bool) {
	name, hash, ok := strings.Cut(strings.TrimPrefix(dm.DisplayName, prefixName), "/")
	if !ok || !strings.HasPrefix(dm.DisplayName, prefixName) || len(hash) != 10 {
		return "", false
	}
	for attempt := range mostAttempts {
		if deploymentID(region, endpoint, dm.DisplayName, attempt) == dm.ID {
			return name, true
		}
	}
	return "", false
}

// account is a service account's address as two labels: no value takes an @ or a dot.
func account(labels map[string]string, address string) {
	local, domain, ok := strings.Cut(address, "@")
	if ok {
		labels[labelAccount], labels[labelDomain] = local, strings.ReplaceAll(domain, ".", "_")
	}
}

func accountIn(labels map[string]string) string {
	if labels[labelAccount] == "" {
		return ""
	}
	return labels[labelAccount] + "@" + strings.ReplaceAll(labels[labelDomain], "_", ".")
}
