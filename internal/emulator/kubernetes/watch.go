// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// How often a watch looks for what other processes have written, and how often it
// tells a client how far it is. Both are real time: they are about clients here, and
// not about the cluster.
const (
	watchInterval    = 50 * time.Millisecond
	bookmarkInterval = 5 * time.Second
)

// watcher is one watch while it lasts.
type watcher struct {
	*request
	filter  filter
	form    string
	version int // of the latest event that was seen
	flusher *http.ResponseController
	marked  time.Time // when the client was last told how far the watch is
}

func watchObjects(q *request) error {
	f, err := q.filter()
	if err != nil {
		return err
	}
	form, err := q.form()
	if err != nil {
		return err
	}
	timeout := 30 * time.Minute
	if t := q.query.Get("timeoutSeconds"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
		timeout = time.Duration(n) * time.Second
	}
	w := &watcher{request: q, filter: f, form: form, flusher: http.NewResponseController(q.w), marked: time.Now()}
	initial, err := w.begin()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(http.StatusOK)
	if err := w.initial(initial); err != nil {
		return nil //nolint:nilerr // the client has gone
	}
	w.follow(time.After(timeout))
	return nil
}

// begin finds out where the watch starts, and what there is already.
func (w *watcher) begin() (initial []item, err error) {
	from := w.query.Get("resourceVersion")
	streaming := w.query.Get("sendInitialEvents") == "true"
	if w.version, err = strconv.Atoi(from); err != nil && from != "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q: %v", from, err))
	}
	err = w.transact(w.http.Context(), func(world *world) error {
		if w.version > 0 && !streaming {
			return nil
		}
		if _, err := world.tx.Get("counter", versions, &w.version); err != nil {
			return err
		}
		if w.query.Get("sendInitialEvents") == "false" {
			return nil
		}
		prefix := ""
		if w.ns != "" {
			prefix = w.ns + "/"
		}
		return world.tx.Each(docObject+w.res.id(), prefix, func(key string, data []byte) error {
			matches, err := w.selected(w.filter, data)
			if matches {
				initial = append(initial, item{key, append([]byte{}, data...)})
			}
			return err
		})
	})
	return initial, err
}

func (w *watcher) initial(items []item) error {
	for _, i := range items {
		if err := w.send("ADDED", i.data); err != nil {
			return err
		}
	}
	if w.query.Get("sendInitialEvents") == "true" {
		return w.bookmark(true)
	}
	return w.flusher.Flush()
}

// follow sends what happens until the client goes or the time is over.
func (w *watcher) follow(end <-chan time.Time) {
	for {
		changed := w.changed.wait()
		if err := w.news(); err != nil {
			return
		}
		select {
		case <-end:
			return
		case <-w.http.Context().Done():
			return
		case <-changed:
		case <-time.After(watchInterval):
		}
	}
}

// news sends the events since the last ones.
func (w *watcher) news() error {
	latest, err := w.pending()
	if err != nil {
		return err
	}
	if latest <= w.version {
		if time.Since(w.marked) > bookmarkInterval && w.query.Get("allowWatchBookmarks") == "true" {
			return w.bookmark(false)
		}
		return nil
	}
	var events []event
	expired := false
	err = w.transact(w.http.Context(), func(world *world) error {
		if _, err := world.tx.Get("counter", versions, &latest); err != nil {
			return err
		}
		if expired = latest-w.version > w.o.History; expired {
			return nil
		}
		for v := w.version + 1; v <= latest; v++ {
			var e event
			if found, err := world.tx.Get(docEvent, eventKey(v), &e); err != nil {
				return err
			} else if found && e.Resource == w.res.id() {
				events = append(events, e)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if expired {
		gone := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", w.version, latest-w.o.History)).Status()
		gone.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		data, _ := json.Marshal(gone) // plain data
		_ = w.write("ERROR", data)
		return errExpired
	}
	w.version = latest
	for _, e := range events {
		if err := w.tell(e); err != nil {
			return err
		}
	}
	return w.flusher.Flush()
}

var errExpired = fmt.Errorf("the watch began too long ago")

// pending is the latest version once controllers have caught up with the clock. It
// opens no transaction when nothing is due.
func (w *watcher) pending() (int, error) {
	ctx := w.http.Context()
	if due, err := w.o.Store.First(ctx, docDue); err != nil {
		return 0, err
	} else if due != "" {
		when, _, _ := strings.Cut(due, "/")
		if nanos, err := strconv.ParseInt(when, 10, 64); err == nil && nanos <= w.o.Now().UnixNano() {
			if err := w.transact(ctx, func(*world) error { return nil }); err != nil {
				return 0, err
			}
		}
	}
	return w.o.Store.Peek(ctx, versions)
}

// tell sends an event if it concerns the watch: an object that a change makes match is
// added, and one that it makes not match any more is deleted.
func (w *watcher) tell(e event) error {
	obj, err := w.res.object(e.Object)
	if err != nil {
		return err
	}
	m := metaOf(obj)
	if w.ns != "" && m.GetNamespace() != w.ns {
		return nil
	}
	before := e.Type != "ADDED" && w.filter.matches(e.Labels, e.Fields)
	now := e.Type != "DELETED" && w.filter.matches(m.GetLabels(), fieldsOf(w.res, obj))
	switch {
	case now && before:
		return w.send("MODIFIED", e.Object)
	case now:
		return w.send("ADDED", e.Object)
	case before:
		return w.send("DELETED", e.Object)
	}
	return nil
}

func (w *watcher) send(kind string, data json.RawMessage) error {
	switch w.form {
	case asTable:
		t, err := w.table(metav1.ListMeta{}, []item{{data: data}})
		if err != nil {
			return err
		}
		if data, err = json.Marshal(t); err != nil {
			return err
		}
	case asMetadata:
		p, err := partial(data)
		if err != nil {
			return err
		}
		if data, err = json.Marshal(p); err != nil {
			return err
		}
	}
	return w.write(kind, data)
}

func (w *watcher) write(kind string, data json.RawMessage) error {
	line, err := json.Marshal(metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: data}})
	if err != nil {
		return err
	}
	_, err = w.w.Write(append(line, '\n'))
	return err
}

// bookmark tells how far the watch is; initial says that what was there is told.
func (w *watcher) bookmark(initial bool) error {
	w.marked = time.Now()
	meta := map[string]any{"resourceVersion": strconv.Itoa(w.version), "creationTimestamp": nil}
	if initial {
		meta["annotations"] = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	kind, apiVersion := w.res.kind, w.res.apiVersion()
	switch w.form {
	case asTable:
		kind, apiVersion = "Table", "meta.k8s.io/v1"
	case asMetadata:
		kind, apiVersion = "PartialObjectMetadata", "meta.k8s.io/v1"
	}
	data, err := json.Marshal(map[string]any{"kind": kind, "apiVersion": apiVersion, "metadata": meta})
	if err != nil {
		return err
	}
	if err := w.write("BOOKMARK", data); err != nil {
		return err
	}
	return w.flusher.Flush()
}
