// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs

import (
	"io"
	"net/http"
	"strconv"

	api "google.golang.org/api/storage/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// copied makes a copy of the call's object, with other attributes if the request
// has any.
func (c *call) copied() (*objects.Object, error) {
	var in api.Object
	if err := decode(c.r.Body, &in); err != nil {
		return nil, err
	}
	source, f, err := c.store.Open(c.bucket, c.object)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	if want, asked, err := c.number("sourceGeneration"); err != nil || (asked && want != source.Generation) {
		if err == nil {
			err = objects.ErrNoKey
		}
		return nil, err
	}
	if err := c.conditions("ifSource", &source); err != nil {
		return nil, err
	}
	c.bucket, c.object = c.r.PathValue("toBucket"), c.r.PathValue("toObject")
	in.Name, in.Bucket = c.object, ""
	described, err := c.admit(&in)
	if err != nil {
		return nil, err
	}
	if in.ContentType == "" && in.Metadata == nil {
		described.Header, described.Metadata = source.Header, source.Metadata
	}
	o, err := write(c.store, f)
	if err != nil {
		return nil, err
	}
	o.Key, o.Header, o.Metadata = c.object, described.Header, described.Metadata
	return &o, c.store.Put(c.bucket, &o, c.allowing(&o))
}

// rewrite copies an object in one go.
func (c *call) rewrite() error {
	o, err := c.copied()
	if err != nil {
		return err
	}
	answer(c.w, http.StatusOK, &api.RewriteResponse{Kind: "storage#rewriteResponse", Done: true, ObjectSize: o.Size, TotalBytesRewritten: o.Size,
		Resource: c.describe(c.bucket, o), ForceSendFields: []string{"ObjectSize", "TotalBytesRewritten"}})
	return nil
}

func (c *call) copyTo() error {
	o, err := c.copied()
	if err == nil {
		answer(c.w, http.StatusOK, c.describe(c.bucket, o))
	}
	return err
}

// maxSources is how many objects can be composed at once.
const maxSources = 32

// compose makes one object of others, which stay.
func (c *call) compose() error {
	var in api.ComposeRequest
	if err := decode(c.r.Body, &in); err != nil {
		return err
	}
	if n := len(in.SourceObjects); n < 1 || n > maxSources {
		return invalid("The number of source components provided (%d) must be between 1 and %d", n, maxSources)
	}
	into := in.Destination
	if into == nil {
		into = &api.Object{}
	}
	into.Name = c.object
	described, err := c.admit(into)
	if err != nil {
		return err
	}
	sources, components, err := c.sources(in.SourceObjects)
	if err != nil {
		return err
	}
	reader, writer := io.Pipe()
	go func() {
		var err error
		for i := 0; i < len(sources) && err == nil; i++ {
			err = c.store.CopyBlob(writer, sources[i].Blob)
		}
		writer.CloseWithError(err)
	}()
	o, err := write(c.store, reader)
	reader.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return err
	}
	o.Key, o.Header, o.Metadata, o.ETag = c.object, described.Header, described.Metadata, ""
	o.Header[headerComponents] = strconv.FormatInt(components, 10)
	into.Md5Hash = ""
	return c.finish(&o, into)
}

// sources finds the objects to compose, and of how many components they are.
func (c *call) sources(named []*api.ComposeRequestSourceObjects) (all []objects.Object, components int64, err error) {
	to := c.object
	for _, s := range named {
		c.object = s.Name // for the refusal
		o, err := c.store.Find(c.bucket, s.Name)
		if err != nil {
			return nil, 0, err
		}
		if s.Generation != 0 && s.Generation != o.Generation {
			return nil, 0, objects.ErrNoKey
		}
		if p := s.ObjectPreconditions; p != nil && p.IfGenerationMatch != o.Generation {
			return nil, 0, refuse(http.StatusPreconditionFailed, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
		}
		n, _ := strconv.ParseInt(o.Header[headerComponents], 10, 64)
		components += max(n, 1)
		all = append(all, o)
	}
	c.object = to
	return all, components, nil
}
