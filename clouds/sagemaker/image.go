// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// A version is registered before anybody knows on what it will be served, and a
// preset has other images for accelerators and for ARM. So a package holds them
// all: the default, and the others as additional inference specifications, of
// which a Model chooses one by name.
const (
	buildDefault = ""
	buildGPU     = "gpu"
	buildARM     = "arm64"
)

// buildFor is the build that suits an instance type best.
func buildFor(instanceType string) string {
	machine, ok := hardware.Lookup(string(driver.SageMaker), instanceType)
	switch {
	case ok && machine.Arch == "arm64":
		return buildARM
	case ok && strings.HasPrefix(machine.Accelerator, "nvidia-"):
		return buildGPU
	}
	return buildDefault
}

// containers are the container of a version in each build that there is.
func containers(spec *driver.ModelSpec, staged string) (map[string][]types.ModelPackageContainerDefinition, error) {
	s := &spec.Serving
	if s.Image != "" {
		return map[string][]types.ModelPackageContainerDefinition{buildDefault: {container(s, s.Image, nil, staged)}}, nil
	}
	standard, err := runtimes.SageMaker(s.Runtime, spec.Key.Location, false, "x86_64")
	if err != nil {
		return nil, err
	}
	all := map[string][]types.ModelPackageContainerDefinition{buildDefault: {container(s, standard.Image, standard.Env, staged)}}
	for build, machine := range map[string]struct {
		gpu  bool
		arch string
	}{buildGPU: {true, "x86_64"}, buildARM: {false, "arm64"}} {
		// A build that does not exist is no error: the default then has to do.
		if c, err := runtimes.SageMaker(s.Runtime, spec.Key.Location, machine.gpu, machine.arch); err == nil && c.Image != standard.Image {
			all[build] = []types.ModelPackageContainerDefinition{container(s, c.Image, c.Env, staged)}
		}
	}
	return all, nil
}

// container points an image to the staged bytes. The user's variables win over
// the preset's.
func container(s *driver.Serving, image string, preset map[string]string, staged string) types.ModelPackageContainerDefinition {
	env := map[string]string{}
	maps.Copy(env, preset)
	maps.Copy(env, s.Env)
	c := types.ModelPackageContainerDefinition{Image: aws.String(image), Environment: nonEmpty(env)}
	modelData(&c, staged)
	return c
}

func additional(builds map[string][]types.ModelPackageContainerDefinition) []types.AdditionalInferenceSpecificationDefinition {
	var all []types.AdditionalInferenceSpecificationDefinition
	for _, name := range slices.Sorted(maps.Keys(builds)) {
		if name != buildDefault {
			all = append(all, types.AdditionalInferenceSpecificationDefinition{Name: aws.String(name), Containers: builds[name]})
		}
	}
	return all
}

func hasBuild(p *sm.DescribeModelPackageOutput, build string) bool {
	return slices.ContainsFunc(p.AdditionalInferenceSpecifications, func(s types.AdditionalInferenceSpecificationDefinition) bool {
		return aws.ToString(s.Name) == build
	})
}

// imageFor is the image that a version runs in a build.
func imageFor(p *sm.DescribeModelPackageOutput, build string) string {
	for _, s := range p.AdditionalInferenceSpecifications {
		if aws.ToString(s.Name) == build && len(s.Containers) > 0 {
			return aws.ToString(s.Containers[0].Image)
		}
	}
	if s := p.InferenceSpecification; s != nil && len(s.Containers) > 0 {
		return aws.ToString(s.Containers[0].Image)
	}
	return ""
}
