package report

import (
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
	week := func(m made) shadow.Evidence {
		ev := m.evidence()
		ev.To = ev.From.Add(7 * 24 * time.Hour)
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
		"a clean hour": {evidence: always(shadow.Counts{}).evidence(), state: InsufficientData, code: 2, open: []string{"observe"}},
		"a clean hour, and the gates ask for half of one": {
			evidence: always(shadow.Counts{}).evidence(), gates: Gates{Observe: 30 * time.Minute}, state: Ready, code: 0,
		},
		"a clean minute": {
			evidence: short(), gates: Gates{Observe: -1}, state: InsufficientData, code: 2,
			open: []string{"duplicate", "extra", "loss", "reorder"},
		},
		"no traffic": {evidence: shadow.Evidence{App: "app-id"}, state: InsufficientData, code: 2, open: []string{"evidence"}},
		"loss":       {evidence: week(always(shadow.Counts{Missing: 2})), state: NotReady, code: 1, failed: []string{"loss"}},
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
		"the candidate is slower": {
			evidence: week(always(shadow.Counts{})), gates: Gates{PairedP99: -1}, state: Ready,
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

func TestVerify(t *testing.T) {
	if err := Verify(build(faulty())); err != nil {
		t.Errorf("Verify of an untouched report: %v", err)
	}
	tests := map[string]struct {
		forge func(r *Report)
		want  string
	}{
		"the verdict was changed":   {func(r *Report) { r.Verdict.State = Ready }, "READY"},
		"a reason was taken out":    {func(r *Report) { r.Verdict.Reasons = r.Verdict.Reasons[1:] }, "gates"},
		"a total was changed":       {func(r *Report) { r.Pairs[0].Total.Missing = 0 }, "missing"},
		"a cell was changed":        {func(r *Report) { r.Pairs[0].Cells[0].Duplicate = 0 }, "duplicate"},
		"cell and total agree":      {func(r *Report) { forgeLoss(r) }, "bounded by"},
		"a payload was smoothed":    {func(r *Report) { r.Pairs[0].Cells[1].Payload.Real = 0 }, "payload"},
		"the bound was embellished": {func(r *Report) { v := 1e-9; r.Pairs[0].Total.Loss.DiffUpper95 = &v }, "bounded by"},
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
		"ticker-{int} · price  missing: 32 → 0",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the changes do not say %q:\n%s", want, text.String())
		}
	}
}
