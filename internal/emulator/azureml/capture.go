// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// recording is a collection that a request goes into.
type recording struct {
	collection string // request or response
	into       place
}

// recordings are the collections that the platform itself fills, of those that a
// deployment has: requests are sampled evenly.
func (r *request) recordings(d *deployment, number int) (all []recording, err error) {
	c := d.settings().collector
	if c == nil || r.o.Put == nil {
		return nil, nil
	}
	for _, name := range []string{"request", "response"} {
		one := c.Collections[name]
		if one == nil || value(one.DataCollectionMode) != ml.DataCollectionModeEnabled {
			continue
		}
		rate := 1.0
		if one.SamplingRate != nil {
			rate = *one.SamplingRate
		}
		if float64(number*61%100) >= rate*100 {
			continue
		}
		at := d.at()
		uri := home(&workspace{ID: at.up(2).id()}) + "datastores/" + defaultStore + "/paths/modelDataCollector/" + at.names[1] + "/" + at.names[2] + "/" + name
		if data, err := r.referenced("data", value(one.DataID)); err == nil && data != nil {
			uri, _ = data.Properties["dataUri"].(string)
		}
		p, known, err := r.place(at, uri)
		if err != nil {
			return nil, err
		}
		if known {
			all = append(all, recording{name, p})
		}
	}
	return all, nil
}

// record writes a request and its answer where they are collected, by the hour. What
// cannot be written is not recorded, and nobody is told: so it is on the platform.
func (r *request) record(a answer, response []byte) {
	now := r.now()
	for _, to := range a.recordings {
		data := r.body
		if to.collection == "response" {
			data = response
		}
		event := map[string]any{"specversion": "1.0", "id": guid(fmt.Sprint(a.deployment, a.number)), "source": a.source, "type": "azureml.inference." + to.collection,
			"datacontenttype": "application/json", "time": now.Format(time.RFC3339), "data": string(data)}
		if json.Valid(data) {
			event["data"] = json.RawMessage(data)
		}
		line, err := json.Marshal(event)
		if err != nil {
			continue
		}
		name := strings.Trim(to.into.path, "/") + now.Format("/2006/01/02/15/") + fmt.Sprintf("%08d.jsonl", a.number)
		_ = r.o.Put(to.into.account, to.into.container, name, bytes.NewReader(append(line, '\n')))
	}
}
