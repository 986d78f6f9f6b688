// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package mlerr has the one error type of the provider: a code for programs,
// a sentence for people, the attribute it concerns, and the platform's own
// words with their request id. Text is never matched; codes are.
package mlerr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code classifies an error. The zero value is Unknown.
type Code int

// The codes, by what the caller can do about them.
const (
	Unknown          Code = iota
	NotFound              // the thing does not exist, or is being deleted with no way back
	AlreadyExists         // a thing of that name exists and does not carry our marks
	InvalidArgument       // the configuration is wrong; no retry can help
	Unsupported           // this platform cannot do it; the hint names an alternative
	Busy                  // the thing is in transition; wait for it and ask again
	Conflict              // a concurrent write won; observe and try again
	Preempted             // somebody else has changed the thing meanwhile, and not by accident
	Throttled             // too many requests; try again later
	Unavailable           // the platform or the way to it failed; try again
	NotYetVisible         // something just made is not visible yet; try again shortly
	NotYetGranted         // the credentials may not do this, unless what was just granted is not in force yet
	PermissionDenied      // the credentials may not do this
	Unauthenticated       // there are no usable credentials
	QuotaExceeded         // an account limit stands in the way
	InUse                 // something that uses the thing forbids its removal
	Failed                // the platform accepted the change and then failed to make it
	RolledBack            // the platform, or we, went back to what served before
	Timeout               // the limit of the operation passed while it was still going on
	Canceled              // the user interrupted
)

var codeNames = [...]string{"unknown", "not found", "already exists", "invalid argument", "unsupported", "busy",
	"conflict", "preempted", "throttled", "unavailable", "not yet visible", "not yet granted", "permission denied", "unauthenticated",
	"quota exceeded", "in use", "failed", "rolled back", "timeout", "canceled"}

// String names the code in lower case words.
func (c Code) String() string {
	if c < 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("code %d", int(c))
	}
	return codeNames[c]
}

// Error is the one error type.
type Error struct {
	Code      Code
	Message   string // what was tried on what, or what is wrong: a sentence without a full stop
	Path      string // attribute that caused it, dotted ("deployments.main.compute.instance_type"); "" if none
	Hint      string // what to do next, one sentence; "" if the message says it
	RequestID string // the platform's id of the refused request; "" if it gave none
	cause     error
}

// New makes an error with a code and a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap puts what was being done in front of err and gives it a code. The cause
// stays reachable by errors.Is and errors.As. Wrap(nil, …) is nil.
func Wrap(err error, code Code, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: err}
}

// Annotate is Wrap that keeps the code err already has.
func Annotate(err error, format string, args ...any) error {
	return Wrap(err, CodeOf(err), format, args...)
}

// At names the attribute that caused the error and returns the error.
func (e *Error) At(format string, args ...any) *Error {
	e.Path = fmt.Sprintf(format, args...)
	return e
}

// WithHint says what to do next and returns the error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Because sets the cause and returns the error.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// Error is the message, the cause and the request id in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.cause != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.cause.Error())
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the outermost known code in err's chain. Contexts that were
// canceled or have expired are Canceled and Timeout; nil and foreign errors are Unknown.
func CodeOf(err error) Code {
	for e := err; e != nil; {
		var m *Error
		if !errors.As(e, &m) {
			break
		}
		if m.Code != Unknown {
			return m.Code
		}
		e = m.cause
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Unknown
}

// Is reports whether err has one of the codes.
func Is(err error, codes ...Code) bool {
	if err == nil {
		return false
	}
	got := CodeOf(err)
	return slices.Contains(codes, got)
}

// Hint returns the innermost hint in err's chain: the one nearest to the cause
// knows best. "" if there is none.
func Hint(err error) string {
	hint := ""
	for err != nil {
		var m *Error
		if !errors.As(err, &m) {
			break
		}
		if m.Hint != "" {
			hint = m.Hint
		}
		err = m.cause
	}
	return hint
}

// PathOf returns the attribute path nearest to the cause, "" if there is none.
func PathOf(err error) string {
	path := ""
	for err != nil {
		var m *Error
		if !errors.As(err, &m) {
			break
		}
		if m.Path != "" {
			path = m.Path
		}
		err = m.cause
	}
	return path
}

// List is several independent errors, such as all that is wrong with a
// configuration. Its zero value is ready to use.
type List struct{ errs []error }

// Add appends err unless it is nil; a joined error is taken apart.
func (l *List) Add(err error) {
	if err == nil {
		return
	}
	l.errs = append(l.errs, Split(err)...)
}

// Err is nil when nothing was added, the error itself when it is alone, and a
// joined error otherwise.
func (l *List) Err() error {
	switch len(l.errs) {
	case 0:
		return nil
	case 1:
		return l.errs[0]
	}
	return errors.Join(l.errs...)
}

// Split takes a joined error apart; any other error is returned alone.
func Split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // only a direct join
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, Split(e)...)
		}
		return all
	}
	return []error{err}
}
