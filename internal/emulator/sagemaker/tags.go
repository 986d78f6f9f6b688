// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"sort"
	"strings"
)

var tagHandlers = map[string]handler{"AddTags": addTags, "ListTags": listTags, "DeleteTags": deleteTags}

// tagged are the kinds of ARN that carry tags, and where their things are kept.
var tagged = map[string]string{"model-package-group": "group", "model-package": "package", "model": "model", "endpoint-config": "config", "endpoint": "endpoint"}

// putTags stores the Tags of a creation.
func (r *request) putTags(arn string) error {
	tags := map[string]string{}
	for _, t := range r.in.list("Tags") {
		if strings.HasPrefix(t.str("Key"), "aws:") {
			return invalid("System prefix 'aws:' reserved for AWS usage in tag key")
		}
		if _, twice := tags[t.str("Key")]; twice {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		tags[t.str("Key")] = t.str("Value")
	}
	return r.tx.Put("tags", arn, tags)
}

func (r *request) tags(arn string) (map[string]string, error) {
	tags := map[string]string{}
	_, err := r.tx.Get("tags", arn, &tags)
	return tags, err
}

// taggedARN refuses an ARN of nothing.
func (r *request) taggedARN() (string, error) {
	arn := r.in.str("ResourceArn")
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return "", invalid("Invalid resource ARN: %s", arn)
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	if kind == "model-package" && strings.Contains(name, "/") {
		return "", invalid("Tagging is not supported for versioned model packages. Tag the model package group instead.")
	}
	where, ok := tagged[kind]
	if !ok {
		return "", invalid("Invalid resource ARN: %s", arn)
	}
	var thing obj
	found, err := r.tx.Get(where, parts[3]+"/"+strings.ToLower(name), &thing)
	if err != nil {
		return "", err
	}
	if !found {
		return "", invalid("Could not find %s \"%s\".", strings.ReplaceAll(kind, "endpoint-config", "endpoint configuration"), arn)
	}
	return arn, nil
}

func addTags(r *request) (obj, error) {
	arn, err := r.taggedARN()
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(arn)
	if err != nil {
		return nil, err
	}
	for _, t := range r.in.list("Tags") {
		if strings.HasPrefix(t.str("Key"), "aws:") {
			return nil, invalid("System prefix 'aws:' reserved for AWS usage in tag key")
		}
		tags[t.str("Key")] = t.str("Value")
	}
	if len(tags) > 50 {
		return nil, &apiError{"ResourceLimitExceeded", "The maximum number of tags for a resource is 50", 400}
	}
	return obj{"Tags": tagList(tags)}, r.tx.Put("tags", arn, tags)
}

func listTags(r *request) (obj, error) {
	arn, err := r.taggedARN()
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(arn)
	if err != nil {
		return nil, err
	}
	var all []obj
	for _, t := range tagList(tags) {
		all = append(all, t.(map[string]any)) //nolint:forcetypeassert // made just above
	}
	items, token, err := r.page(listing{items: all, id: member("Key"), size: 50})
	return obj{"Tags": items, "NextToken": token}, err
}

func deleteTags(r *request) (obj, error) {
	arn, err := r.taggedARN()
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(arn)
	if err != nil {
		return nil, err
	}
	for _, key := range r.in.strings("TagKeys") {
		if strings.HasPrefix(key, "aws:") {
			return nil, invalid("System prefix 'aws:' reserved for AWS usage in tag key")
		}
		delete(tags, key)
	}
	return nil, r.tx.Put("tags", arn, tags)
}

func tagList(tags map[string]string) []any {
	keys := make([]string, 0, len(tags))
	for k := range tags {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	all := make([]any, 0, len(keys))
	for _, k := range keys {
		all = append(all, map[string]any{"Key": k, "Value": tags[k]})
	}
	return all
}
