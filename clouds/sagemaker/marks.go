// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
	"maps"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The keys of our tags. Everything below "ml:" is ours, "aws:" is the
// platform's, and the rest are the user's labels.
const (
	tagPrefix      = "ml:"
	tagManagedBy   = "ml:managed-by"
	tagResource    = "ml:resource"
	tagIncomplete  = "ml:incomplete"
	tagUntested    = "ml:untested"
	tagEnding      = "ml:ending"
	tagAdopted     = "ml:adopted"
	tagStandIn     = "ml:stand-in"
	tagDescription = "ml:description"
	tagAlias       = "ml:alias:"
	tagDeclared    = "ml:declared"
	tagBounds      = "ml:bounds"
	managedBy      = "terraform-provider-ml"

	maxTags   = 50
	maxTagKey = 128
)

// marked returns our marks for what belongs to the resource called name.
func marked(name string, incomplete bool) map[string]string {
	tags := map[string]string{tagManagedBy: managedBy, tagResource: name}
	if incomplete {
		tags[tagIncomplete] = "true"
	}
	return tags
}

// marksIn reads our marks. The resource must be the very one: a copy of our tags
// on something else does not make it ours.
func marksIn(tags map[string]string, name string) driver.Marks {
	owned := tags[tagManagedBy] == managedBy && strings.EqualFold(tags[tagResource], name)
	// An endpoint that was adopted can be untested without being marked as ours.
	return driver.Marks{Owned: owned, Incomplete: owned && tags[tagIncomplete] == "true", Untested: tags[tagUntested] == "true"}
}

// labelsIn are the tags that are neither ours nor the platform's; nil if none.
func labelsIn(tags map[string]string) map[string]string {
	var labels map[string]string
	for k, v := range tags {
		if strings.HasPrefix(k, tagPrefix) || strings.HasPrefix(k, "aws:") {
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = v
	}
	return labels
}

// checkLabels refuses labels that cannot be tags
// (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Tag.html).
func checkLabels(labels map[string]string, reserved int) error {
	var all mlerr.List
	bad := func(key, format string, args ...any) {
		all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("labels.%s", key).
			WithHint("Tags hold letters, digits, spaces and _ . : / = + - @"))
	}
	for k, v := range labels {
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:"), strings.HasPrefix(k, tagPrefix):
			bad(k, "the key of label %q begins with a reserved prefix", k)
		case k == "" || len([]rune(k)) > maxTagKey || !allInCharset(k):
			bad(k, "label %q cannot be the key of a tag (1 to %d characters)", k, maxTagKey)
		case len([]rune(v)) > maxTagValue || !allInCharset(v):
			bad(k, "the value of label %q cannot be the value of a tag (at most %d characters)", k, maxTagValue)
		}
	}
	if len(labels) > maxTags-reserved {
		all.Add(mlerr.New(mlerr.InvalidArgument, "%d labels are more than the %d tags that are left beside the provider's own",
			len(labels), maxTags-reserved).At("labels"))
	}
	return all.Err()
}

// declared is what an endpoint's specification says that SageMaker has no field
// for. It is kept in tags so that it is read back by everybody.
type declared struct {
	Access         string        `json:"access,omitempty"` // only "private"
	Invokers       []string      `json:"invokers,omitempty"`
	RequestTimeout time.Duration `json:"request_timeout,omitempty"`
}

// bounds are min and max of the deployments whose schedules rewrite what is
// registered.
type bounds map[string][2]int

func declare(settings *driver.Settings) declared {
	d := declared{Invokers: settings.Auth.Invokers, RequestTimeout: settings.RequestTimeout}
	if settings.Network.Access == accessPrivate {
		d.Access = accessPrivate
	}
	return d
}

func boundsOf(spec *driver.EndpointSpec) bounds {
	b := bounds{}
	for _, dep := range spec.Deployments {
		if len(dep.Scaling.Schedules) > 0 {
			b[dep.Name] = [2]int{dep.Scaling.Min, dep.Scaling.Max}
		}
	}
	return b
}

// noted writes v into tags, in as many as it needs; an empty one needs none.
func noted(tags map[string]string, key string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("notes are plain data: " + err.Error())
	}
	if string(data) != "{}" {
		chunks(tags, key, string(data))
	}
}

// readNote reads what noted writes; what somebody else wrote is as none.
func readNote[T any](tags map[string]string, key string) T {
	var v, none T
	if text := unchunk(tags, key); text != "" && json.Unmarshal([]byte(text), &v) != nil {
		return none
	}
	return v
}

// endpointTags are all tags that an endpoint is to have.
func endpointTags(spec *driver.EndpointSpec, incomplete bool) map[string]string {
	tags := marked(spec.Key.Name, incomplete)
	maps.Copy(tags, spec.Labels)
	noted(tags, tagDeclared, declare(&spec.Settings))
	noted(tags, tagBounds, boundsOf(spec))
	return tags
}

// ownedTags are the tags of what only the endpoint needs: models, configurations.
func ownedTags(spec *driver.EndpointSpec) []types.Tag {
	tags := marked(spec.Key.Name, false)
	maps.Copy(tags, spec.Labels)
	return tagList(tags)
}

func tagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	sort.Slice(list, func(i, j int) bool { return *list[i].Key < *list[j].Key })
	return list
}

// tags reads all tags of a resource.
func (r *region) tags(ctx context.Context, resource string) (map[string]string, error) {
	tags := map[string]string{}
	pages := sm.NewListTagsPaginator(r.clients.sm, &sm.ListTagsInput{ResourceArn: &resource, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "read the tags of %s", resource)
		}
		for _, t := range page.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return tags, nil
}

// mark sets one tag of a resource.
func (r *region) mark(ctx context.Context, resource, key, value string) error {
	_, err := r.clients.sm.AddTags(ctx, &sm.AddTagsInput{ResourceArn: &resource, Tags: tagList(map[string]string{key: value})})
	return failed(err, "mark %s", resource)
}

// retag makes all tags of a resource what is wanted. The platform's own stay.
func (r *region) retag(ctx context.Context, resource string, want map[string]string) error {
	have, err := r.tags(ctx, resource)
	if err != nil {
		return err
	}
	return r.changeTags(ctx, resource, have, want)
}

// renote makes one note of a resource what is wanted and leaves its other tags.
func (r *region) renote(ctx context.Context, resource, key string, v any) error {
	all, err := r.tags(ctx, resource)
	if err != nil {
		return err
	}
	have, want := map[string]string{}, map[string]string{}
	for k, value := range all {
		if k == key || strings.HasPrefix(k, key+".") {
			have[k] = value
		}
	}
	noted(want, key, v)
	return r.changeTags(ctx, resource, have, want)
}

func (r *region) changeTags(ctx context.Context, resource string, have, want map[string]string) error {
	changed := map[string]string{}
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			changed[k] = v
		}
	}
	var surplus []string
	for k := range have {
		if _, ok := want[k]; !ok && !strings.HasPrefix(k, "aws:") {
			surplus = append(surplus, k)
		}
	}
	sort.Strings(surplus)
	// Removing comes first, because both together may exceed the limit of 50; the
	// marks of what is not finished go last, because that ends it.
	first, last := []string{}, []string{}
	for _, k := range surplus {
		if k == tagIncomplete || k == tagUntested {
			last = append(last, k)
		} else {
			first = append(first, k)
		}
	}
	if err := r.untag(ctx, resource, first); err != nil {
		return err
	}
	if len(changed) > 0 {
		_, err := r.clients.sm.AddTags(ctx, &sm.AddTagsInput{ResourceArn: &resource, Tags: tagList(changed)})
		if err != nil {
			return failed(err, "set the tags of %s", resource)
		}
	}
	return r.untag(ctx, resource, last)
}

func (r *region) untag(ctx context.Context, resource string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := r.clients.sm.DeleteTags(ctx, &sm.DeleteTagsInput{ResourceArn: &resource, TagKeys: keys})
	return failed(err, "remove tags of %s", resource)
}
