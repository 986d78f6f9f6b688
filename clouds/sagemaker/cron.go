// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// A schedule is written with five fields: minute, hour, day of month, month, day
// of week from 0, Sunday. Application Auto Scaling wants six: a year follows,
// days of the week count from 1, and exactly one of the two kinds of days is "?"
// (https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html).

// cronFields are the lowest value of each of the five fields.
var cronFields = [5]int{0, 0, 1, 1, 0}

// toAWSCron translates five fields into a cron expression of the platform.
func toAWSCron(expression string) (string, error) {
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return "", mlerr.New(mlerr.InvalidArgument, "%q must have five fields: minute, hour, day of month, month, day of week", expression)
	}
	for i, field := range fields {
		translated, err := toAWSField(i, field)
		if err != nil {
			return "", mlerr.New(mlerr.InvalidArgument, "%q: %s", expression, err.Error())
		}
		fields[i] = translated
	}
	switch day, weekday := fields[2], fields[4]; {
	case weekday == "*":
		fields[4] = "?"
	case day == "*":
		fields[2] = "?"
	default:
		return "", mlerr.New(mlerr.Unsupported, "%q limits both the day of the month and the day of the week, and AWS takes one of them", expression)
	}
	return "cron(" + strings.Join(fields, " ") + " *)", nil
}

// toAWSField translates one field. "*/n" begins at the field's lowest value.
func toAWSField(field int, text string) (string, error) {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		base, step, stepped := strings.Cut(part, "/")
		if stepped {
			if n, err := strconv.Atoi(step); err != nil || n < 1 {
				return "", mlerr.New(mlerr.InvalidArgument, "%q is not a step", part)
			}
			if base == "*" {
				base = strconv.Itoa(cronFields[field])
			} else if strings.Contains(base, "-") {
				return "", mlerr.New(mlerr.InvalidArgument, "AWS does not take steps within a range (%q)", part)
			}
		}
		if base != "*" {
			if from, ok := strings.CutSuffix(base, "-7"); ok && field == 4 && !stepped {
				base = sundayLast(from)
				parts[i] = base
				continue
			}
			ends := strings.Split(base, "-")
			for j, end := range ends {
				translated, err := toAWSValue(field, end)
				if err != nil {
					return "", err
				}
				ends[j] = translated
			}
			base = strings.Join(ends, "-")
		}
		if parts[i] = base; stepped {
			parts[i] += "/" + step
		}
	}
	return strings.Join(parts, ","), nil
}

// sundayLast lists the days of a range that ends on Sunday written as 7, which
// AWS counts as the first.
func sundayLast(from string) string {
	days := []string{}
	if n, err := strconv.Atoi(from); err == nil {
		for day := max(n, 0); day <= 6; day++ {
			days = append(days, strconv.Itoa(day+1))
		}
	}
	return strings.Join(append(days, "1"), ",")
}

var cronLimits = [5]int{59, 23, 31, 12, 7}

func toAWSValue(field int, text string) (string, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		if name := strings.ToUpper(text); field >= 3 && len(name) == 3 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			return name, nil // MON, JAN
		}
		return "", mlerr.New(mlerr.InvalidArgument, "%q is not a value", text)
	}
	if n < cronFields[field] || n > cronLimits[field] {
		return "", mlerr.New(mlerr.InvalidArgument, "%d is out of range", n)
	}
	if field == 4 {
		n = n%7 + 1
	}
	return strconv.Itoa(n), nil
}

// fromAWSCron translates back. ok is false for what five fields cannot say.
func fromAWSCron(expression string) (cron string, ok bool) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(expression), "cron(")
	fields := strings.Fields(strings.TrimSuffix(inner, ")"))
	if !ok || len(fields) != 6 || fields[5] != "*" || strings.ContainsAny(inner, "LW#") && !namesOnly(fields) {
		return "", false
	}
	for i := range fields[:5] {
		if fields[i] == "?" {
			fields[i] = "*"
		}
		fields[i] = fromAWSField(i, fields[i])
	}
	return strings.Join(fields[:5], " "), true
}

// namesOnly reports whether letters occur only in names such as JUL and WED, not
// as AWS's signs for last and nearest days.
func namesOnly(fields []string) bool {
	for i, field := range fields[:5] {
		for _, part := range strings.FieldsFunc(field, func(c rune) bool { return strings.ContainsRune(",-/", c) }) {
			if strings.ContainsAny(part, "LW#") && (i < 3 || len(part) != 3 || strings.ContainsAny(part, "0123456789#")) {
				return false
			}
		}
	}
	return true
}

func fromAWSField(field int, text string) string {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		base, step, stepped := strings.Cut(part, "/")
		ends := strings.Split(base, "-")
		for j, end := range ends {
			if n, err := strconv.Atoi(end); err == nil && field == 4 {
				ends[j] = strconv.Itoa((n + 6) % 7)
			}
		}
		base = strings.Join(ends, "-")
		if stepped && base == strconv.Itoa(cronFields[field]) {
			base = "*"
		}
		if parts[i] = base; stepped {
			parts[i] += "/" + step
		}
	}
	return strings.Join(parts, ",")
}

// canonicalCron is how an expression comes back from the platform.
func canonicalCron(expression string) (string, error) {
	translated, err := toAWSCron(expression)
	if err != nil {
		return "", err
	}
	canonical, ok := fromAWSCron(translated)
	if !ok {
		return "", mlerr.New(mlerr.InvalidArgument, "%q cannot be translated for AWS", expression)
	}
	return canonical, nil
}
