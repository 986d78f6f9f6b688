// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// books are kept of every call, whatever the platform: what disturbs it, and that it
// was made.
type books struct {
	dir   string
	store *state.Store
	log   hclog.Logger
	now   func() time.Time
}

// visit is a call to a platform, which words its refusals in its own protocol.
type visit interface {
	name() string  // "sagemaker.CreateEndpoint"
	where() string // a region or a namespace
	refuse(w http.ResponseWriter, code, message string, status int)
	slow(w http.ResponseWriter) // refuses it as one too many
}

// attend answers a call, unless a scripted fault or a rate limit comes in between.
// What a fault leaves for the platform itself to act out is handed to answer.
func (b *books) attend(ctx context.Context, v visit, w http.ResponseWriter, answer func(http.ResponseWriter, *fault.Fault)) {
	began := time.Now()
	recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
	err := b.strike(ctx, v, recorder, answer)
	if err != nil {
		recorder.status = 0
	}
	b.record(v, recorder.status, time.Since(began))
	if err != nil {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
}

// strike lets a scripted fault happen around a call. An error means that the
// client gets no answer.
func (b *books) strike(ctx context.Context, v visit, w http.ResponseWriter, answer func(http.ResponseWriter, *fault.Fault)) error {
	f, throttled, err := b.disturbed(ctx, v)
	switch {
	case err != nil:
		v.refuse(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return nil
	case throttled:
		v.slow(w)
		return nil
	case f == nil:
		answer(w, nil)
		return nil
	}
	b.log.Info("scripted fault", "call", v.name(), "action", f.Action)
	switch f.Action {
	case fault.Error:
		status := f.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		if f.Duration != "" {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Wait().Seconds()))))
		}
		v.refuse(w, f.Code, f.Message, status)
		return nil
	case fault.LostAnswer:
		answer(&recorder{ResponseWriter: discard{http.Header{}}}, nil)
		return fmt.Errorf("answer lost")
	case fault.Hang:
		select {
		case <-ctx.Done():
		case <-time.After(f.Wait()):
		}
		return fmt.Errorf("hung up")
	case fault.Exit:
		if f.When == "after" {
			answer(&recorder{ResponseWriter: discard{http.Header{}}}, nil)
		}
		os.Exit(137) // what the fault is for: the process dies here
	}
	answer(w, f)
	return nil
}

// disturbed finds what keeps a call from being answered as usual: a scripted
// fault, or a rate above the one that quotas.json allows.
func (b *books) disturbed(ctx context.Context, v visit) (f *fault.Fault, throttled bool, err error) {
	limit, limited := quotas(b.dir)[v.name()]
	if !limited && !fault.Scripted(b.dir) {
		return nil, false, nil
	}
	err = b.store.Do(ctx, func(tx *state.Tx) (err error) {
		if f, err = fault.Match(b.dir, tx, v.name()); err != nil || f != nil || !limited {
			return err
		}
		var used struct{ Second, Calls int64 }
		key := v.where() + "/" + v.name()
		if _, err := tx.Get("rate", key, &used); err != nil {
			return err
		}
		if second := b.now().Unix(); used.Second != second {
			used.Second, used.Calls = second, 0
		}
		used.Calls++
		throttled = used.Calls > int64(limit)
		return tx.Put("rate", key, used)
	})
	return f, throttled, err
}
