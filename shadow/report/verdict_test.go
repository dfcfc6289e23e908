package report

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/shadow"
)

func gateNames[T any](all []T, name func(T) string) []string {
	out := make([]string, 0, len(all))
	for _, x := range all {
		out = append(out, name(x))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func failed(v Verdict) []string { return gateNames(v.Reasons, func(r Reason) string { return r.Gate }) }

func open(v Verdict) []string {
	return gateNames(v.Insufficient, func(r Insufficient) string { return r.Gate })
}

func TestVerdict(t *testing.T) {
	always := func(c shadow.Counts) made {
		return made{minutes: 60, perCell: 2000, faults: func(string, int) shadow.Counts { return c }}
	}
	week := func(m made) shadow.Evidence { return stretch(m.evidence()) }
	beside := func(event string, c shadow.Counts) shadow.Evidence {
		ev := week(always(shadow.Counts{}))
		ev.Pairs[0].Cells = append(ev.Pairs[0].Cells, shadow.Cell{
			Key: shadow.Key{Type: "presence", Pattern: "presence-room-{int}", Event: event}, Start: start, Span: time.Minute, Counts: c,
		})
		return ev
	}
	tests := map[string]struct {
		evidence shadow.Evidence
		gates    Gates
		meta     Meta
		state    State
		code     int
		failed   []string
		open     []string
	}{
		"a clean week": {evidence: week(always(shadow.Counts{})), state: Ready, code: 0},
		"a clean hour": {evidence: always(shadow.Counts{}).evidence(), state: InsufficientData, code: 2, open: []string{"checkpoints", "observe"}},
		"a clean hour, and the gates ask for half of one": {
			evidence: always(shadow.Counts{}).evidence(), gates: Gates{Observe: 30 * time.Minute}, state: Ready, code: 0,
		},
		"a clean minute": {
			evidence: short(), gates: Gates{Observe: -1}, state: InsufficientData, code: 2,
			open: []string{"duplicate", "extra", "loss", "reorder"},
		},
		"no traffic": {evidence: shadow.Evidence{App: "app-id"}, state: InsufficientData, code: 2, open: []string{"evidence"}},
		"loss":       {evidence: week(always(shadow.Counts{Missing: 2})), state: NotReady, code: 1, failed: []string{"loss"}, open: []string{"checkpoints"}},
		"loss that the reference has too": {
			evidence: week(always(shadow.Counts{Missing: 1, ReferenceMissing: 1})), gates: Gates{Loss: 2e-4}, state: Ready,
		},
		"duplicates": {evidence: week(always(shadow.Counts{Duplicate: 2})), state: NotReady, code: 1, failed: []string{"duplicate"}},
		"reorder":    {evidence: week(always(shadow.Counts{Reordered: 2})), state: NotReady, code: 1, failed: []string{"reorder"}},
		"reorder no worse than between the reference's own sockets": {
			evidence: week(always(shadow.Counts{Reordered: 2, Siblings: 2000, SiblingReordered: 4})), state: Ready,
		},
		"one altered payload":  {evidence: week(always(shadow.Counts{PayloadDiffers: 1})), state: NotReady, code: 1, failed: []string{"payload_differs"}},
		"re-encoded only":      {evidence: week(always(shadow.Counts{PayloadDiffers: 1, SameJSON: 1})), state: Ready},
		"refused":              {evidence: week(always(shadow.Counts{Rejected: map[string]int64{"THROTTLED": 9}})), state: NotReady, code: 1, failed: []string{"rejected"}},
		"much of it unknown":   {evidence: week(always(shadow.Counts{Unknown: 300})), state: InsufficientData, code: 2, open: []string{"unknown"}},
		"only the candidate's": {evidence: week(always(shadow.Counts{Extra: 3})), state: NotReady, code: 1, failed: []string{"extra"}},
		"publishers go round the gateway": {
			evidence: func() shadow.Evidence {
				ev := week(always(shadow.Counts{}))
				ev.Coverage.Published = 900
				return ev
			}(), state: NotReady, code: 1, failed: []string{"publish_path"},
		},
		"clients go round the gateway": {
			evidence: week(always(shadow.Counts{})), meta: Meta{Clients: func() *float64 { v := 0.9; return &v }()},
			state: NotReady, code: 1, failed: []string{"clients"},
		},
		"the comparator itself dropped records": {
			evidence: func() shadow.Evidence {
				ev := week(always(shadow.Counts{}))
				ev.Health.Shed = 480
				return ev
			}(), state: InsufficientData, code: 2, open: []string{"shed"},
		},
		"the candidate is slower than allowed": {
			evidence: func() shadow.Evidence {
				ev := week(always(shadow.Counts{}))
				for range 1000 {
					_ = ev.Pairs[0].Cells[0].Latency.Slower.RecordValue(80_000)
				}
				return ev
			}(), state: NotReady, code: 1, failed: []string{"paired_p99"},
		},
		"a small pattern that fails does not hide among much that does not": {
			evidence: week(made{minutes: 60, perCell: 200_000, faults: func(pattern string, minute int) shadow.Counts {
				if pattern == "ticker-{int}" && minute < 45 {
					return shadow.Counts{Missing: 60}
				}
				return shadow.Counts{}
			}}), state: NotReady, code: 1, failed: []string{"loss"},
		},
		"members differ too much": {
			evidence: beside("pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 1000, Divergence: 20}}),
			state:    NotReady, code: 1, failed: []string{"presence"},
		},
		"members differ for too long": {
			evidence: beside("pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 1e6, Divergence: 20, Longest: 11}}),
			state:    NotReady, code: 1, failed: []string{"presence"},
		},
		"members differ a little": {
			evidence: beside("pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 1e6, Divergence: 20, Longest: 9}}), state: Ready,
		},
		"one decision differs": {
			evidence: beside("pusher:decide subscribe", shadow.Counts{Decisions: map[string]int64{"allow | allow": 9000, "deny 4009 | allow": 1}}),
			state:    NotReady, code: 1, failed: []string{"decisions"},
		},
		"webhooks that one side only told": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 960, Missing: 30, Extra: 10}}),
			state:    NotReady, code: 1, failed: []string{"webhooks"},
		},
		"webhooks that agree": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 299}}), state: Ready,
		},
		"too few webhooks to be sure": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 290}}),
			state:    InsufficientData, code: 2, open: []string{"webhooks"},
		},
		"too few webhooks, and nothing is asked of them": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 290}}),
			gates:    Gates{Webhooks: 1}, state: Ready,
		},
		"webhooks that nobody could compare": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Unknown: 900, Flaps: 3}}), state: Ready,
		},
		"one type of webhook never told, among many that agree": {
			evidence: func() shadow.Evidence {
				ev := beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 100_000}})
				ev.Pairs[0].Cells = append(ev.Pairs[0].Cells, shadow.Cell{
					Key:   shadow.Key{Type: "cache", Pattern: "cache-a", Event: "pusher:webhook cache_miss"},
					Start: start, Span: time.Minute, Counts: shadow.Counts{Webhooks: shadow.Webhooks{Missing: 20}},
				})
				return ev
			}(), state: NotReady, code: 1, failed: []string{"webhooks"},
		},
		"webhooks that differ, and a rule accepts it": {
			evidence: beside("pusher:webhook member_added", shadow.Counts{Webhooks: shadow.Webhooks{Matched: 960, Missing: 40}}),
			meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "webhooks", Pattern: "presence-*", Event: "member_added", Reason: "not used", Owner: "ann", Expires: "2026-11-30"},
			}}, state: ReadyWithExceptions,
		},
		"frames that are built differently": {
			evidence: beside("pusher:frame pusher:error", shadow.Counts{Structures: map[string]int64{"vendor | {a}": 8, "engine | {b}": 8}}),
			state:    NotReady, code: 1, failed: []string{"structures"},
		},
		"one frame that came otherwise, among thousands": {
			evidence: beside("pusher:frame first frame", shadow.Counts{Structures: map[string]int64{"vendor | a": 999, "vendor | b": 1, "engine | a": 1000}}),
			state:    InsufficientData, code: 2, open: []string{"structures"},
		},
		"three frames of each side, and not one alike": {
			evidence: beside("pusher:frame pusher:error", shadow.Counts{Structures: map[string]int64{"vendor | {a}": 3, "engine | {b}": 3}}),
			state:    NotReady, code: 1, failed: []string{"structures"},
		},
		"frames that one side only showed": {
			evidence: beside("pusher:frame pusher:error", shadow.Counts{Structures: map[string]int64{"vendor | {a}": 8}}), state: Ready,
		},
		"frames that are built differently, and a rule accepts it": {
			evidence: beside("pusher:frame pusher:error", shadow.Counts{Structures: map[string]int64{"vendor | {a}": 8, "engine | {b}": 8}}),
			meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "structure_differs", Event: "pusher:error", Reason: "no library reads it", Owner: "ann", Expires: "2026-11-30"},
			}}, state: ReadyWithExceptions,
		},
		"both refuse, with other codes": {
			evidence: beside("pusher:decide subscribe", shadow.Counts{Decisions: map[string]int64{"deny | deny 4009": 12}}), state: Ready,
		},
		"duplicates that a rule accepts": {
			evidence: week(always(shadow.Counts{Duplicate: 2})), meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "duplicate", Reason: "clients drop repeats by id", Owner: "ann", Expires: "2026-11-30"},
			}}, state: ReadyWithExceptions,
		},
		"the same after the rule's last day": {
			evidence: week(always(shadow.Counts{Duplicate: 2})), meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "duplicate", Reason: "clients drop repeats by id", Owner: "ann", Expires: "2026-11-01"},
			}}, state: NotReady, code: 1, failed: []string{"duplicate"},
		},
		"a rule for another pattern": {
			evidence: week(always(shadow.Counts{Duplicate: 2})), meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "duplicate", Pattern: "ticker-*", Reason: "clients drop repeats by id", Owner: "ann", Expires: "2026-11-30"},
			}}, state: NotReady, code: 1, failed: []string{"duplicate"},
		},
		"a time stamp that a rule accepts": {
			evidence: week(always(shadow.Counts{PayloadDiffers: 2, Signatures: map[string]int64{"sent_at": 2}})), meta: Meta{Generated: start, Rules: []Rule{
				{Finding: "payload_differs", Paths: []string{"sent_at"}, Reason: "set on the way", Owner: "ann", Expires: "2026-11-30"},
			}}, state: ReadyWithExceptions,
		},
		"more than the time stamp differs": {
			evidence: week(always(shadow.Counts{PayloadDiffers: 2, Signatures: map[string]int64{"sent_at": 1, "body,sent_at": 1}})), meta: Meta{
				Generated: start, Rules: []Rule{
					{Finding: "payload_differs", Paths: []string{"sent_at"}, Reason: "set on the way", Owner: "ann", Expires: "2026-11-30"},
				},
			}, state: NotReady, code: 1, failed: []string{"payload_differs"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := Build(tc.evidence, tc.gates, tc.meta)
			if r.Verdict.State != tc.state || r.ExitCode() != tc.code {
				t.Errorf("verdict %s, exit code %d, want %s, %d\n%+v", r.Verdict.State, r.ExitCode(), tc.state, tc.code, r.Verdict)
			}
			if got := failed(r.Verdict); !slices.Equal(got, tc.failed) {
				t.Errorf("failed gates %v, want %v", got, tc.failed)
			}
			if got := open(r.Verdict); !slices.Equal(got, tc.open) {
				t.Errorf("open gates %v, want %v", got, tc.open)
			}
		})
	}
}

func TestInsufficientDataSaysHowMuchMoreAndWhen(t *testing.T) {
	for _, x := range build(short()).Verdict.Insufficient {
		if x.Gate != "loss" {
			continue
		}
		if x.Have != 1200 || x.Need != 29_956 || x.ETA != "PT1H12M" || !strings.Contains(x.Text, "28 756 more") {
			t.Errorf("loss: %+v, want 28 756 more in an hour and 12 minutes", x)
		}
		return
	}
	t.Error("the gate on loss is not among those that are open")
}

func TestReadyMustHoldAtTwoCheckpoints(t *testing.T) {
	ev := made{minutes: 60, perCell: 2000}.evidence()
	for i := range ev.Pairs[0].Cells { // three days of hardly anything, and then a lot in half a day
		c := &ev.Pairs[0].Cells[i]
		if c.Start.Equal(start) {
			continue
		}
		c.Start = start.Add(72*time.Hour + c.Start.Sub(start)*10)
	}
	ev.To = start.Add(7 * 24 * time.Hour)
	v := Build(ev, Gates{}, Meta{}).Verdict
	if v.State != InsufficientData || !slices.Equal(open(v), []string{"checkpoints"}) {
		t.Errorf("verdict %s, open gates %v, want checkpoints alone to be open", v.State, open(v))
	}
}

func TestReadRules(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a good rule": {text: "- {finding: missing, pattern: 'ticker-*', reason: r, owner: o, expires: 2026-12-31}"},
		"no rules":    {text: "[]"},
		"an unknown key": {
			text: "- {finding: missing, patern: x, reason: r, owner: o, expires: 2026-12-31}", want: "patern",
		},
		"an unknown finding":             {text: "- {finding: lost, reason: r, owner: o, expires: 2026-12-31}", want: `finding "lost"`},
		"no owner":                       {text: "- {finding: missing, reason: r, expires: 2026-12-31}", want: "owner"},
		"no last day":                    {text: "- {finding: missing, reason: r, owner: o}", want: "expires"},
		"paths of a finding without any": {text: "- {finding: missing, paths: [a], reason: r, owner: o, expires: 2026-12-31}", want: "paths"},
		"every mistake at once":          {text: "- {finding: lost}\n- {finding: missing}", want: "rule 2"},
		"not YAML":                       {text: "- [", want: "read ignore rules"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadRules(strings.NewReader(tc.text))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("ReadRules = %v, want an error about %q", err, tc.want)
			}
		})
	}
}

func TestPathsThatAlwaysDifferAreSuggestedAsARule(t *testing.T) {
	r := build(made{minutes: 1, perCell: 100, faults: func(pattern string, _ int) shadow.Counts {
		if pattern == "ticker-{int}" {
			return shadow.Counts{PayloadDiffers: 100, Signatures: map[string]int64{"sent_at": 98, "price": 2}}
		}
		return shadow.Counts{}
	}}.evidence())
	if len(r.Suggestions) != 1 || r.Suggestions[0].Pattern != "ticker-{int}" || !slices.Equal(r.Suggestions[0].Paths, []string{"sent_at"}) {
		t.Errorf("suggestions %+v, want one for sent_at on ticker-{int}", r.Suggestions)
	}
}

func TestVerify(t *testing.T) {
	if err := Verify(build(faulty())); err != nil {
		t.Errorf("Verify of an untouched report: %v", err)
	}
	tests := map[string]struct {
		forge func(r *Report)
		want  string
	}{
		"the verdict was changed":      {func(r *Report) { r.Verdict.State = Ready }, "READY"},
		"a reason was taken out":       {func(r *Report) { r.Verdict.Reasons = r.Verdict.Reasons[1:] }, "gates"},
		"a total was changed":          {func(r *Report) { r.Pairs[0].Total.Missing = 0 }, "missing"},
		"a cell was changed":           {func(r *Report) { r.Pairs[0].Cells[0].Duplicate = 0 }, "duplicate"},
		"cell and total agree":         {func(r *Report) { forgeLoss(r) }, "bounded by"},
		"a payload was smoothed":       {func(r *Report) { r.Pairs[0].Cells[1].Payload.Real = 0 }, "payload"},
		"structures were called alike": {func(r *Report) { r.Pairs[0].Structures[0].Differs = false }, "contrary"},
		"webhooks were accepted":       {func(r *Report) { r.Pairs[0].Webhooks[0].Accepted = 99 }, "accepted"},
		"a reason was played down":     {func(r *Report) { r.Verdict.Reasons[1].Observed = 1e-6 }, "of gate loss it says 1e-06"},
		"a limit was raised":           {func(r *Report) { r.Verdict.Reasons[1].Limit = 1 }, "with the limit 1,"},
		"a wait was shortened":         {func(r *Report) { r.Verdict.Insufficient[0].Need = 1 }, "it has 0 of 1"},
		"a cell's bound was lowered":   {func(r *Report) { v := 1e-9; r.Pairs[0].Cells[0].Loss.DiffUpper95 = &v }, "bounded by 1e-09"},
		"the timeline was smoothed":    {func(r *Report) { r.Pairs[0].Timeline[0].Missing = 0 }, "timeline"},
		"the bound was embellished":    {func(r *Report) { v := 1e-9; r.Pairs[0].Total.Loss.DiffUpper95 = &v }, "bounded by"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := build(faulty())
			tc.forge(r)
			if err := Verify(r); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Verify = %v, want an error about %q", err, tc.want)
			}
		})
	}
}

// forgeLoss takes the losses out of every cell and the total.
func forgeLoss(r *Report) {
	p := &r.Pairs[0]
	for i := range p.Cells {
		p.Cells[i].Missing, p.Cells[i].Loss.Candidate = 0, 0
	}
	p.Total.Missing, p.Total.Loss.Candidate = 0, 0
}

func TestDiff(t *testing.T) {
	same := Diff(build(faulty()), build(faulty()))
	if len(same) != 0 {
		t.Errorf("Diff of a report with itself = %v, want nothing", same)
	}
	var text strings.Builder
	if err := WriteDiff(&text, Diff(build(faulty()), build(clean()))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"report  verdict: NOT_READY → READY", "gate loss: failed → not failed", "vendor → nats  missing: 39 → 0",
		"ticker-{int} · price  missing: 32 → 0: better", "js 8.4 · pusher_internal:subscription_succeeded frames  built: differently → not compared",
		"member_removed webhooks  told by one side only: 12 of 200 (6.00 %) → none compared", "gate webhooks: failed → not failed: better",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the changes do not say %q:\n%s", want, text.String())
		}
	}
}

func TestDiffOfWebhooksAndFramesSaysWhatGotBetter(t *testing.T) {
	report := func(h shadow.Webhooks, structures map[string]int64) *Report {
		ev := clean()
		for event, c := range map[string]shadow.Counts{
			"pusher:webhook member_added": {Webhooks: h}, "pusher:frame pusher:error": {Structures: structures},
		} {
			ev.Pairs[0].Cells = append(ev.Pairs[0].Cells, shadow.Cell{
				Key: shadow.Key{Type: "*", Pattern: "js 8.4", Event: event}, Start: start, Span: time.Hour, Counts: c,
			})
		}
		return build(ev)
	}
	bad := report(shadow.Webhooks{Matched: 90, Missing: 10}, map[string]int64{"vendor | {a}": 8, "engine | {b}": 8})
	good := report(shadow.Webhooks{Matched: 990, Missing: 10}, map[string]int64{"vendor | {a}": 8, "engine | {a}": 8})
	for trend, changes := range map[string][]Change{better: Diff(bad, good), worse: Diff(good, bad)} {
		for _, figure := range []string{"told by one side only", "built"} {
			i := slices.IndexFunc(changes, func(c Change) bool { return c.Figure == figure })
			if i < 0 || changes[i].Trend != trend {
				t.Errorf("%q is not said to be %s: %+v", figure, trend, changes)
			}
		}
	}
}

func TestAFindingIsExcusedOnce(t *testing.T) {
	rule := func(paths ...string) Rule {
		return Rule{Finding: "payload_differs", Paths: paths, Reason: "set on the way", Owner: "ann", Expires: "2026-11-30"}
	}
	dead := Rule{Finding: "missing", Pattern: "nowhere-*", Reason: "r", Owner: "bob", Expires: "2026-11-30"}
	late := Rule{Finding: "payload_differs", Reason: "r", Owner: "cid", Expires: "2026-10-31"}
	r := Build(made{minutes: 1, perCell: 100, faults: func(pattern string, _ int) shadow.Counts {
		if pattern == "ticker-{int}" {
			return shadow.Counts{PayloadDiffers: 10, Signatures: map[string]int64{"sent_at": 6, "price": 4}}
		}
		return shadow.Counts{}
	}}.evidence(), Gates{}, Meta{Generated: start, Rules: []Rule{rule("sent_at"), rule("sent_at", "request_id"), dead, late}})
	var got []string
	for _, x := range r.Exceptions {
		got = append(got, fmt.Sprint(x.Owner, " ", x.State, " ", x.Hits))
	}
	if want := []string{"ann in force 6", "ann unused 0", "bob unused 0", "cid expired 0"}; !slices.Equal(got, want) {
		t.Errorf("exceptions %q, want %q", got, want)
	}
	if failing := failed(r.Verdict); !slices.Contains(failing, "payload_differs") {
		t.Errorf("failed gates %v: the four differences in price are excused by nobody", failing)
	}
	if r.Pairs[0].Total.PayloadDiffers != 10 {
		t.Errorf("%d payload differences are reported, want all 10: a rule takes nothing away from what was seen", r.Pairs[0].Total.PayloadDiffers)
	}
}

func TestRulesCanBeTakenBack(t *testing.T) {
	week := func() shadow.Evidence {
		return stretch(made{minutes: 60, perCell: 2000, faults: func(string, int) shadow.Counts { return shadow.Counts{Duplicate: 2} }}.evidence())
	}
	bare := Build(week(), Gates{}, Meta{Generated: start})
	r := Build(week(), Gates{}, Meta{Generated: start})
	r.Accept([]Rule{{Finding: "duplicate", Reason: "clients drop repeats by id", Owner: "ann", Expires: "2026-11-30"}})
	if r.Verdict.State != ReadyWithExceptions || r.Run.RulesDigest == "" {
		t.Errorf("with the rule: %s, digest %q, want READY_WITH_EXCEPTIONS and a digest", r.Verdict.State, r.Run.RulesDigest)
	}
	if err := Verify(r); err != nil {
		t.Error(err)
	}
	if r.Accept(nil); !reflect.DeepEqual(r, bare) {
		t.Errorf("without the rule again: %s, want the report as it was: %s", r.Verdict.State, bare.Verdict.State)
	}
}

func TestGatesThatAreNotTheDefaultsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		gates Gates
		want  []string
	}{
		"the defaults":     {want: []string{}},
		"two were changed": {gates: Gates{Loss: 1, Hold: 1}, want: []string{"hold=1", "loss=1"}},
	} {
		got, err := Build(clean(), tc.gates, Meta{}).ChangedGates()
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, tc.want)
		}
	}
}
