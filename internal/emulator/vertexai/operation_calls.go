// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// operation finds the one that the path names.
func (r *request) operation() (*operation, error) {
	_, name, _ := strings.Cut(r.http.URL.Path, "/locations/")
	name, _, _ = strings.Cut(name, ":")
	name = "projects/" + r.Number + "/locations/" + name
	var o operation
	found, err := r.tx.Get(kindOperation, name, &o)
	if err == nil && (!found || o.Hidden) {
		err = notFound("Operation %s not found.", name)
	}
	return &o, err
}

func getOperation(r *request) (any, error) {
	o, err := r.operation()
	if err != nil {
		return nil, err
	}
	return r.longRunning(o)
}

// deleteOperation lets a client say that it is no longer interested. The operation
// goes on.
func deleteOperation(r *request) (any, error) {
	o, err := r.operation()
	if err != nil {
		return nil, err
	}
	o.Hidden = true
	return &emptypb.Empty{}, r.tx.Put(kindOperation, o.Name, o)
}

// cancelOperation stops a deployment that is not about to be finished. Others go on:
// to cancel is best effort.
func cancelOperation(r *request) (any, error) {
	if err := r.decode(&longrunningpb.CancelOperationRequest{}); err != nil {
		return nil, err
	}
	o, err := r.operation()
	if err != nil {
		return nil, err
	}
	if o.Done || o.Kind != "endpoints.deployModel" || o.stage(r.now()) == pb.DeploymentStage_FINISHING_UP {
		return &emptypb.Empty{}, nil
	}
	o.Ends = r.now().Add(r.scaled(30 * time.Second))
	o.Fails, o.After = &rpcstatus.Status{Code: int32(codes.Canceled), Message: "The operation was cancelled."}, false //nolint:misspell // the platform's words
	if err := r.tx.Put(kindRunning, o.Name, o.Ends); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, r.tx.Put(kindOperation, o.Name, o)
}

// waitOperation answers when the operation has ended, or the time is up.
func waitOperation(r *request, w http.ResponseWriter) error {
	in := &longrunningpb.WaitOperationRequest{Timeout: durationpb.New(time.Minute)}
	if err := r.decode(in); err != nil {
		return err
	}
	if text := r.query.Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return invalid("Invalid value at 'timeout' (type.googleapis.com/google.protobuf.Duration), \"%s\"", text)
		}
		in.Timeout = durationpb.New(d)
	}
	ctx := r.http.Context()
	deadline := r.now().Add(in.GetTimeout().AsDuration())
	for {
		var o *operation
		err := r.do(ctx, func() (err error) {
			o, err = r.operation()
			return err
		})
		if err != nil {
			return err
		}
		if left := deadline.Sub(r.now()); o.Done || left <= 0 {
			m, err := r.longRunning(o)
			if err != nil {
				return err
			}
			return r.write(w, m)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.o.Clock.After(min(o.Ends.Sub(r.now()), deadline.Sub(r.now()))):
		}
	}
}

// listOperations lists what is not finished first.
func listOperations(r *request) (any, error) {
	prefix := r.String() + "/"
	if len(r.ids) > 0 {
		first, _, _ := strings.Cut(strings.SplitAfterN(r.http.URL.Path, "/locations/"+r.Region+"/", 2)[1], "/")
		prefix += first + "/" + r.ids[0] + "/operations/"
	}
	var all []*operation
	err := r.tx.Each(kindOperation, prefix, func(_ string, data []byte) error {
		var o operation
		if err := json.Unmarshal(data, &o); err != nil {
			return err
		}
		if !o.Hidden {
			all = append(all, &o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b *operation) int {
		if a.Done != b.Done {
			if a.Done {
				return 1
			}
			return -1
		}
		return b.Created.Compare(a.Created)
	})
	out := &longrunningpb.ListOperationsResponse{}
	page, next, err := paged(r, all, func(o *operation, field string) (string, bool) {
		if field == "done" {
			return fmt.Sprint(o.Done), true
		}
		return "", false
	})
	if err != nil {
		return nil, err
	}
	out.NextPageToken = next
	for _, o := range page {
		m, err := r.longRunning(o)
		if err != nil {
			return nil, err
		}
		if lro, ok := m.(*longrunningpb.Operation); ok {
			out.Operations = append(out.Operations, lro)
		}
	}
	return out, nil
}
