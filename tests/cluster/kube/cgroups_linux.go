// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

const groups = "/sys/fs/cgroup"

// hierarchies are the roots of control groups: one of version 2, or one for each
// controller of version 1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err == nil {
		return []string{groups}, nil
	}
	files, err := filepath.Glob(filepath.Join(groups, "*", "cgroup.procs"))
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files, err
}

// makeGroups makes the control group below which kubelet makes those of the pods.
func makeGroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil && root == groups {
			all := "+" + strings.Join(strings.Fields(string(controllers)), " +")
			if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(all), 0o600); err != nil {
				return err
			}
		}
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// removeGroups removes a control group with those below it, whose processes have
// ended. The kernel lets go of a group a moment after its last process.
func removeGroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	loop := wait.Loop{Clock: wait.Real{}, Limit: 20 * time.Second, First: 20 * time.Millisecond}
	for {
		var left []error
		for _, root := range roots {
			left = append(left, removeTree(filepath.Join(root, name)))
		}
		err := errors.Join(left...)
		if err == nil {
			return nil
		}
		if loop.Pause(context.Background()) != nil {
			return err
		}
	}
}

func removeTree(root string) error {
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(all) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
