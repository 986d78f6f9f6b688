// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"regexp"
	"unicode/utf8"
)

var (
	modelID    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)
	endpointID = regexp.MustCompile(`^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,9})$`)
	deployedID = regexp.MustCompile(`^[0-9]{1,10}$`)
	aliasForm  = regexp.MustCompile(`^[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]$`)
	labelKey   = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}][\p{Ll}\p{Lo}\p{N}_-]*$`)
	labelValue = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]*$`)
	kmsKey     = regexp.MustCompile(`^projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+$`)
	network    = regexp.MustCompile(`^projects/[0-9]+/global/networks/[^/]+$`)
	bigQuery   = regexp.MustCompile(`^bq://[^./]+(\.[^./]+){0,2}$`)
	account    = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	cName      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

const (
	mostLabels      = 64
	mostDisplayName = 128
)

// labelFits counts characters itself: a pattern that did would take megabytes.
func labelFits(form *regexp.Regexp, text string) bool {
	return form.MatchString(text) && utf8.RuneCountInString(text) < 64 && len(text) <= 128
}

// displayName is required, and short.
func (v *violations) displayName(field, name string) {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		v.add(field, "Required field is not set.")
	case n > mostDisplayName:
		v.add(field, "The display name must be at most %d characters long.", mostDisplayName)
	}
}

func (v *violations) labels(field string, labels map[string]string) {
	const rule = "Label keys and values can only contain lowercase letters, numbers, dashes and underscores. Label keys must start with a letter or number, must be less than 64 characters in length, and must be less than 128 bytes in length when encoded in UTF-8. Label values must be less than 64 characters in length, and must be less than 128 bytes in length when encoded in UTF-8. No more than 64 labels can be attached to a given resource."
	bad := len(labels) > mostLabels
	for k, val := range labels {
		bad = bad || !labelFits(labelKey, k) || !labelFits(labelValue, val)
	}
	if bad {
		v.add(field, "%s", rule)
	}
}

// key checks a customer's key, which is in the region of what it encrypts.
func (v *violations) key(field, name, region string) {
	if name == "" {
		return
	}
	m := kmsKey.FindStringSubmatch(name)
	switch {
	case m == nil:
		v.add(field, "The KMS key name \"%s\" must have the form projects/{project}/locations/{location}/keyRings/{key_ring}/cryptoKeys/{key}.", name)
	case m[1] != region:
		v.add(field, "The KMS key \"%s\" must be in the same region as the resource: %s.", name, region)
	}
}

func (v *violations) serviceAccount(field, address string) {
	if address != "" && !account.MatchString(address) {
		v.add(field, "Invalid service account: \"%s\".", address)
	}
}
