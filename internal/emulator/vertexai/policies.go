// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/protobuf/proto"
)

// noPolicy is the etag of what has no policy yet.
var noPolicy = []byte{0, 32, 1}

// conditional is the version of policies that has conditions.
const conditional = 3

// policed is what has a policy: a model or an endpoint.
type policed struct {
	name   string
	policy *iampb.Policy
	save   func(data []byte) error
}

func (r *request) policed() (*policed, error) {
	p := &policed{policy: &iampb.Policy{Version: 1, Etag: noPolicy}}
	var data []byte
	if strings.HasPrefix(r.route.name, "models.") {
		m, err := loadModel(r.tx, r.place, r.ids[0])
		if err != nil {
			return nil, err
		}
		p.name, data = m.name(), m.Policy
		p.save = func(data []byte) error {
			m.Policy = data
			return r.tx.Put(kindModel, m.Place.key(m.ID), m)
		}
	} else {
		e, err := r.endpoint()
		if err != nil {
			return nil, err
		}
		p.name, data = e.name(), e.Policy
		p.save = func(data []byte) error {
			e.Policy = data
			return r.putEndpoint(e)
		}
	}
	if data == nil {
		return p, nil
	}
	return p, proto.Unmarshal(data, p.policy)
}

func getPolicy(r *request) (any, error) {
	in := &iampb.GetIamPolicyRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	version := int(in.GetOptions().GetRequestedPolicyVersion())
	if text := r.query.Get("options.requestedPolicyVersion"); text != "" {
		var err error
		if version, err = strconv.Atoi(text); err != nil {
			return nil, invalid("Invalid value at 'options.requested_policy_version' (TYPE_INT32), \"%s\"", text)
		}
	}
	if version != 0 && version != 1 && version != conditional {
		return nil, invalid("Invalid requested policy version %d: it must be 0, 1 or 3.", version)
	}
	p, err := r.policed()
	if err != nil {
		return nil, err
	}
	if version < conditional {
		simplify(p.policy)
	}
	return p.policy, nil
}

// simplify shows a policy to whoever does not know of conditions: roles that have one
// get names that no role has.
func simplify(p *iampb.Policy) {
	p.Version = 1
	for _, b := range p.GetBindings() {
		if b.GetCondition() == nil {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(b.GetCondition().GetExpression())) // never fails
		b.Role, b.Condition = fmt.Sprintf("%s_withcond_%016x", b.GetRole(), h.Sum64()), nil
	}
}

var (
	rolePattern   = regexp.MustCompile(`^((projects|organizations)/[^/]+/)?roles/[A-Za-z0-9_.]+$`)
	memberPattern = regexp.MustCompile(`^(allUsers|allAuthenticatedUsers|(user|serviceAccount|group):[^@\s]+@[^@\s]+|domain:[^@\s]+|(principal|principalSet)://\S+|deleted:\S+|project(Owner|Editor|Viewer):\S+)$`)
)

func setPolicy(r *request) (any, error) {
	in := &iampb.SetIamPolicyRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	want := in.GetPolicy()
	if want == nil {
		return nil, invalid("Required field is not set: policy.")
	}
	p, err := r.policed()
	if err != nil {
		return nil, err
	}
	if len(want.GetEtag()) > 0 && !bytes.Equal(want.GetEtag(), p.policy.GetEtag()) {
		return nil, refusal(codesAborted, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. The request's ETag does not match the current policy's ETag.")
	}
	for _, b := range want.GetBindings() {
		if !rolePattern.MatchString(b.GetRole()) {
			return nil, invalid("Role %s is not supported for this resource.", b.GetRole())
		}
		for _, member := range b.GetMembers() {
			if !memberPattern.MatchString(member) {
				return nil, invalid("Invalid member: %s.", member)
			}
		}
		if b.GetCondition() != nil && want.GetVersion() != conditional {
			return nil, invalid("Bindings with conditions need a policy of version 3.")
		}
	}
	n, err := r.tx.Next("vertex_ai.etag")
	if err != nil {
		return nil, err
	}
	want.Etag = binary.BigEndian.AppendUint64(nil, uint64(n))
	want.Version = max(1, want.GetVersion())
	data, err := proto.Marshal(want)
	if err != nil {
		return nil, err
	}
	return want, p.save(data)
}

// testPermissions grants everything: credentials are not checked.
func testPermissions(r *request) (any, error) {
	in := &iampb.TestIamPermissionsRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	if _, err := r.policed(); err != nil {
		return nil, err
	}
	return &iampb.TestIamPermissionsResponse{Permissions: append(in.GetPermissions(), r.query["permissions"]...)}, nil
}

// getProject tells the number of a project, in either version of the Resource Manager.
func getProject(r *request) (any, error) {
	id := r.project
	switch {
	case r.Number == number(fixtureProject):
		id = fixtureProject
	case id == r.Number: // its id cannot be told from its number
		return nil, detailedInfo("The caller does not have permission", "IAM_PERMISSION_DENIED")
	}
	if r.version == "v3" {
		return json.Marshal(map[string]string{"name": "projects/" + r.Number, "projectId": id, "displayName": id, "state": "ACTIVE"})
	}
	return json.Marshal(map[string]string{"projectNumber": r.Number, "projectId": id, "name": id, "lifecycleState": "ACTIVE"})
}
