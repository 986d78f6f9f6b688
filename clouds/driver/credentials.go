// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Credentials are what callers of an endpoint send: keys, or a token. They are read
// when they are asked for, and kept nowhere.
type Credentials struct {
	URL     string
	Mode    string                   // Auth.Mode of the endpoint
	Keys    map[string]secret.String // by name: "primary", or the name of an invoker
	Token   secret.String            // sent as a bearer token
	Expires time.Time                // of the token; zero if the platform does not say
}
