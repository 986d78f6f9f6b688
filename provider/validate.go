// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/PaesslerAG/jsonpath"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/robfig/cron/v3"
)

// check is a validator of one string: what it must be, in words, and a test.
type check struct {
	must string
	test func(s string) error
}

func (c check) Description(context.Context) string             { return "must be " + c.must }
func (c check) MarkdownDescription(ctx context.Context) string { return c.Description(ctx) }

// ValidateString leaves null and unknown alone: the one is allowed by others, the
// other comes back when it is known.
func (c check) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	value := req.ConfigValue.ValueString()
	if err := c.test(value); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid value", stopped(fmt.Sprintf("%s: %q is not %s: %s", req.Path, value, c.must, err)))
	}
}

// isPositive never sees a string that is no duration: the attribute's type
// refuses that.
var isPositive = check{"longer than nothing", func(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return errors.New("it must be above zero")
	}
	return nil
}}

var errNoSlash = errors.New("it begins with something else")

var isCron = check{"a cron expression of five fields (minute, hour, day of month, month, day of week)", func(s string) error {
	if n := len(strings.Fields(s)); n != 5 {
		return fmt.Errorf("it has %d fields", n)
	}
	if strings.Contains(s, "=") {
		return errors.New("the time zone has an attribute of its own, timezone")
	}
	_, err := cron.ParseStandard(s)
	return err
}}

var isTimezone = check{"an IANA time zone, such as \"Europe/Berlin\"", func(s string) error {
	if s == "Local" || s == "" {
		return errors.New("it depends on the machine")
	}
	_, err := time.LoadLocation(s)
	return err
}}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

var isSHA256 = check{"a SHA-256 in 64 lower-case hex digits", func(s string) error {
	if !sha256Hex.MatchString(s) {
		return fmt.Errorf("it has %d characters, or others", len(s))
	}
	return nil
}}

var isJSONPath = check{"a JSONPath, such as \"$.outputs[0].name\"", func(s string) error {
	_, err := jsonpath.New(s)
	return err
}}
