// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// digestMetadata is the user metadata that says of a staged object which artifact
// it was made from. It is not the digest of the object's own bytes, which may be
// an archive.
const digestMetadata = "ml-artifact-sha256"

// bucket is what an object store has to tell of one bucket's objects.
type bucket interface {
	// head is the object at that location. Absent is NotFound.
	head(ctx context.Context, at Location) (Entry, error)
	// list gives every object whose key begins with the location's.
	list(ctx context.Context, at Location, give func(key string, e Entry)) error
}

// objectSource is an artifact in an object store: an object, or all below a prefix.
type objectSource struct {
	bucket bucket
	at     Location
}

func (o *objectSource) String() string { return o.at.String() }
func (o *objectSource) Single() bool   { return !o.at.IsPrefix() }

func (o *objectSource) Entries(ctx context.Context) ([]Entry, error) {
	if o.Single() {
		e, err := o.bucket.head(ctx, o.at)
		if err != nil {
			return nil, err
		}
		e.Path = base(o.at.Key)
		return []Entry{e}, nil
	}
	var all []Entry
	err := o.bucket.list(ctx, o.at, func(key string, e Entry) {
		if strings.HasSuffix(key, "/") { // an empty object that a console shows as a folder
			return
		}
		e.Path = strings.TrimPrefix(key, o.at.Key)
		all = append(all, e)
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, mlerr.New(mlerr.NotFound, "there is nothing below %s", o).At("artifact.uri")
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all, nil
}
