// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestCronTranslation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ reason, cron, aws, back string }{
		{"weekdays count from Sunday, which AWS calls 1", "0 8 * * 1-5", "cron(0 8 ? * 2-6 *)", "0 8 * * 1-5"},
		{"without a day of the week, that is the ?", "30 6 1 * *", "cron(30 6 1 * ? *)", "30 6 1 * *"},
		{"no days at all", "0 0 * * *", "cron(0 0 * * ? *)", "0 0 * * *"},
		{"steps begin at the lowest value", "*/15 */2 * * *", "cron(0/15 0/2 * * ? *)", "*/15 */2 * * *"},
		{"days of the month begin at 1", "0 0 */3 * *", "cron(0 0 1/3 * ? *)", "0 0 */3 * *"},
		{"steps over weekdays", "0 0 * * */2", "cron(0 0 ? * 1/2 *)", "0 0 * * */2"},
		{"Sunday written as 7", "0 0 * * 7", "cron(0 0 ? * 1 *)", "0 0 * * 0"},
		{"a range up to Sunday", "0 0 * * 5-7", "cron(0 0 ? * 6,7,1 *)", "0 0 * * 5,6,0"},
		{"names", "0 0 * jan mon,Wed", "cron(0 0 ? JAN MON,WED *)", "0 0 * JAN MON,WED"},
		{"lists", "0,30 9 * * 0,6", "cron(0,30 9 ? * 1,7 *)", "0,30 9 * * 0,6"},
	} {
		got, err := toAWSCron(c.cron)
		if err != nil || got != c.aws {
			t.Errorf("%s: %q is %q, %v; want %q", c.reason, c.cron, got, err, c.aws)
			continue
		}
		if back, ok := fromAWSCron(got); !ok || back != c.back {
			t.Errorf("%s: %q comes back as %q, %v; want %q", c.reason, got, back, ok, c.back)
		}
		if twice, err := canonicalCron(c.back); err != nil || twice != c.back {
			t.Errorf("%s: the canonical %q becomes %q, %v", c.reason, c.back, twice, err)
		}
	}
}

func TestCronRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, cron string
		code         mlerr.Code
	}{
		{"AWS takes one kind of days", "0 0 13 * 5", mlerr.Unsupported},
		{"six fields", "0 0 0 1 1 1", mlerr.InvalidArgument},
		{"no such hour", "0 24 * * *", mlerr.InvalidArgument},
		{"no such month", "0 0 1 13 *", mlerr.InvalidArgument},
		{"a step of nothing", "*/0 * * * *", mlerr.InvalidArgument},
		{"a word", "0 x * * *", mlerr.InvalidArgument},
	} {
		if _, err := canonicalCron(c.cron); !mlerr.Is(err, c.code) {
			t.Errorf("%s: %q gives %v", c.reason, c.cron, err)
		}
	}
	for _, foreign := range []string{"rate(5 minutes)", "at(2026-01-01T00:00:00)", "cron(0 0 L * ? *)", "cron(0 0 ? * 6#3 *)", "cron(0 0 1 * ? 2027)", "cron(0 0 ? * 2L *)"} {
		if got, ok := fromAWSCron(foreign); ok {
			t.Errorf("%s cannot be said in five fields and became %q", foreign, got)
		}
	}
	if got, ok := fromAWSCron("cron(0 0 ? JUL WED *)"); !ok || got != "0 0 * JUL WED" {
		t.Errorf("names with L and W are names: %q, %v", got, ok)
	}
}

func FuzzCron(f *testing.F) {
	for _, seed := range []string{"0 8 * * 1-5", "*/15 0 1,15 * *", "0 0 * * 5-7", "5/10 1-3 * jul sun"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cron string) {
		canonical, err := canonicalCron(cron)
		if err != nil {
			return
		}
		again, err := canonicalCron(canonical)
		if err != nil || again != canonical {
			t.Errorf("%q is canonically %q, and that %q, %v", cron, canonical, again, err)
		}
	})
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ reason, text, want string }{
		{"the charset of tags stays", "Größe 1/2: a_b.c+d-e@f", "Größe 1/2: a_b.c+d-e@f"},
		{"everything else is written in hex", "a,b", "a=2Cb"},
		{"the escape itself", "x=1", "x=3D1"},
		{"more than one byte", "😀", "=F0=9F=98=80"},
		{"a line break", "one\ntwo", "one=0Atwo"},
	} {
		if got := escape(c.text); got != c.want {
			t.Errorf("%s: %q is escaped as %q, want %q", c.reason, c.text, got, c.want)
		}
	}
	if got := unescape("a=b=2x=2C"); got != "a=b=2x," {
		t.Errorf("what is no escape stands for itself; got %q", got)
	}
}

func FuzzChunks(f *testing.F) {
	f.Add("plain")
	f.Add(strings.Repeat("ü=\"", 400))
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("Terraform's strings are valid")
		}
		tags := map[string]string{}
		chunks(tags, "k", text)
		for key, value := range tags {
			if len([]rune(value)) > maxTagValue || !allInCharset(value) {
				t.Fatalf("%s = %q is not a tag", key, value)
			}
		}
		if got := unchunk(tags, "k"); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	})
}
