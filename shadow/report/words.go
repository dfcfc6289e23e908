package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number writes a count with spaces between thousands.
func number(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// percent writes a share with as many digits as it needs.
func percent(v float64) string {
	switch {
	case v == 0:
		return "0 %"
	case math.Abs(v) >= 0.1:
		return fmt.Sprintf("%.1f %%", 100*v)
	case math.Abs(v) >= 0.001:
		return fmt.Sprintf("%.2f %%", 100*v)
	default:
		return strconv.FormatFloat(100*v, 'g', 2, 64) + " %"
	}
}

// span writes a duration roughly, for people.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
}

// isoDuration writes a duration as ISO 8601 does, to the minute beyond an hour.
func isoDuration(d time.Duration) string {
	if d < time.Hour {
		d = d.Round(time.Second)
	} else {
		d = d.Round(time.Minute)
	}
	days, rest := d/(24*time.Hour), d%(24*time.Hour)
	out := "P"
	if days > 0 {
		out += fmt.Sprintf("%dD", days)
	}
	if rest == 0 && days > 0 {
		return out
	}
	out += "T"
	if h := rest / time.Hour; h > 0 {
		out += fmt.Sprintf("%dH", h)
	}
	if m := rest % time.Hour / time.Minute; m > 0 {
		out += fmt.Sprintf("%dM", m)
	}
	if s := rest % time.Minute / time.Second; s > 0 || out == "PT" {
		out += fmt.Sprintf("%dS", s)
	}
	return out
}

// codes lists result codes with their numbers, most frequent first.
func codes(rejected map[string]int64) string {
	names := make([]string, 0, len(rejected))
	for code := range rejected {
		names = append(names, code)
	}
	slices.SortFunc(names, func(a, b string) int {
		if rejected[a] != rejected[b] {
			return int(rejected[b] - rejected[a])
		}
		return strings.Compare(a, b)
	})
	for i, code := range names {
		names[i] = fmt.Sprintf("%s %d", code, rejected[code])
	}
	return strings.Join(names, ", ")
}

// grouped joins the open gates of one candidate that are told in the same
// words, so that a person reads them once.
func grouped(all []Insufficient) []Insufficient {
	var out []Insufficient
	for _, x := range all {
		same := slices.IndexFunc(out, func(o Insufficient) bool { return o.Candidate == x.Candidate && o.Text == x.Text })
		if same < 0 {
			out = append(out, x)
			continue
		}
		out[same].Gate += ", " + x.Gate
	}
	return out
}
