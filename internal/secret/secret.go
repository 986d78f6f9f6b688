// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package secret has a string that cannot be printed by accident.
package secret

import "log/slog"

const masked = "(secret)"

// String prints as "(secret)" however it is printed. Only Reveal gives it away.
type String struct{ value string }

// New keeps a secret.
func New(value string) String { return String{value} }

// Reveal returns the secret, to hand it to whoever needs it.
func (s String) Reveal() string { return s.value }

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.value == "" }

// String is "(secret)".
func (s String) String() string { return masked }

// GoString is "(secret)".
func (s String) GoString() string { return masked }

// MarshalText is "(secret)".
func (s String) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue is "(secret)".
func (s String) LogValue() slog.Value { return slog.StringValue(masked) }
