// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

var (
	environmentKey = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	kmsKey         = regexp.MustCompile(`^[a-zA-Z0-9:/_-]+$`)
)

const (
	maxName        = 63
	maxDescription = 1024
	modelReserved  = 4 // managed-by, resource, incomplete and adopted
)

// The container contract of SageMaker
// (https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
const (
	containerPort  = 8080
	invocationPath = "/invocations"
	pingPath       = "/ping"
)

// PrepareModel refuses what a model package group or a package cannot hold.
func (d *sagemaker) PrepareModel(spec *driver.ModelSpec) error {
	var all mlerr.List
	all.Add(checkName("name", driver.KindModel, spec.Key.Name, spec.Unknown))
	all.Add(checkLabels(spec.Labels, modelReserved+len(spec.Aliases)))
	all.Add(checkModelTags(spec))
	all.Add(checkServing(&spec.Serving, spec.Unknown))
	all.Add(checkRuntime(spec))
	all.Add(checkMetadata(spec))
	if spec.EncryptionKey != "" && !kmsKey.MatchString(spec.EncryptionKey) {
		all.Add(mlerr.New(mlerr.InvalidArgument, "%q is not the id, alias or ARN of a KMS key", spec.EncryptionKey).At("encryption.key"))
	}
	all.Add(d.checkArtifact(spec))
	return all.Err()
}

func checkName(path string, kind driver.Kind, name string, unknown driver.Unknown) error {
	var e *mlerr.Error
	if err := naming.Check(string(driver.SageMaker), string(kind), name); unknown.At(path) || !errors.As(err, &e) {
		return nil
	}
	return e.At("%s", path)
}

// checkModelTags judges what is kept in the group's tags.
func checkModelTags(spec *driver.ModelSpec) error {
	var all mlerr.List
	if n := len([]rune(spec.Description)); n > maxDescription {
		all.Add(mlerr.New(mlerr.InvalidArgument, "a description may have %d characters, this has %d", maxDescription, n).At("description"))
	}
	for _, alias := range spec.Aliases {
		if alias == "" || !allInCharset(alias) || len([]rune(alias)) > maxTagKey-len(tagAlias) {
			all.Add(mlerr.New(mlerr.InvalidArgument, "alias %q cannot be part of a tag", alias).At("aliases").
				WithHint("Use letters, digits, spaces and _ . : / = + - @, at most %d", maxTagKey-len(tagAlias)))
		}
	}
	if n := len(groupTags(spec, "1", true)) + 1; n > maxTags { // and one for what was adopted
		all.Add(mlerr.New(mlerr.InvalidArgument, "labels, aliases and description need %d tags, and a model package group has at most %d", n, maxTags).
			At("labels").WithHint("Use fewer labels or aliases, or a shorter description"))
	}
	return all.Err()
}

// checkServing judges the container contract against the fixed one of SageMaker.
func checkServing(s *driver.Serving, unknown driver.Unknown) error {
	var all mlerr.List
	fixed := func(differs bool, path, format string, args ...any) {
		if differs && !unknown.At(path) {
			all.Add(mlerr.New(mlerr.Unsupported, format, args...).At("%s", path).
				WithHint("Leave it out and let the container answer on port 8080: GET /ping and POST /invocations"))
		}
	}
	fixed(s.Port != 0 && s.Port != containerPort, "serving.port", "sagemaker always calls a container on port %d, not %d", containerPort, s.Port)
	fixed(s.PredictPath != "" && s.PredictPath != invocationPath, "serving.predict_path", "sagemaker always sends requests to %s, not %s", invocationPath, s.PredictPath)
	fixed(s.HealthPath != "" && s.HealthPath != pingPath, "serving.health_path", "sagemaker always asks %s for health, not %s", pingPath, s.HealthPath)
	if len(s.Image) > 255 || strings.ContainsAny(s.Image, " \t\n") {
		all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be a container image (at most 255 characters, without spaces)", s.Image).At("serving.image"))
	}
	all.Add(checkEnvironment("serving.env", s.Env))
	return all.Err()
}

// checkRuntime refuses a preset that has no image in the region.
func checkRuntime(spec *driver.ModelSpec) error {
	s := &spec.Serving
	if s.Image != "" || s.Runtime == "" || spec.Unknown.In("serving") || spec.Unknown.Has("location") {
		return nil
	}
	_, err := runtimes.SageMaker(s.Runtime, spec.Key.Location, false, "x86_64")
	return err
}

// checkEnvironment holds the limits of ContainerDefinition.Environment.
func checkEnvironment(path string, env map[string]string) error {
	const most, longest, total = 100, 1024, 32 << 10
	var all mlerr.List
	size := 0
	for k, v := range env {
		size += len(k) + len(v)
		if !environmentKey.MatchString(k) || len(k) > longest {
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the name of an environment variable on SageMaker", k).At("%s", path).
				WithHint("Use letters, digits and underscores, not a digit first"))
		}
		if len(v) > longest {
			all.Add(mlerr.New(mlerr.InvalidArgument, "environment variable %s has %d characters, and SageMaker takes %d", k, len(v), longest).At("%s", path).
				WithHint("Put long values into the artifact, or into Secrets Manager or Parameter Store and let the container fetch them"))
		}
	}
	if len(env) > most || size > total {
		all.Add(mlerr.New(mlerr.InvalidArgument, "SageMaker takes %d environment variables of together %d bytes, these are %d of %d",
			most, total, len(env), size).At("%s", path))
	}
	return all.Err()
}

// groupTags are all tags of the group of a model.
func groupTags(spec *driver.ModelSpec, current string, incomplete bool) map[string]string {
	tags := marked(spec.Key.Name, incomplete)
	maps.Copy(tags, spec.Labels)
	chunks(tags, tagDescription, spec.Description)
	if current != "" {
		for _, alias := range spec.Aliases {
			tags[tagAlias+alias] = current
		}
	}
	return tags
}

// aliasesIn lists the aliases by version, each list sorted by the caller.
func aliasesIn(tags map[string]string) map[string][]string {
	aliases := map[string][]string{}
	for k, v := range tags {
		if alias, ok := strings.CutPrefix(k, tagAlias); ok {
			aliases[v] = append(aliases[v], alias)
		}
	}
	return aliases
}

// CreateModel makes the model package group. The group's own description is not
// used: nothing can change it later.
func (d *sagemaker) CreateModel(ctx context.Context, spec *driver.ModelSpec) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	_, err = r.clients.sm.CreateModelPackageGroup(ctx, &sm.CreateModelPackageGroupInput{
		ModelPackageGroupName: &spec.Key.Name,
		Tags:                  tagList(groupTags(spec, "", true)),
	})
	if err == nil {
		return nil
	}
	err = failed(err, "create the model package group %s", spec.Key.Name)
	if !mlerr.Is(err, mlerr.AlreadyExists) {
		return err
	}
	group, findErr := r.group(ctx, spec.Key.Name)
	if findErr != nil {
		return invisible(findErr)
	}
	tags, tagErr := r.tags(ctx, *group.ModelPackageGroupArn)
	if tagErr != nil {
		return tagErr
	}
	if marksIn(tags, spec.Key.Name).Owned {
		return nil
	}
	return err
}

// group finds the model package group; one that is being deleted is NotFound.
func (r *region) group(ctx context.Context, name string) (*sm.DescribeModelPackageGroupOutput, error) {
	out, err := r.clients.sm.DescribeModelPackageGroup(ctx, &sm.DescribeModelPackageGroupInput{ModelPackageGroupName: &name})
	if err != nil {
		return nil, failed(err, "read the model package group %s", name)
	}
	r.learnGroup(name, strings.Replace(aws.ToString(out.ModelPackageGroupArn), ":model-package-group/", ":model-package/", 1))
	if out.ModelPackageGroupStatus == types.ModelPackageGroupStatusDeleting {
		return nil, mlerr.New(mlerr.NotFound, "the model package group %s is being deleted", name)
	}
	return out, nil
}

// UpdateModel makes the group's tags what spec says. Of a group that it so adopts
// it notes up to which version there was something, because versions themselves
// cannot be marked.
func (d *sagemaker) UpdateModel(ctx context.Context, spec *driver.ModelSpec, seen *driver.ModelState, current string) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	tags := groupTags(spec, current, false)
	for i := range seen.Versions {
		if v := &seen.Versions[i]; v.Adopted || (!seen.Marks.Owned && !v.Owned) {
			tags[tagAdopted] = v.Version // ascending
		}
	}
	return r.retag(ctx, seen.NativeID, tags)
}

// DeleteModel removes the group.
func (d *sagemaker) DeleteModel(ctx context.Context, key driver.Key) error {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return err
	}
	_, err = r.clients.sm.DeleteModelPackageGroup(ctx, &sm.DeleteModelPackageGroupInput{ModelPackageGroupName: &key.Name})
	err = failed(err, "delete the model package group %s", key.Name)
	if mlerr.Is(err, mlerr.Conflict) {
		return mlerr.Wrap(err, mlerr.InUse, "model %s still holds versions", key.ID())
	}
	return gone(err)
}

// packageARN is the ARN of a version. The service takes nothing else reliably,
// and an ARN holds the account: it is learned from any earlier answer about the
// group, or asked for.
func (r *region) packageARN(ctx context.Context, ref driver.VersionRef) (string, error) {
	stem, ok := r.knownGroup(ref.Key.Name)
	if !ok {
		if _, err := r.group(ctx, ref.Key.Name); err != nil {
			return "", err
		}
		stem, _ = r.knownGroup(ref.Key.Name)
	}
	return stem + "/" + ref.Version, nil
}
