// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import (
	"context"
	"io"
)

// Original is the artifact of a version as it was handed over, before a platform
// arranged it for a runtime and staged it. It is how a model moves from one platform
// to another.
type Original interface {
	// Files gives each file, sorted by its path, which is relative and uses slashes.
	// single tells one file from a directory that holds one. open may be called until
	// ctx ends, several times, and with one file at a time it reads everything once.
	// Bytes that are not any more those of the version are InvalidArgument with the
	// path "artifact.uri".
	Files(ctx context.Context, give func(path string, size int64, open func(context.Context) (io.ReadCloser, error))) (single bool, err error)
}
