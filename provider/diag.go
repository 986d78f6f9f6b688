// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// mapAttributes are the attributes whose next path segment is a map key.
var mapAttributes = map[string]bool{"deployments": true, "labels": true, "metadata": true, "env": true, "claims": true, "node_selector": true}

// attributePath turns "deployments.main.compute.instance_type" into a path.
func attributePath(dotted string) path.Path {
	segments := strings.Split(dotted, ".")
	p := path.Root(segments[0])
	for i, s := range segments[1:] {
		if mapAttributes[segments[i]] {
			p = p.AtMapKey(s)
		} else {
			p = p.AtName(s)
		}
	}
	return p
}

// report adds err to diags, one diagnostic for each error it joins: which
// attribute, what failed, what the platform said, what to do. It reports
// whether there was one. doing is a short title, "Cannot update the endpoint".
func report(diags *diag.Diagnostics, doing string, err error) bool {
	for _, e := range mlerr.Split(err) {
		hint := ""
		if h := mlerr.Hint(e); h != "" {
			hint = "\n\n" + sentence(h)
		}
		if dotted := mlerr.PathOf(e); dotted != "" {
			// Of a path into an object or map, Terraform shows the resource only.
			p := attributePath(dotted)
			diags.AddAttributeError(p, doing, stopped(p.String()+": "+e.Error())+hint)
		} else {
			diags.AddError(doing, sentence(e.Error())+hint)
		}
	}
	return err != nil
}

// sentence starts with a capital, unless it starts with a name, and ends with a
// full stop.
func sentence(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if s != "" && !strings.ContainsAny(first, "./_:") && !slices.Contains(driver.Platforms(), driver.Platform(first)) {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return stopped(s)
}

func stopped(s string) string {
	if s = strings.TrimSpace(s); s != "" && !strings.ContainsAny(s[len(s)-1:], ".?!") {
		s += "."
	}
	return s
}
