// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// fetchS3 brings an object, or the objects below a prefix.
func fetchS3(ctx context.Context, source, dir string) (n int, err error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return 0, err
	}
	client := s3.NewFromConfig(settings, func(o *s3.Options) {
		if host := os.Getenv("S3_ENDPOINT"); host != "" && o.BaseEndpoint == nil {
			scheme := "https://"
			if os.Getenv("S3_USE_HTTPS") == "0" {
				scheme = "http://"
			}
			o.BaseEndpoint = aws.String(scheme + host)
		}
		o.DisableLogOutputChecksumValidationSkipped = true // verify checks
		o.UsePathStyle = o.BaseEndpoint != nil
	})
	bucket, prefix, _ := strings.Cut(source, "/")
	prefix = strings.TrimSuffix(prefix, "/")
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, err
		}
		for _, o := range page.Contents {
			file, ok := under(*o.Key, prefix)
			if !ok {
				continue
			}
			if err := fetchObject(ctx, client, bucket, *o.Key, dir, file); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// under is a key's path below a prefix; the object that is named itself keeps its
// own name.
func under(key, prefix string) (string, bool) {
	if key == prefix {
		return path.Base(key), true
	}
	if prefix != "" {
		prefix += "/"
	}
	file, ok := strings.CutPrefix(key, prefix)
	return file, ok && !strings.HasSuffix(key, "/") // which is how some tools keep directories
}

func fetchObject(ctx context.Context, client *s3.Client, bucket, key, dir, file string) error {
	o, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	return write(dir, file, o.Body)
}

// fetchOCI brings what an image has below models/.
func fetchOCI(ctx context.Context, source, dir string) (n int, err error) {
	var options []name.Option
	if os.Getenv("OCI_PLAIN_HTTP") == "1" {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(source, options...)
	if err != nil {
		return 0, err
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return 0, err
	}
	content := mutate.Extract(image)
	defer content.Close()
	files := tar.NewReader(content)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		file, ok := strings.CutPrefix(path.Clean("/"+header.Name), "/models/")
		if !ok || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(dir, file, files); err != nil {
			return n, err
		}
		n++
	}
}
