// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// memoryKey is the one key of a resource's private state.
const memoryKey = "ml"

// The kinds of world that a resource can be made in. They never mix.
const (
	originReal      = "real"
	originRehearsal = "rehearsal"
)

// memory is what Terraform keeps for us beside a resource's attributes: which
// world it was made in, and what was last observed of it, so that the next read
// needs to confirm only that. T is driver.ModelState or driver.EndpointState.
type memory[T any] struct {
	Origin string `json:"origin"`
	Known  *T     `json:"known,omitempty"`
}

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// recall reads the memory. One that cannot be read, or that an other release
// wrote differently, is none: everything is then read anew.
func recall[T any](ctx context.Context, private privateReader, diags *diag.Diagnostics) memory[T] {
	data, d := private.GetKey(ctx, memoryKey)
	diags.Append(d...)
	var m memory[T]
	if json.Unmarshal(data, &m) != nil {
		return memory[T]{}
	}
	return m
}

// remember writes the memory.
func (p *platforms) remember(ctx context.Context, private privateWriter, known any, diags *diag.Diagnostics) {
	data, err := json.Marshal(memory[any]{Origin: p.origin(), Known: &known})
	if err != nil {
		diags.AddError("Cannot keep what was observed", err.Error())
		return
	}
	diags.Append(private.SetKey(ctx, memoryKey, data)...)
}

func (p *platforms) origin() string {
	if p.rehearsal != nil {
		return originRehearsal
	}
	return originReal
}

// admit refuses a resource that was made in the other world.
func (p *platforms) admit(origin string) error {
	if origin == "" || origin == p.origin() {
		return nil
	}
	if origin == originRehearsal {
		return mlerr.New(mlerr.InvalidArgument, "this resource was made in rehearsal, and the provider is now configured for real").
			WithHint("Keep rehearsals in a workspace or state file of their own. To go on rehearsing, set rehearsal in the provider or ML_REHEARSAL; " +
				"to go on for real, use another workspace, or remove the resource from this state with: terraform state rm")
	}
	return mlerr.New(mlerr.InvalidArgument, "this resource exists for real, and the provider is now configured for rehearsal").
		WithHint("Keep rehearsals in a workspace or state file of their own: terraform workspace new rehearsal. " +
			"To go on for real, remove rehearsal from the provider and unset ML_REHEARSAL")
}
