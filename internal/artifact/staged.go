// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var stagedDigest = regexp.MustCompile(`^([0-9a-f]{64})/(archive|tree)-`)

// StagedDigest is the digest of the artifact that an address below the staging
// place was made from; what is staged is arranged, and has other bytes. ok is
// false for any other address. One that nothing was staged to is NotFound with
// the path "artifact.uri".
func StagedDigest(ctx context.Context, store Store, at, into Location) (digest string, ok bool, err error) {
	prefix := strings.TrimSuffix(into.Key, "/") + "/"
	below, found := strings.CutPrefix(at.Key, strings.TrimPrefix(prefix, "/"))
	named := stagedDigest.FindStringSubmatch(below)
	if !found || at.Scheme != into.Scheme || at.Bucket != into.Bucket || named == nil {
		return "", false, nil
	}
	object := at
	if strings.HasSuffix(at.Key, "/") || named[2] == "tree" && strings.Count(below, "/") == 1 { // some platforms show it without the slash
		object = marker(at)
	}
	there, err := present(ctx, store, object, named[1])
	if err == nil && !there {
		err = mlerr.New(mlerr.NotFound, "nothing was staged at %s", at).At("artifact.uri").WithHint("Name the artifact itself")
	}
	return named[1], true, err
}

// marker lies beside a tree that is complete, not in it: whatever is in it becomes
// part of the model.
func marker(tree Location) Location {
	tree.Key = strings.TrimSuffix(tree.Key, "/") + ".complete"
	return tree
}
