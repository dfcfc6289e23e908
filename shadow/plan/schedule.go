package plan

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow/report"
)

// Step is one item of a plan.
type Step struct {
	Name  string      `json:"name"`
	Stage proxy.Stage `json:"stage"` // stage during the step
	Owner string      `json:"owner"`
	From  time.Time   `json:"from"` // day
	To    time.Time   `json:"to"`   // day, inclusive
	Exit  string      `json:"exit"` // what ends it
	Done  bool        `json:"done"`
	Gate  string      `json:"gate,omitempty"` // live state of its gate
}

// Plan is a dated way out.
type Plan struct {
	App        string    `json:"app"`
	Made       time.Time `json:"made"`
	Assessment Assessment
	Steps      []Step `json:"steps"`
}

// Input is what a plan is made from.
type Input struct {
	Start      time.Time
	Team       int // people; the second half of a step's work is shared among them
	Stage      proxy.Stage
	Assessment Assessment
	Report     *report.Report // nil: nothing was compared yet
	Now        time.Time
}

// template is a step before it has dates: working days, counted from the
// start, for a team of two.
type template struct {
	name     string
	stage    proxy.Stage
	owner    string
	from, to int
	exit     string
}

// web is the reference plan of an app whose clients are web pages; app
// releases stretch what follows the observing.
var web = []template{
	{"gateway in front of staging, then of production, as a relay", proxy.StageObserve, "platform", 1, 2, "relay adds under 2 ms at p99; no protocol errors"},
	{"inventory, assessment, cost; release clients with the new host", proxy.StageObserve, "platform, clients", 1, 4, "plan accepted; blockers solved"},
	{"publishers and webhooks through the gateway", proxy.StageObserve, "back end", 3, 5, "publish-path coverage at least 99 %"},
	{"shadow; read the report daily", proxy.StageShadow, "platform", 4, 11, "report READY on two checkpoints, over at least 7 days"},
	{"mirror with staff; drills; rollback rehearsed", proxy.StageMirror, "platform", 9, 12, "all drills passed"},
	{"canary 1, 5, 25, 50 % by channel", proxy.StageCanary, "platform", 12, 17, "report READY at each step, at least 24 h each"},
	{"cutover", proxy.StageCutover, "platform", 17, 18, "error budget intact"},
	{"vendor shadow for stragglers; tripwire; keys revoked", proxy.StageExited, "platform", 18, 28, "no straggler for 7 days"},
}

// releaseDays is what an app release, and its spreading, adds.
const releaseDays = 10

// Make dates the reference plan for an app.
func Make(in Input) Plan {
	p := Plan{App: in.Assessment.App, Made: in.Now, Assessment: in.Assessment}
	delay := 0
	for _, f := range in.Assessment.Findings {
		if strings.HasPrefix(f.Subject, "client ") && f.Level != Note {
			delay = releaseDays
		}
	}
	for _, t := range web {
		from, to := t.from, t.to
		if t.stage == proxy.StageObserve && in.Team == 1 {
			to += (to - from + 1) / 2
		}
		if t.stage > proxy.StageShadow {
			from, to = from+delay, to+delay
		}
		s := Step{Name: t.name, Stage: t.stage, Owner: t.owner, Exit: t.exit,
			From: workday(in.Start, from), To: workday(in.Start, to), Done: in.Stage > t.stage}
		if t.stage == in.Stage && in.Report != nil {
			s.Gate = gate(in.Report)
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// gate says in one line what the report says now.
func gate(r *report.Report) string {
	text := string(r.Verdict.State)
	for _, lack := range r.Verdict.Insufficient {
		if lack.ETA != "" {
			return text + ": " + lack.Text
		}
	}
	for _, reason := range r.Verdict.Reasons {
		return text + ": " + reason.Text
	}
	return text
}

// workday returns the n-th working day from a start, which is the first.
func workday(start time.Time, n int) time.Time {
	day := time.Date(start.Year(), start.Month(), start.Day(), 0, 0, 0, 0, start.Location())
	for {
		if wd := day.Weekday(); wd != time.Saturday && wd != time.Sunday {
			if n--; n <= 0 {
				return day
			}
		}
		day = day.AddDate(0, 0, 1)
	}
}

// WriteMarkdown writes the plan for people.
func (p Plan) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Leaving: app %s\n\nMade %s, from %s.\n\n| from | to | step | stage | owner | ends when | now |\n|---|---|---|---|---|---|---|\n",
		p.App, p.Made.Format("2 Jan 2006"), p.Assessment.Seen)
	for _, s := range p.Steps {
		now := s.Gate
		if s.Done {
			now = "done"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n",
			s.From.Format("Mon 2 Jan"), s.To.Format("Mon 2 Jan"), s.Name, s.Stage, s.Owner, s.Exit, now)
	}
	b.WriteString("\nEach step is taken with `offramp stage set`, and taken back with `offramp stage rollback`.\n")
	for _, f := range p.Assessment.Findings {
		if f.Level != Note {
			fmt.Fprintf(&b, "\n- **%s: %s** (%s). %s.", f.Level, f.Subject, f.Evidence, strings.ToUpper(f.Action[:1])+f.Action[1:])
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteICS writes the plan as a calendar (RFC 5545), an all-day event a step.
func (p Plan) WriteICS(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fold(&b, fmt.Sprintf(format, args...)) }
	line("BEGIN:VCALENDAR")
	line("VERSION:2.0")
	line("PRODID:-//Offramp//plan//EN")
	for i, s := range p.Steps {
		line("BEGIN:VEVENT")
		line("UID:offramp-%s-%d", escapeICS(p.App), i+1)
		line("DTSTAMP:%s", p.Made.UTC().Format("20060102T150405Z"))
		line("DTSTART;VALUE=DATE:%s", s.From.Format("20060102"))
		line("DTEND;VALUE=DATE:%s", s.To.AddDate(0, 0, 1).Format("20060102"))
		line("SUMMARY:%s", escapeICS(s.Name))
		line("DESCRIPTION:%s", escapeICS(fmt.Sprintf("Stage %s. Owner: %s. Ends when: %s.", s.Stage, s.Owner, s.Exit)))
		line("END:VEVENT")
	}
	line("END:VCALENDAR")
	_, err := io.WriteString(w, b.String())
	return err
}

var icsEscapes = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`)

func escapeICS(s string) string { return icsEscapes.Replace(s) }

// fold writes a content line, broken after at most 75 bytes as RFC 5545,
// section 3.1, asks.
func fold(b *strings.Builder, line string) {
	const limit = 73
	for len(line) > limit {
		cut := limit
		for cut > 0 && line[cut]&0xC0 == 0x80 { // not inside a character
			cut--
		}
		b.WriteString(line[:cut] + "\r\n ")
		line = line[cut:]
	}
	b.WriteString(line + "\r\n")
}
