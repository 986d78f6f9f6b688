// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// blockSize is the size of an upload's blocks. With four in flight and one being
// filled an upload holds 40 MiB, whatever the artifact's size; 50,000 blocks are
// 400 GB.
const (
	blockSize      = 8 << 20
	blocksInFlight = 4
	mostBlocks     = 50_000
)

// crc64NVMe is the checksum that the service compares each block with.
var crc64NVMe = crc64.MakeTable(0x9A6C9329AC4BC9B5)

func checksum(data []byte) blob.TransferValidationType {
	return blob.TransferValidationTypeCRC64(crc64.Checksum(data, crc64NVMe))
}

// Put streams a blob into a place where none is; one that is there already is
// Conflict. No blob is left behind when r or the upload fails. Blocks that were sent
// stay for a week, unseen: the next Put of the same bytes sends only the others.
func (b *Blob) Put(ctx context.Context, at Location, digest string, r io.Reader) error {
	c, err := b.container(at)
	if err != nil {
		return err
	}
	err = (&upload{client: c.NewBlockBlobClient(at.Key), digest: digest, free: make(chan []byte, blocksInFlight+1)}).send(ctx, r)
	if own, ok := errors.AsType[*mlerr.Error](err); ok && !answered(err) {
		return own
	}
	if err != nil {
		return blobError(err, "writing "+at.String())
	}
	return nil
}

// answered reports whether an error is the service's.
func answered(err error) bool {
	_, ok := errors.AsType[*azcore.ResponseError](err)
	return ok
}

// upload is one blob on its way.
type upload struct {
	client *blockblob.Client
	digest string
	ids    []string         // of the blocks, in order
	sent   map[string]int64 // sizes of the blocks that an earlier upload has sent
	free   chan []byte      // buffers that are not in use
}

// whenAbsent lets nothing be overwritten.
func whenAbsent() *blob.AccessConditions {
	any := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &any}}
}

func (u *upload) about() (map[string]*string, *blob.HTTPHeaders) {
	kind := "application/octet-stream"
	return map[string]*string{blobDigest: &u.digest}, &blob.HTTPHeaders{BlobContentType: &kind}
}

func (u *upload) send(ctx context.Context, r io.Reader) error {
	first := make([]byte, blockSize)
	n, last, err := fill(r, first)
	if err != nil {
		return err
	}
	metadata, headers := u.about()
	if last {
		_, err := u.client.Upload(ctx, streaming.NopCloser(bytes.NewReader(first[:n])),
			&blockblob.UploadOptions{Metadata: metadata, HTTPHeaders: headers, AccessConditions: whenAbsent(), TransactionalValidation: checksum(first[:n])})
		return err
	}
	if u.sent, err = u.earlier(ctx); err != nil {
		return err
	}
	if err := u.blocks(ctx, first, r); err != nil {
		return err
	}
	_, err = u.client.CommitBlockList(ctx, u.ids, &blockblob.CommitBlockListOptions{Metadata: metadata, HTTPHeaders: headers, AccessConditions: whenAbsent()})
	return err
}

// earlier are the blocks that an upload has sent that did not come to its end.
func (u *upload) earlier(ctx context.Context) (map[string]int64, error) {
	got, err := u.client.GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil, nil //nolint:nilnil // there are none
	}
	if err != nil {
		return nil, err
	}
	sent := make(map[string]int64, len(got.UncommittedBlocks))
	for _, block := range got.UncommittedBlocks {
		sent[deref(block.Name)] = deref(block.Size)
	}
	return sent, nil
}

// blocks sends r in blocks, the first of which is full already.
func (u *upload) blocks(ctx context.Context, data []byte, r io.Reader) error {
	sending, ctx := errgroup.WithContext(ctx)
	sending.SetLimit(blocksInFlight)
	for n, last := len(data), false; ; {
		if n > 0 {
			if len(u.ids) == mostBlocks {
				return errors.Join(mlerr.New(mlerr.Unsupported, "a file of more than %d GB cannot be staged in Blob storage", mostBlocks*blockSize/1_000_000_000).At("artifact.uri"), sending.Wait())
			}
			u.stage(ctx, sending, data[:n])
		}
		if last || ctx.Err() != nil {
			return sending.Wait()
		}
		data = u.buffer()
		var err error
		if n, last, err = fill(r, data); err != nil {
			_ = sending.Wait() // what cannot be read is why
			return err
		}
	}
}

func (u *upload) buffer() []byte {
	select {
	case data := <-u.free:
		return data[:blockSize]
	default:
		return make([]byte, blockSize)
	}
}

// stage sends a block, unless it is there. Its id is its place and its digest, so
// that what an earlier upload has sent is known by it.
func (u *upload) stage(ctx context.Context, sending *errgroup.Group, data []byte) {
	sum := sha256.Sum256(data)
	id := base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, uint64(len(u.ids))), sum[:]...))
	u.ids = append(u.ids, id)
	give := func() {
		select {
		case u.free <- data:
		default:
		}
	}
	if size, there := u.sent[id]; there && size == int64(len(data)) {
		give()
		return
	}
	sending.Go(func() error {
		defer give()
		_, err := u.client.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(data)), &blockblob.StageBlockOptions{TransactionalValidation: checksum(data)})
		return err
	})
}

// fill reads until data is full or r has ended.
func fill(r io.Reader, data []byte) (n int, last bool, err error) {
	for n < len(data) {
		more, err := r.Read(data[n:])
		n += more
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
