// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs

import (
	"errors"
	"net/http"
	"sort"
	"strings"
	"time"

	api "google.golang.org/api/storage/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

func (c *call) listBuckets() error {
	all, err := c.store.Buckets()
	if err != nil {
		return err
	}
	list := &api.Buckets{Kind: "storage#buckets"}
	for name, info := range all {
		if strings.HasPrefix(name, c.query.Get("prefix")) {
			list.Items = append(list.Items, c.bucketOf(name, info))
		}
	}
	sort.Slice(list.Items, func(i, j int) bool { return list.Items[i].Name < list.Items[j].Name })
	answer(c.w, http.StatusOK, list)
	return nil
}

func (c *call) bucketOf(name string, info objects.Bucket) *api.Bucket {
	at := info.Location
	if at == "" {
		at = location
	}
	return &api.Bucket{Kind: "storage#bucket", Id: name, Name: name, SelfLink: c.link("/b/" + name), Location: at, LocationType: locationType(at),
		StorageClass: "STANDARD", TimeCreated: timestamp(info.Created), Updated: timestamp(info.Created), Metageneration: 1, Etag: "CAE=",
		IamConfiguration: &api.BucketIamConfiguration{UniformBucketLevelAccess: &api.BucketIamConfigurationUniformBucketLevelAccess{Enabled: true}}}
}

func locationType(at string) string {
	if at == "US" || at == "EU" || at == "ASIA" {
		return "multi-region"
	}
	return "region"
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (c *call) link(path string) string { return "http://" + c.r.Host + "/storage/v1" + path }

func (c *call) insertBucket() error {
	var in api.Bucket
	if err := decode(c.r.Body, &in); err != nil {
		return err
	}
	if c.query.Get("project") == "" {
		return refuse(http.StatusBadRequest, "required", "Required parameter: project")
	}
	if !validBucket(in.Name) {
		return invalid("Invalid bucket name: '%s'", in.Name)
	}
	info := objects.Bucket{Created: time.Now().UTC(), Location: strings.ToUpper(in.Location)}
	switch err := c.store.CreateBucket(in.Name, info); {
	case errors.Is(err, objects.ErrHasBucket):
		return refuse(http.StatusConflict, "conflict", "Your previous request to create the named bucket succeeded and you already own it.")
	case err != nil:
		return err
	}
	answer(c.w, http.StatusOK, c.bucketOf(in.Name, info))
	return nil
}

func (c *call) getBucket() error {
	info, err := c.store.Bucket(c.bucket)
	if err != nil {
		return err
	}
	answer(c.w, http.StatusOK, c.bucketOf(c.bucket, info))
	return nil
}

func (c *call) deleteBucket() error {
	err := c.store.DeleteBucket(c.bucket)
	if errors.Is(err, objects.ErrNotEmpty) {
		return refuse(http.StatusConflict, "conflict", "The bucket you tried to delete is not empty.")
	}
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// storageLayout says that a bucket has no folders of its own, which gcloud asks.
func (c *call) storageLayout() error {
	info, err := c.store.Bucket(c.bucket)
	if err != nil {
		return err
	}
	b := c.bucketOf(c.bucket, info)
	answer(c.w, http.StatusOK, &api.BucketStorageLayout{Kind: "storage#storageLayout", Bucket: c.bucket, Location: b.Location, LocationType: b.LocationType,
		HierarchicalNamespace: &api.BucketStorageLayoutHierarchicalNamespace{ForceSendFields: []string{"Enabled"}}})
	return nil
}

// managedFolders says that there are none, which gcloud asks when it removes.
func (c *call) managedFolders() error {
	_, err := c.store.Bucket(c.bucket)
	if err == nil {
		answer(c.w, http.StatusOK, &api.ManagedFolders{Kind: "storage#managedFolders"})
	}
	return err
}
