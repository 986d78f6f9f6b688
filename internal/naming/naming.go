// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package naming computes the names of created things, and knows what names each
// platform allows.
package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// hashLength is how many hex digits of a hash a name carries: 40 bits, so that
// two of a million names of one endpoint meet with a chance of one in two.
const hashLength = 10

// Hash is the hex SHA-256 of v's JSON, whose map keys are sorted: the same
// content has the same hash on every machine.
func Hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("only plain data is hashed: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Name is base, cut so that the whole is at most max characters, and the first
// ten digits of hash: "fraud-3f9c2a71b0". What the cut takes away must be part
// of what was hashed.
func Name(base string, max int, hash string) string {
	if room := max - hashLength - 1; len(base) > room {
		base = base[:room]
	}
	return strings.TrimRight(base, "-_") + "-" + hash[:hashLength]
}

// rule is what a platform allows as a name.
type rule struct {
	pattern *regexp.Regexp
	words   string
}

func newRule(pattern, words string) rule { return rule{regexp.MustCompile(pattern), words} }

var (
	sagemakerName = newRule(`^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$`, "1 to 63 letters, digits and hyphens, with a letter or digit at both ends")
	dnsLabel      = newRule(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`, "1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen")
)

// rules are by platform and kind. Sources: ModelPackageGroupName, EndpointName
// and VariantName of SageMaker; modelId and endpointId of Vertex AI; the online
// endpoint and deployment names of Azure ML; RFC 1035 labels of Kubernetes.
var rules = map[string]map[string]rule{
	"sagemaker": {"model": sagemakerName, "endpoint": sagemakerName, "deployment": sagemakerName},
	"vertex_ai": {
		"model":      newRule(`^[a-z_][a-z0-9_-]{0,62}$`, "1 to 63 lower-case letters, digits, underscores and hyphens, beginning with a letter or underscore"),
		"endpoint":   dnsLabel,
		"deployment": newRule(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`, "1 to 32 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"),
	},
	"azure_ml": {
		"model":    newRule(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`, "1 to 255 letters, digits, underscores, hyphens and dots, beginning with a letter or digit"),
		"endpoint": newRule(`^[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]$`, "3 to 32 letters, digits and hyphens, beginning with a letter and not ending with a hyphen"),
		// Shorter ones than the platform takes: its own name of a deployment has more.
		"deployment": newRule(`^[a-zA-Z]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`, "1 to 32 letters, digits and hyphens, beginning with a letter and not ending with a hyphen"),
	},
	"kubernetes": {"model": dnsLabel, "endpoint": dnsLabel, "deployment": dnsLabel},
}

// Check refuses a name that the platform does not allow for that kind of thing
// ("model", "endpoint" or "deployment"), with InvalidArgument.
func Check(platform, kind, name string) error {
	r, ok := rules[platform][kind]
	if !ok || r.pattern.MatchString(name) {
		return nil
	}
	return mlerr.New(mlerr.InvalidArgument, "%q cannot be the name of a %s on %s", name, kind, platform).WithHint("Use %s", r.words)
}
