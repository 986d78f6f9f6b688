// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"net/http"
	"strings"
)

// Operation is the name of the S3 operation that a request is for, "PutObject".
func Operation(r *http.Request) string {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case bucket == "":
		return "ListBuckets"
	case key == "" && r.Method == http.MethodGet:
		switch {
		case query.Has("location"):
			return "GetBucketLocation"
		case query.Has("uploads"):
			return "ListMultipartUploads"
		case query.Has("list-type"):
			return "ListObjectsV2"
		}
		return "ListObjects"
	case key == "":
		return map[string]string{http.MethodPut: "CreateBucket", http.MethodDelete: "DeleteBucket", http.MethodHead: "HeadBucket",
			http.MethodPost: "DeleteObjects"}[r.Method]
	}
	part, copied := query.Has("uploadId"), r.Header.Get("X-Amz-Copy-Source") != ""
	switch r.Method {
	case http.MethodPut:
		switch {
		case part && copied:
			return "UploadPartCopy"
		case part:
			return "UploadPart"
		case copied:
			return "CopyObject"
		}
		return "PutObject"
	case http.MethodPost:
		if part {
			return "CompleteMultipartUpload"
		}
		return "CreateMultipartUpload"
	case http.MethodDelete:
		if part {
			return "AbortMultipartUpload"
		}
		return "DeleteObject"
	case http.MethodGet:
		if part {
			return "ListParts"
		}
		return "GetObject"
	}
	return "HeadObject"
}
