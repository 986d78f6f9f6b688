// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command push pushes the images of the cluster tests to a registry, for a cluster
// that was there already: go run ./tests/cluster/push registry.example/ml, and then
// ML_TEST_IMAGES=registry.example/ml.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: push REGISTRY")
		os.Exit(2)
	}
	if err := kube.Push(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}
