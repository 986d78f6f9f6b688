// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
)

// keptDecoded is how many objects are kept as Go values: controllers look at the same
// few again and again, and copying one is much less work than reading its JSON.
const keptDecoded = 256

// decoded are the objects that were read last.
type decoded struct {
	mu   sync.Mutex
	kept map[string]decodedObject
}

type decodedObject struct {
	data []byte
	obj  runtime.Object
}

// object decodes a document, or copies what the very same bytes were decoded to.
func (d *decoded) object(r *resource, at string, data []byte) (runtime.Object, error) {
	at = r.id() + "/" + at
	d.mu.Lock()
	defer d.mu.Unlock()
	if k, ok := d.kept[at]; ok && bytes.Equal(k.data, data) {
		return k.obj.DeepCopyObject(), nil
	}
	obj, err := r.object(data)
	if err != nil {
		return nil, err
	}
	if d.kept == nil {
		d.kept = map[string]decodedObject{}
	}
	for other := range d.kept {
		if len(d.kept) < keptDecoded {
			break
		}
		delete(d.kept, other) // whichever: it is read again if it is needed
	}
	d.kept[at] = decodedObject{data, obj}
	return obj.DeepCopyObject(), nil
}
