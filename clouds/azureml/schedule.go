// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var weekdays = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

var shortDays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

// recurrence is a schedule as the platform has it: a time on days of the week.
func recurrence(s *driver.Schedule) (*armmonitor.Recurrence, error) {
	fields := strings.Fields(s.Cron)
	if len(fields) != 5 {
		return nil, mlerr.New(mlerr.InvalidArgument, "%q is no cron expression of five fields", s.Cron)
	}
	minute, errMinute := strconv.ParseInt(fields[0], 10, 32)
	hour, errHour := strconv.ParseInt(fields[1], 10, 32)
	days, errDays := daysOf(fields[4])
	if errMinute != nil || errHour != nil || errDays != nil || fields[2] != "*" || fields[3] != "*" || minute < 0 || minute > 59 || hour < 0 || hour > 23 {
		return nil, mlerr.New(mlerr.Unsupported, "azure_ml scales at one time of day, on days of the week, which %q is not", s.Cron).
			WithHint("Use an expression such as \"30 8 * * MON-FRI\", and several schedules for several times")
	}
	zone, ok := windowsZone(s.Timezone)
	if !ok {
		return nil, mlerr.New(mlerr.Unsupported, "azure_ml has no name for the time zone %q", s.Timezone).
			WithHint("Use UTC, or the zone of a capital with the same clock, such as Europe/Berlin or America/New_York")
	}
	return &armmonitor.Recurrence{Frequency: new(armmonitor.RecurrenceFrequencyWeek), Schedule: &armmonitor.RecurrentSchedule{TimeZone: &zone, Days: days,
		Hours: []*int32{new(int32(hour))}, Minutes: []*int32{new(int32(minute))}}}, nil
}

// daysOf reads the last field of a cron expression: "*", "1-5", "MON,WED".
func daysOf(field string) ([]*string, error) {
	on := make([]bool, 7)
	for part := range strings.SplitSeq(strings.ToUpper(field), ",") {
		first, until, ranged := strings.Cut(part, "-")
		low, err := dayOf(first)
		if part == "*" {
			low, until, ranged, err = 0, "6", true, nil
		}
		high := low
		if err == nil && ranged {
			high, err = dayOf(until)
		}
		if err != nil || high < low {
			return nil, fmt.Errorf("%q are no days", part)
		}
		for d := low; d <= high; d++ {
			on[d%7] = true
		}
	}
	var days []*string
	for d, is := range on {
		if is {
			days = append(days, &weekdays[d])
		}
	}
	return days, nil
}

func dayOf(word string) (int, error) {
	if d := slices.Index(shortDays, word); d >= 0 {
		return d, nil
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 || n > 7 {
		return 0, fmt.Errorf("%q is no day", word)
	}
	return n, nil
}

// cronOf is a schedule of somebody else's in words that are a cron expression; what is
// none, as a day of the year, stays empty.
func cronOf(r *armmonitor.Recurrence) string {
	if r == nil || r.Schedule == nil || len(r.Schedule.Hours) == 0 || len(r.Schedule.Minutes) == 0 {
		return ""
	}
	var days []string
	for _, d := range r.Schedule.Days {
		if at := slices.IndexFunc(weekdays, func(w string) bool { return strings.EqualFold(w, deref(d)) }); at >= 0 {
			days = append(days, strconv.Itoa(at))
		}
	}
	slices.Sort(days)
	field := strings.Join(days, ",")
	if len(days) == len(weekdays) {
		field = "*"
	}
	return fmt.Sprintf("%d %d * * %s", deref(r.Schedule.Minutes[0]), deref(r.Schedule.Hours[0]), field)
}

func zoneOf(r *armmonitor.Recurrence) string {
	if r == nil || r.Schedule == nil {
		return "UTC"
	}
	for _, z := range zones {
		if strings.EqualFold(z.windows, deref(r.Schedule.TimeZone)) {
			return z.iana[0]
		}
	}
	return deref(r.Schedule.TimeZone)
}

// zones are the names that Windows, and so Azure, has for time zones, with those of
// the IANA database that are the same clock
// (https://github.com/unicode-org/cldr/blob/main/common/supplemental/windowsZones.xml).
var zones = []struct {
	windows string
	iana    []string
}{
	{"UTC", []string{"UTC", "Etc/UTC", "Etc/GMT", "GMT"}},
	{"GMT Standard Time", []string{"Europe/London", "Europe/Dublin", "Europe/Lisbon"}},
	{"Greenwich Standard Time", []string{"Atlantic/Reykjavik", "Africa/Abidjan", "Africa/Accra", "Africa/Dakar"}},
	{"W. Europe Standard Time", []string{"Europe/Berlin", "Europe/Amsterdam", "Europe/Rome", "Europe/Stockholm", "Europe/Vienna", "Europe/Zurich", "Europe/Oslo", "Europe/Luxembourg"}},
	{"Romance Standard Time", []string{"Europe/Paris", "Europe/Brussels", "Europe/Copenhagen", "Europe/Madrid"}},
	{"Central Europe Standard Time", []string{"Europe/Budapest", "Europe/Prague", "Europe/Belgrade", "Europe/Bratislava", "Europe/Ljubljana"}},
	{"Central European Standard Time", []string{"Europe/Warsaw", "Europe/Zagreb", "Europe/Sarajevo", "Europe/Skopje"}},
	{"W. Central Africa Standard Time", []string{"Africa/Lagos", "Africa/Algiers", "Africa/Tunis"}},
	{"FLE Standard Time", []string{"Europe/Kiev", "Europe/Kyiv", "Europe/Helsinki", "Europe/Riga", "Europe/Sofia", "Europe/Tallinn", "Europe/Vilnius"}},
	{"GTB Standard Time", []string{"Europe/Bucharest", "Europe/Athens"}},
	{"Egypt Standard Time", []string{"Africa/Cairo"}},
	{"South Africa Standard Time", []string{"Africa/Johannesburg", "Africa/Harare", "Africa/Maputo"}},
	{"Israel Standard Time", []string{"Asia/Jerusalem"}},
	{"Turkey Standard Time", []string{"Europe/Istanbul"}},
	{"Russian Standard Time", []string{"Europe/Moscow"}},
	{"E. Africa Standard Time", []string{"Africa/Nairobi", "Africa/Addis_Ababa"}},
	{"Arab Standard Time", []string{"Asia/Riyadh", "Asia/Kuwait"}},
	{"Arabian Standard Time", []string{"Asia/Dubai"}},
	{"Pakistan Standard Time", []string{"Asia/Karachi"}},
	{"India Standard Time", []string{"Asia/Calcutta", "Asia/Kolkata"}},
	{"Bangladesh Standard Time", []string{"Asia/Dhaka"}},
	{"SE Asia Standard Time", []string{"Asia/Bangkok", "Asia/Jakarta", "Asia/Ho_Chi_Minh"}},
	{"China Standard Time", []string{"Asia/Shanghai", "Asia/Hong_Kong"}},
	{"Singapore Standard Time", []string{"Asia/Singapore", "Asia/Kuala_Lumpur", "Asia/Manila"}},
	{"Taipei Standard Time", []string{"Asia/Taipei"}},
	{"W. Australia Standard Time", []string{"Australia/Perth"}},
	{"Tokyo Standard Time", []string{"Asia/Tokyo"}},
	{"Korea Standard Time", []string{"Asia/Seoul"}},
	{"AUS Eastern Standard Time", []string{"Australia/Sydney", "Australia/Melbourne", "Australia/Canberra"}},
	{"E. Australia Standard Time", []string{"Australia/Brisbane"}},
	{"Cen. Australia Standard Time", []string{"Australia/Adelaide"}},
	{"New Zealand Standard Time", []string{"Pacific/Auckland"}},
	{"E. South America Standard Time", []string{"America/Sao_Paulo"}},
	{"Argentina Standard Time", []string{"America/Buenos_Aires", "America/Argentina/Buenos_Aires"}},
	{"SA Pacific Standard Time", []string{"America/Bogota", "America/Lima"}},
	{"Pacific SA Standard Time", []string{"America/Santiago"}},
	{"Newfoundland Standard Time", []string{"America/St_Johns"}},
	{"Atlantic Standard Time", []string{"America/Halifax"}},
	{"Eastern Standard Time", []string{"America/New_York", "America/Toronto", "America/Detroit", "US/Eastern"}},
	{"Central Standard Time", []string{"America/Chicago", "America/Winnipeg", "US/Central"}},
	{"Central Standard Time (Mexico)", []string{"America/Mexico_City"}},
	{"Mountain Standard Time", []string{"America/Denver", "America/Edmonton", "US/Mountain"}},
	{"US Mountain Standard Time", []string{"America/Phoenix"}},
	{"Pacific Standard Time", []string{"America/Los_Angeles", "America/Vancouver", "US/Pacific"}},
	{"Alaskan Standard Time", []string{"America/Anchorage"}},
	{"Hawaiian Standard Time", []string{"Pacific/Honolulu"}},
}

func windowsZone(iana string) (string, bool) {
	if iana == "" {
		return "UTC", true
	}
	for _, z := range zones {
		if slices.Contains(z.iana, iana) {
			return z.windows, true
		}
	}
	return "", false
}
