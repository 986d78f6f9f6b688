// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package hardware knows the machine types that platforms serve models on, and
// finds the smallest one that meets portable numbers. The catalogs are data, one
// CSV file a platform.
package hardware

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var (
	//go:embed sagemaker.csv
	sagemakerCSV []byte
	//go:embed vertex_ai.csv
	vertexAICSV []byte
	//go:embed azure_ml.csv
	azureMLCSV []byte
)

const azureML = "azure_ml"

var files = map[string][]byte{"sagemaker": sagemakerCSV, "vertex_ai": vertexAICSV, azureML: azureMLCSV}

// Accelerators are all accelerator types of the configuration language, sorted.
func Accelerators() []string {
	return []string{"amd-mi300x", "aws-inferentia1", "aws-inferentia2", "aws-trainium1", "aws-trainium2", "google-tpu-v5e",
		"intel-gaudi", "nvidia-a10", "nvidia-a100-40gb", "nvidia-a100-80gb", "nvidia-a10g", "nvidia-b200", "nvidia-b300", "nvidia-gb200", "nvidia-h100",
		"nvidia-h200", "nvidia-k80", "nvidia-l4", "nvidia-l40s", "nvidia-p100", "nvidia-p4", "nvidia-rtx-pro-6000", "nvidia-t4", "nvidia-v100"}
}

// Type is one machine type, or one to which accelerators are added.
type Type struct {
	Name                 string
	Arch                 string // "x86_64" or "arm64"
	VCPU                 float64
	MemoryGiB            float64
	Accelerator          string // "" if it has none
	AcceleratorCount     int
	AcceleratorMemoryGiB float64 // of each
	LocalNVMe            bool    // its disk is encrypted by the hardware; a customer's key and a volume size are refused
	Known                bool    // its numbers are published; otherwise they are zero and nothing resolves to it

	// Attached: the accelerators are added to the type, which comes without.
	Attached bool
	// PlatformAccelerator is the platform's own name of the accelerator, where one
	// has to be said.
	PlatformAccelerator string

	// ByNameOnly: nothing resolves to it, since the platform retires it or it has a
	// fraction of an accelerator.
	ByNameOnly bool
	// NoReserve: Azure ML keeps no instances of it in reserve for upgrades.
	NoReserve bool

	quotaFamily string // Azure's
}

// Family is the part of the name that types of one generation share, "ml.g5" or "n1";
// on Azure what its quotas call that, "standardDSv2Family".
func (t Type) Family() string {
	if t.quotaFamily != "" {
		return t.quotaFamily
	}
	if at := strings.LastIndexByte(t.Name, '.'); at >= 0 {
		return t.Name[:at]
	}
	family, _, _ := strings.Cut(t.Name, "-")
	return family
}

// Autoscales reports whether the platform scales the type by itself. SageMaker
// does not autoscale the burstable t2 types.
func (t Type) Autoscales() bool { return t.Family() != "ml.t2" }

// Need is what a replica must have at least. Zero is no requirement.
type Need struct {
	CPU              float64
	MemoryGiB        float64
	Accelerator      string
	AcceleratorCount int    // 0 with an Accelerator means 1
	Arch             string // "" means x86_64, which every prebuilt image runs on
}

// String says the need in words.
func (n Need) String() string {
	var words []string
	if n.CPU > 0 {
		words = append(words, fmt.Sprintf("%g vCPU", n.CPU))
	}
	if n.MemoryGiB > 0 {
		words = append(words, fmt.Sprintf("%g GiB", n.MemoryGiB))
	}
	if n.Accelerator != "" {
		words = append(words, fmt.Sprintf("%d x %s", max(1, n.AcceleratorCount), n.Accelerator))
	}
	if len(words) == 0 {
		return "nothing in particular"
	}
	return strings.Join(words, ", ")
}

// legacy families are often without quota in new accounts: they are chosen only
// when nothing else will do.
var legacy = []string{"ml.p2", "ml.p3", "ml.m4", "ml.c4", "ml.t2", "ml.inf1"}

// types are a platform's: by name as they come, and all with what can be added.
type types struct {
	byName map[string]Type
	all    []Type // sorted by name
}

var catalog = sync.OnceValue(func() map[string]types {
	all := map[string]types{}
	for platform, data := range files {
		parsed, err := parse(data)
		if err != nil {
			panic("the embedded catalog of " + platform + ": " + err.Error())
		}
		all[platform] = parsed
	}
	return all
})

// parse reads a catalog. A row that repeats the name of one before it says which
// accelerators can be added to that type, and how many: "1 2 4".
func parse(data []byte) (types, error) {
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return types{}, err
	}
	found := types{byName: make(map[string]Type, len(rows))}
	for _, r := range rows[1:] {
		var n [3]float64
		for i, column := range []int{2, 3, 6} {
			if n[i], err = strconv.ParseFloat(r[column], 64); err != nil {
				return types{}, fmt.Errorf("%s: %w", r[0], err)
			}
		}
		t := Type{Name: r[0], Arch: r[1], VCPU: n[0], MemoryGiB: n[1], Accelerator: r[4], AcceleratorMemoryGiB: n[2], LocalNVMe: r[7] == "true", Known: n[0] > 0}
		_, t.Attached = found.byName[t.Name]
		if len(r) > 8 {
			t.PlatformAccelerator = r[8]
		}
		if len(r) > 11 {
			t.ByNameOnly, t.NoReserve, t.quotaFamily = r[9] == "true", r[10] == "true", r[11]
		}
		for word := range strings.FieldsSeq(r[5]) {
			if t.AcceleratorCount, err = strconv.Atoi(word); err != nil {
				return types{}, fmt.Errorf("%s: %w", r[0], err)
			}
			if !t.Attached {
				found.byName[t.Name] = t
			}
			found.all = append(found.all, t)
		}
	}
	sort.SliceStable(found.all, func(i, j int) bool { return found.all[i].Name < found.all[j].Name })
	return found, nil
}

// Lookup finds a type by its exact name, with the accelerators that it comes with.
// Azure's names have no case.
func Lookup(platform, name string) (Type, bool) {
	if t, ok := catalog()[platform].byName[name]; ok || platform != azureML {
		return t, ok
	}
	named := Named(platform, name)
	if len(named) == 0 {
		return Type{}, false
	}
	return named[0], true
}

// All are a platform's types by name; one to which accelerators can be added is
// there again with each of them.
func All(platform string) []Type { return slices.Clone(catalog()[platform].all) }

// Named are all types of that name: as it comes, and with what can be added.
func Named(platform, name string) []Type {
	var all []Type
	for _, t := range catalog()[platform].all {
		if t.Name == name || platform == azureML && strings.EqualFold(t.Name, name) {
			all = append(all, t)
		}
	}
	return all
}

// Resolve finds the smallest type that satisfies every number of the need:
// fewest accelerators, then least memory, then fewest vCPU, then by name;
// current families before legacy ones. A type with accelerators is never
// chosen when none are asked for. Nothing that satisfies is InvalidArgument.
func Resolve(platform string, n Need) (Type, error) {
	if n.Accelerator != "" {
		n.AcceleratorCount = max(1, n.AcceleratorCount)
	}
	if n.Arch == "" {
		n.Arch = "x86_64"
	}
	var best *Type
	for _, t := range All(platform) {
		if t.satisfies(n) && (best == nil || t.smaller(*best)) {
			best = &t
		}
	}
	if best == nil {
		return Type{}, mlerr.New(mlerr.InvalidArgument, "%s has no machine type with %s", platform, n).
			WithHint("%s", nearest(platform, n))
	}
	return *best, nil
}

func (t Type) satisfies(n Need) bool {
	return t.Known && !t.ByNameOnly && (t.Arch == n.Arch || n.Accelerator != "") && t.Accelerator == n.Accelerator &&
		t.AcceleratorCount >= n.AcceleratorCount && t.VCPU >= n.CPU && t.MemoryGiB >= n.MemoryGiB
}

func (t Type) smaller(o Type) bool {
	if a, b := slices.Contains(legacy, t.Family()), slices.Contains(legacy, o.Family()); a != b {
		return b
	}
	switch {
	case t.AcceleratorCount != o.AcceleratorCount:
		return t.AcceleratorCount < o.AcceleratorCount
	case t.MemoryGiB != o.MemoryGiB:
		return t.MemoryGiB < o.MemoryGiB
	case t.VCPU != o.VCPU:
		return t.VCPU < o.VCPU
	}
	return t.Name < o.Name
}

// nearest names the largest types that come close.
func nearest(platform string, n Need) string {
	var close []Type
	for _, t := range All(platform) {
		if t.Known && t.Accelerator == n.Accelerator {
			close = append(close, t)
		}
	}
	if all := slices.Clone(close); len(all) > 0 {
		close = slices.DeleteFunc(close, func(t Type) bool { return t.ByNameOnly })
		if len(close) == 0 {
			return byName(all)
		}
	}
	if len(close) == 0 {
		offered := map[string]bool{}
		for _, t := range All(platform) {
			if t.Accelerator != "" {
				offered[t.Accelerator] = true
			}
		}
		names := make([]string, 0, len(offered))
		for name := range offered {
			names = append(names, name)
		}
		sort.Strings(names)
		return platform + " offers " + strings.Join(names, ", ")
	}
	sort.Slice(close, func(i, j int) bool { return close[j].smaller(close[i]) })
	t := close[0]
	return fmt.Sprintf("The largest with that accelerator is %s: %g vCPU, %g GiB, %d accelerators", t.Name, t.VCPU, t.MemoryGiB, t.AcceleratorCount)
}

// byName says that types are there and have to be named.
func byName(all []Type) string {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	return fmt.Sprintf("Only types that are being retired have it, and these are not chosen by themselves: set instance_type to one of %s, or take another accelerator", strings.Join(names, ", "))
}

// Suggest returns up to three names that a mistyped one may have meant, best
// first.
func Suggest(platform, name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var all []candidate
	for _, t := range All(platform) {
		if t.Attached {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(t.Name)); d <= max(2, len(name)/3) {
			all = append(all, candidate{t.Name, d})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].distance < all[j].distance })
	var names []string
	for _, c := range all[:min(3, len(all))] {
		names = append(names, c.name)
	}
	return names
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
