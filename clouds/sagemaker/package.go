// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The metadata properties of a version that are ours and not the user's.
const (
	propDigest = "ml_digest"
	propHash   = "ml_hash"
	propFormat = "ml_format"
	propSpec   = "ml_spec"
	propPrefix = "ml_"

	maxProperties  = 50
	maxPropertyKey = 128
)

// noValue stands for an empty value: the service wants at least one character.
const noValue = "="

func metadataValue(v string) string {
	if v == "" {
		return noValue
	}
	return escape(v)
}

// properties are the metadata of a version: the user's, and what identifies it.
func properties(spec *driver.ModelSpec) map[string]string {
	all := map[string]string{propFormat: spec.Artifact.Format, propHash: spec.VersionHash()}
	if spec.Artifact.Digest != "" {
		all[propDigest] = spec.Artifact.Digest
	}
	serving, err := json.Marshal(spec.Serving)
	if err != nil {
		panic("a serving contract is plain data: " + err.Error())
	}
	chunks(all, propSpec, string(serving))
	for k, v := range spec.Metadata {
		all[escape(k)] = metadataValue(v)
	}
	return all
}

// checkMetadata holds the limits of CustomerMetadataProperties.
func checkMetadata(spec *driver.ModelSpec) error {
	var all mlerr.List
	for k, v := range spec.Metadata {
		switch {
		case strings.HasPrefix(k, propPrefix):
			all.Add(mlerr.New(mlerr.InvalidArgument, "metadata key %q begins with %q, which is reserved", k, propPrefix).At("metadata.%s", k))
		case k == "" || len([]rune(escape(k))) > maxPropertyKey:
			all.Add(mlerr.New(mlerr.InvalidArgument, "metadata key %q must have 1 to %d characters", k, maxPropertyKey).At("metadata.%s", k))
		case len([]rune(escape(v))) > maxTagValue:
			all.Add(mlerr.New(mlerr.InvalidArgument, "the metadata value of %q is too long for SageMaker", k).At("metadata.%s", k).
				WithHint("A value may have %d characters, where one that is not a letter, a digit, a space or _ . : / + - @ counts as three", maxTagValue))
		}
	}
	if n := len(properties(spec)); n > maxProperties {
		all.Add(mlerr.New(mlerr.InvalidArgument, "metadata and serving together need %d properties, and a version has at most %d", n, maxProperties).
			At("metadata").WithHint("Use fewer metadata, or a shorter serving.env"))
	}
	return all.Err()
}

// PublishVersion makes a package. The client token makes a repetition after the
// same newest version return the version that the first attempt has made. The
// group's age is part of it: a group that was deleted and made again must not
// get back the versions of its predecessor.
func (d *sagemaker) PublishVersion(ctx context.Context, spec *driver.ModelSpec, staged, newest string) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	group, err := r.group(ctx, spec.Key.Name)
	if err != nil {
		return invisible(err)
	}
	builds, err := containers(spec, staged)
	if err != nil {
		return err
	}
	born := aws.ToTime(group.CreationTime).UTC().Format(time.RFC3339Nano)
	in := &sm.CreateModelPackageInput{
		ModelPackageGroupName:             &spec.Key.Name,
		ModelPackageDescription:           aws.String(identity(spec.VersionHash(), spec.Artifact.Digest)),
		ModelApprovalStatus:               approvalStatus(spec.Approval),
		CustomerMetadataProperties:        properties(spec),
		InferenceSpecification:            &types.InferenceSpecification{Containers: builds[buildDefault]},
		AdditionalInferenceSpecifications: additional(builds),
		SkipModelValidation:               types.SkipModelValidationAll,
		ClientToken:                       aws.String(clientToken(spec.Key.Name, born, newest, spec.VersionHash())),
	}
	if spec.EncryptionKey != "" {
		in.SecurityConfig = &types.ModelPackageSecurityConfig{KmsKeyId: &spec.EncryptionKey}
	}
	return r.publish(ctx, in)
}

// publish makes the package. A token outlives the version that was made with it:
// after somebody deleted that one, the service would return it for ever. Then one
// more is made with a token that follows from it, and no third.
func (r *region) publish(ctx context.Context, in *sm.CreateModelPackageInput) error {
	var err error
	for range 2 {
		var out *sm.CreateModelPackageOutput
		if out, err = r.clients.sm.CreateModelPackage(ctx, in); err != nil {
			err = failed(err, "register a version of %s", *in.ModelPackageGroupName)
			break
		}
		if _, err = r.describePackage(ctx, aws.ToString(out.ModelPackageArn)); !mlerr.Is(err, mlerr.NotFound) {
			return err
		}
		in.ClientToken = aws.String(clientToken(*in.ClientToken, aws.ToString(out.ModelPackageArn)))
	}
	// What is referred to, the group, was seen a moment ago.
	return invisible(err)
}

// clientToken is 36 characters, the longest that is allowed.
func clientToken(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])[:36]
}

// modelData points a container to the staged bytes: an address that ends in a
// slash is a tree of files, any other is one archive.
func modelData(c *types.ModelPackageContainerDefinition, staged string) {
	if !strings.HasSuffix(staged, "/") {
		c.ModelDataUrl = &staged
		return
	}
	c.ModelDataSource = &types.ModelDataSource{S3DataSource: &types.S3ModelDataSource{
		S3Uri: &staged, S3DataType: types.S3ModelDataTypeS3Prefix, CompressionType: types.ModelCompressionTypeNone,
	}}
}

// versionOf translates a package.
func versionOf(p *sm.DescribeModelPackageOutput) driver.Version {
	v := driver.Version{
		Version:   strconv.Itoa(int(aws.ToInt32(p.ModelPackageVersion))),
		NativeID:  aws.ToString(p.ModelPackageArn),
		Approval:  approvalOf(p.ModelApprovalStatus),
		Phase:     packagePhase(p.ModelPackageStatus),
		CreatedAt: aws.ToTime(p.CreationTime).UTC(),
	}
	if v.Phase == driver.Failed {
		v.Reason = packageReason(p.ModelPackageStatusDetails)
	}
	var container types.ModelPackageContainerDefinition
	if s := p.InferenceSpecification; s != nil && len(s.Containers) > 0 {
		container = s.Containers[0]
	}
	props := p.CustomerMetadataProperties
	v.Metadata = metadataIn(props)
	v.Artifact = driver.Artifact{URI: dataAddress(&container), Format: props[propFormat], Digest: props[propDigest]}
	v.Hash = props[propHash]
	if m := digestToken.FindStringSubmatch(aws.ToString(p.ModelPackageDescription)); m != nil {
		v.Hash, v.Artifact.Digest = m[1], m[2]
	} else {
		v.Description = aws.ToString(p.ModelPackageDescription)
	}
	v.Owned = v.Hash != ""
	if text := unchunk(props, propSpec); text == "" || json.Unmarshal([]byte(text), &v.Serving) != nil {
		v.Serving = driver.Serving{Image: aws.ToString(container.Image), Env: nonEmpty(container.Environment)}
	}
	if v.Artifact.Format == "" {
		v.Artifact.Format = guessFormat(aws.ToString(container.Image))
	}
	return v
}

func metadataIn(props map[string]string) map[string]string {
	var user map[string]string
	for k, value := range props {
		if strings.HasPrefix(k, propPrefix) {
			continue
		}
		if user == nil {
			user = map[string]string{}
		}
		if value == noValue {
			value = ""
		}
		user[unescape(k)] = unescape(value)
	}
	return user
}

func dataAddress(c *types.ModelPackageContainerDefinition) string {
	if c.ModelDataSource != nil && c.ModelDataSource.S3DataSource != nil {
		return aws.ToString(c.ModelDataSource.S3DataSource.S3Uri)
	}
	return aws.ToString(c.ModelDataUrl)
}

func encryptionOf(p *sm.DescribeModelPackageOutput) string {
	if p.SecurityConfig == nil {
		return ""
	}
	return aws.ToString(p.SecurityConfig.KmsKeyId)
}

// guessFormat reads the format of a version made by hand off the repository of
// its image: the published ones are named for their framework.
func guessFormat(image string) string {
	repository, _, _ := strings.Cut(path.Base(image), ":")
	for _, g := range []struct{ part, format string }{
		{"scikit-learn", "sklearn"}, {"sklearn", "sklearn"}, {"xgboost", "xgboost"}, {"huggingface", "huggingface"},
		{"tritonserver", "triton"}, {"vllm", "huggingface"}, {"djl", "huggingface"}, {"sglang", "huggingface"}, {"tei", "huggingface"},
		{"pytorch", "pytorch"}, {"tensorflow", "tensorflow"}, {"mlflow", "mlflow"}, {"onnx", "onnx"},
	} {
		if strings.Contains(repository, g.part) {
			return g.format
		}
	}
	return "custom"
}

func nonEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
