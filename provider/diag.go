// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

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
		detail := sentence(e.Error())
		if hint := mlerr.Hint(e); hint != "" {
			detail += "\n\n" + sentence(hint)
		}
		if dotted := mlerr.PathOf(e); dotted != "" {
			diags.AddAttributeError(attributePath(dotted), doing, detail)
		} else {
			diags.AddError(doing, detail)
		}
	}
	return err != nil
}

// sentence starts with a capital and ends with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	if first := s[0]; first >= 'a' && first <= 'z' && !strings.ContainsAny(strings.SplitN(s, " ", 2)[0], "./_:") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "\n") {
		s += "."
	}
	return s
}
