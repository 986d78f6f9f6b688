// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// blobCodes are what the codes of Blob storage mean, and what to do.
var blobCodes = map[bloberror.Code]struct {
	code mlerr.Code
	hint string
}{
	bloberror.BlobNotFound:      {mlerr.NotFound, ""},
	bloberror.ResourceNotFound:  {mlerr.NotFound, ""},
	bloberror.ContainerNotFound: {mlerr.NotFound, "The container must exist; the provider makes none"},

	bloberror.BlobAlreadyExists: {mlerr.Conflict, ""},
	bloberror.ConditionNotMet:   {mlerr.Conflict, ""},
	// Somebody else has committed the blob: the blocks that were sent for it are gone.
	bloberror.InvalidBlockList: {mlerr.Conflict, ""},

	bloberror.AuthorizationPermissionMismatch:   {mlerr.PermissionDenied, mayReadAndWrite},
	bloberror.InsufficientAccountPermissions:    {mlerr.PermissionDenied, mayReadAndWrite},
	bloberror.UnauthorizedBlobOverwrite:         {mlerr.PermissionDenied, mayReadAndWrite},
	bloberror.AuthorizationFailure:              {mlerr.PermissionDenied, "Allow this machine in the network rules of the storage account, and give " + mayReadAndWrite},
	"PublicAccessNotPermitted":                  {mlerr.PermissionDenied, mayReadAndWrite},
	"BlobImmutableDueToPolicy":                  {mlerr.PermissionDenied, "Take the prefix of staging_uri out of the container's immutability policy, or choose another container"},
	bloberror.AuthenticationFailed:              {mlerr.Unauthenticated, signIn},
	bloberror.InvalidAuthenticationInfo:         {mlerr.Unauthenticated, signIn},
	bloberror.NoAuthenticationInformation:       {mlerr.Unauthenticated, signIn},
	bloberror.AccountIsDisabled:                 {mlerr.PermissionDenied, "Enable the storage account"},
	bloberror.BlobArchived:                      {mlerr.InvalidArgument, "Bring the blob to the hot or cool tier first"},
	bloberror.BlobBeingRehydrated:               {mlerr.Busy, "Wait until the blob has left the archive tier"},
	bloberror.ServerBusy:                        {mlerr.Throttled, ""},
	bloberror.OperationTimedOut:                 {mlerr.Unavailable, ""},
	bloberror.InternalError:                     {mlerr.Unavailable, ""},
	bloberror.MD5Mismatch:                       {mlerr.Unavailable, "Apply again"},
	bloberror.CRC64Mismatch:                     {mlerr.Unavailable, "Apply again"},
	bloberror.AuthorizationSourceIPMismatch:     {mlerr.PermissionDenied, "Allow this machine in the network rules of the storage account"},
	bloberror.InvalidBlobOrBlock:                {mlerr.Conflict, "Another tool has begun to write the same blob, and what it has sent is kept for a week: choose another staging_uri"},
	bloberror.InvalidResourceName:               {mlerr.InvalidArgument, ""},
	bloberror.InvalidURI:                        {mlerr.InvalidArgument, ""},
	bloberror.AuthorizationProtocolMismatch:     {mlerr.PermissionDenied, ""},
	bloberror.AuthorizationServiceMismatch:      {mlerr.PermissionDenied, ""},
	bloberror.AuthorizationResourceTypeMismatch: {mlerr.PermissionDenied, ""},
	bloberror.LeaseIDMissing:                    {mlerr.InUse, "Somebody holds a lease on the blob: end it"},
}

const (
	mayReadAndWrite = "the credentials in use the role Storage Blob Data Contributor on the container, or Storage Blob Data Reader where they only read"
	signIn          = "Sign in: set client_id and client_secret, use_oidc or use_msi in the provider's azure_ml, or run az login"
)

// blobError gives an error of Blob storage a code, its sentence and its request.
func blobError(err error, doing string) error {
	refused := mlerr.New(mlerr.CodeOf(err), "%s", doing)
	api, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
			return mlerr.New(mlerr.NotFound, "%s", doing).Because(err).At("artifact.uri").WithHint("There is no such storage account, or no way to it from here")
		}
		if refused.Code == mlerr.Unknown {
			refused.Code = mlerr.Unavailable
		}
		return refused.Because(err)
	}
	known, ok := blobCodes[bloberror.Code(api.ErrorCode)]
	if !ok {
		known.code = codeOfStatus(api.StatusCode)
	}
	refused.Code, refused.Hint = known.code, known.hint
	if known.hint == mayReadAndWrite {
		refused.Hint = "Give " + mayReadAndWrite
	}
	if api.RawResponse != nil {
		refused.RequestID = api.RawResponse.Header.Get("X-Ms-Request-Id")
	}
	if refused.Code == mlerr.NotFound {
		refused.Path = "artifact.uri"
	}
	return refused.Because(&blobSaysError{blobMessage(api), err})
}

func codeOfStatus(status int) mlerr.Code {
	switch {
	case status == http.StatusNotFound:
		return mlerr.NotFound
	case status == http.StatusUnauthorized:
		return mlerr.Unauthenticated
	case status == http.StatusForbidden:
		return mlerr.PermissionDenied
	case status == http.StatusPreconditionFailed, status == http.StatusConflict:
		return mlerr.Conflict
	case status == http.StatusTooManyRequests:
		return mlerr.Throttled
	case status >= http.StatusInternalServerError:
		return mlerr.Unavailable
	}
	return mlerr.InvalidArgument
}

// blobSaysError is what the service says, in place of its whole answer.
type blobSaysError struct {
	message string
	cause   error
}

func (s *blobSaysError) Error() string { return s.message }
func (s *blobSaysError) Unwrap() error { return s.cause }

// blobMessage takes the sentence out of an answer, which may have none.
func blobMessage(api *azcore.ResponseError) string {
	said := api.ErrorCode
	if said == "" {
		said = http.StatusText(api.StatusCode)
	}
	if api.RawResponse == nil {
		return said
	}
	var answer struct {
		Message string `xml:"Message"`
	}
	body, err := runtime.Payload(api.RawResponse)
	if err != nil || xml.Unmarshal(body, &answer) != nil || answer.Message == "" {
		return said
	}
	sentence, _, _ := strings.Cut(answer.Message, "\n") // the request's id and time follow
	return said + ": " + strings.TrimSpace(sentence)
}
