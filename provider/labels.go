// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

// ownLabels are the labels on the platform that belong to a resource itself:
// those it had before, and those that somebody else put there. What comes, or
// came, from the provider's labels shows in effective_labels only.
func ownLabels(seen, fromProvider, ownBefore, effectiveBefore map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range seen {
		_, mine := ownBefore[k]
		_, givenNow := fromProvider[k]
		_, givenBefore := effectiveBefore[k]
		if mine || !givenNow && !givenBefore {
			own[k] = v
		}
	}
	if len(own) == 0 {
		return nil
	}
	return own
}
