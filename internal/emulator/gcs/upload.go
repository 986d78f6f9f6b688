// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	api "google.golang.org/api/storage/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// insert begins an upload: of the bytes in the request, or of a resumable one.
func (c *call) insert() error {
	if c.query.Has("upload_id") { // Go's client sends chunks with POST
		return c.resume()
	}
	var in api.Object
	in.ContentType = c.r.Header.Get(headerType)
	switch kind := c.query.Get("uploadType"); kind {
	case "media":
		return c.create(&in, c.r.Body)
	case "multipart":
		return c.multipart()
	case "resumable":
		return c.begin()
	default:
		return invalid("Invalid uploadType: %q", kind)
	}
}

// create writes an object with what in says of it.
func (c *call) create(in *api.Object, body io.Reader) error {
	o, err := c.admit(in)
	if err != nil {
		return err
	}
	blob, err := write(c.store, body)
	if err != nil {
		return err
	}
	blob.Key, blob.Header, blob.Metadata = o.Key, o.Header, o.Metadata
	return c.finish(&blob, in)
}

// admit names and describes an object that is to be written, and refuses early,
// before a large body is read, what would be refused in the end.
func (c *call) admit(in *api.Object) (objects.Object, error) {
	var o objects.Object
	in.Name = cmp.Or(c.query.Get("name"), in.Name)
	in.KmsKeyName = cmp.Or(in.KmsKeyName, c.query.Get("kmsKeyName"))
	take(&o, in)
	if o.Key = in.Name; !validName(o.Key) {
		return o, invalid("Invalid object name: '%s'", in.Name)
	}
	c.object = o.Key
	is, err := c.store.Find(c.bucket, o.Key)
	switch {
	case errors.Is(err, objects.ErrNoKey):
		return o, c.conditions("if", nil)
	case err != nil:
		return o, err
	}
	return o, c.conditions("if", &is)
}

// validName holds the rules of object names.
func validName(name string) bool {
	return name != "" && len(name) <= 1024 && name != "." && name != ".." && utf8.ValidString(name) && !strings.ContainsAny(name, "\r\n")
}

// finish makes a written object visible, if its checksums and the conditions hold.
func (c *call) finish(o *objects.Object, in *api.Object) error {
	err := checksums(o, in)
	if err != nil {
		c.store.DropBlob(o.Blob)
		return err
	}
	if err := c.store.Put(c.bucket, o, c.allowing(o)); err != nil {
		return err
	}
	answer(c.w, http.StatusOK, c.describe(c.bucket, o))
	return nil
}

func (c *call) allowing(o *objects.Object) func(old *objects.Object) error {
	return func(old *objects.Object) error {
		if err := c.conditions("if", old); err != nil {
			return err
		}
		return succeeding(o)(old)
	}
}

func checksums(o *objects.Object, in *api.Object) error {
	for _, sum := range []struct{ name, want, got string }{{"CRC32C", in.Crc32c, o.Checksums[crc32c]}, {"MD5 hash", in.Md5Hash, md5Of(o)}} {
		if sum.want != "" && sum.want != sum.got {
			return invalid("Provided %s %q doesn't match calculated %s %q.", sum.name, sum.want, sum.name, sum.got)
		}
	}
	return nil
}

// hashes takes the checksums of an X-Goog-Hash header into what is known of an
// object.
func hashes(h http.Header, in *api.Object) {
	for sum := range strings.SplitSeq(strings.Join(h.Values("X-Goog-Hash"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(sum), "=")
		switch name {
		case crc32c:
			in.Crc32c = value
		case "md5":
			in.Md5Hash = value
		}
	}
}

// multipart is an upload whose body has two parts: the attributes and the bytes.
func (c *call) multipart() error {
	quoted := strings.ReplaceAll(c.r.Header.Get(headerType), "'", `"`) // gcloud's quotes are not the standard's
	kind, params, err := mime.ParseMediaType(quoted)
	if err != nil || kind != "multipart/related" {
		return invalid("Multipart uploads need the content type multipart/related.")
	}
	parts := multipart.NewReader(c.r.Body, params["boundary"])
	attributes, err := parts.NextRawPart()
	if err != nil {
		return invalid("Malformed multipart body: %v", err)
	}
	var in api.Object
	if err := decode(attributes, &in); err != nil {
		return err
	}
	content, err := parts.NextRawPart()
	if err != nil {
		return invalid("Malformed multipart body: %v", err)
	}
	in.ContentType = cmp.Or(in.ContentType, content.Header.Get(headerType))
	hashes(c.r.Header, &in)
	return c.create(&in, content)
}

// session is a resumable upload. Its bytes are in the file beside it, as many as
// have arrived.
type session struct {
	ID     string          `json:"id"`
	Bucket string          `json:"bucket"`
	Begun  time.Time       `json:"begun"`
	Object *api.Object     `json:"object"`
	Query  url.Values      `json:"query"`          // with the conditions
	Done   *objects.Object `json:"done,omitempty"` // for a client that has lost the answer
}

const (
	sessionAge = 7 * 24 * time.Hour // after which a session is over
	chunkUnit  = 256 << 10          // bytes; of every chunk but the last
)

var sessionID = regexp.MustCompile(`^[A-Z0-9]{26}$`)

func (c *call) sessionPath(id, file string) string {
	return filepath.Join(c.store.UploadPath(id), file)
}

func (c *call) saveSession(s *session) error {
	return c.store.WriteJSON(c.sessionPath(s.ID, "session.json"), s)
}

// begin begins a resumable upload, and answers where its bytes are to be sent.
func (c *call) begin() error {
	in := &api.Object{}
	if err := decode(c.r.Body, in); err != nil {
		return err
	}
	in.ContentType = cmp.Or(in.ContentType, c.r.Header.Get("X-Upload-Content-Type"))
	if _, err := c.admit(in); err != nil {
		return err
	}
	c.forgetOld()
	s := &session{ID: rand.Text(), Bucket: c.bucket, Begun: time.Now().UTC(), Object: in, Query: c.query}
	if err := os.MkdirAll(c.store.UploadPath(s.ID), 0o750); err != nil {
		return err
	}
	if err := c.saveSession(s); err != nil {
		return err
	}
	to := url.Values{"uploadType": {"resumable"}, "name": {in.Name}, "upload_id": {s.ID}}
	c.w.Header().Set("Location", "http://"+c.r.Host+c.r.URL.EscapedPath()+"?"+to.Encode())
	c.w.Header().Set("X-Guploader-Uploadid", s.ID)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// forgetOld removes what sessions have left that are over; it is best effort.
func (c *call) forgetOld() {
	entries, _ := os.ReadDir(c.store.UploadPath(""))
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > sessionAge {
			_ = os.RemoveAll(c.store.UploadPath(e.Name()))
		}
	}
}

func (c *call) session() (*session, error) {
	id := c.query.Get("upload_id")
	if !sessionID.MatchString(id) {
		return nil, invalid("Invalid upload_id: %q", id)
	}
	var s session
	err := objects.ReadJSON(c.sessionPath(id, "session.json"), &s)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && s.Bucket != c.bucket) {
		err = refuse(http.StatusNotFound, "notFound", "Upload session not found.")
	}
	if err == nil {
		c.query, c.object = s.Query, s.Object.Name
	}
	return &s, err
}

// cancel ends a resumable upload.
func (c *call) cancel() error {
	s, err := c.session()
	if err == nil {
		err = os.RemoveAll(c.store.UploadPath(s.ID))
	}
	if err == nil {
		c.w.WriteHeader(499) // as the service does: client closed request
	}
	return err
}

// contentRange is "bytes 0-262143/*", "bytes 0-9/10", or, to ask how far an upload
// is, "bytes */*".
var contentRange = regexp.MustCompile(`^bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$`)

// chunk is what of an upload a request brings.
type chunk struct {
	first, size int64 // size is -1 for the rest
	total       int64 // of the whole, -1 if that is not known yet
	none        bool  // only a question
}

func chunkOf(r *http.Request) (chunk, error) {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return chunk{size: -1, total: r.ContentLength}, nil
	}
	m := contentRange.FindStringSubmatch(header)
	if m == nil {
		return chunk{}, invalid("Failed to parse Content-Range header.")
	}
	k := chunk{total: -1, none: m[1] == ""}
	if m[3] != "*" {
		k.total, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if k.none {
		return k, nil
	}
	k.first, _ = strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	k.size = last - k.first + 1
	switch {
	case k.size < 1 || (k.total >= 0 && last >= k.total):
		return k, invalid("Invalid Content-Range: %s", header)
	case k.size%chunkUnit != 0 && last+1 != k.total:
		return k, invalid("Invalid request. There were %d byte(s) in the request body. There should have been a multiple of %d byte(s), unless it is the last request.", k.size, chunkUnit)
	}
	return k, nil
}

// resume takes the next bytes of a resumable upload.
func (c *call) resume() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	if s.Done != nil {
		answer(c.w, http.StatusOK, c.describe(c.bucket, s.Done))
		return nil
	}
	hashes(c.r.Header, s.Object)
	k, err := chunkOf(c.r)
	if err != nil {
		return err
	}
	have, err := c.receive(s, k)
	switch {
	case err != nil:
		return err
	case k.total >= 0 && have == k.total, k.size < 0 && k.total < 0:
		return c.complete(s)
	}
	c.incomplete(have)
	return nil
}

// receive appends a chunk to what has arrived, without what was sent before. What
// of it arrives is kept when the rest does not.
func (c *call) receive(s *session, k chunk) (have int64, err error) {
	f, err := os.OpenFile(c.sessionPath(s.ID, "data"), os.O_CREATE|os.O_RDWR, 0o640) //nolint:gosec // read by the same group, like the blobs
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if have, err = f.Seek(0, io.SeekEnd); err != nil || k.none {
		return have, err
	}
	if k.first > have {
		return have, invalid("Invalid request. According to the Content-Range header, the upload offset is %d byte(s), which exceeds already uploaded size of %d byte(s).", k.first, have)
	}
	body := io.Reader(c.r.Body)
	if k.size >= 0 {
		body = io.LimitReader(body, k.size)
	}
	if _, err := io.CopyN(io.Discard, body, have-k.first); err != nil && !errors.Is(err, io.EOF) {
		return have, err
	}
	n, err := io.Copy(f, body)
	return have + n, err
}

// incomplete answers how far an upload is. Go's client cannot bear the status 308,
// and says so.
func (c *call) incomplete(have int64) {
	h := c.w.Header()
	if have > 0 {
		h.Set("Range", fmt.Sprintf("bytes=0-%d", have-1))
	}
	if c.r.Header.Get("X-Guploader-No-308") == "yes" {
		h.Set("X-Http-Status-Code-Override", strconv.Itoa(http.StatusPermanentRedirect))
		c.w.WriteHeader(http.StatusOK)
		return
	}
	c.w.WriteHeader(http.StatusPermanentRedirect)
}

// complete makes an object of what has arrived.
func (c *call) complete(s *session) error {
	f, err := os.Open(c.sessionPath(s.ID, "data"))
	if err != nil {
		return err
	}
	o, err := write(c.store, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	o.Key = s.Object.Name
	header := o
	take(&header, s.Object)
	o.Header, o.Metadata = header.Header, header.Metadata
	if err := c.finish(&o, s.Object); err != nil {
		return errors.Join(err, os.RemoveAll(c.store.UploadPath(s.ID)))
	}
	s.Done = &o
	if err := c.saveSession(s); err != nil {
		return err
	}
	return os.Remove(c.sessionPath(s.ID, "data"))
}
