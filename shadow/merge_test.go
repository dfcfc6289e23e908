package shadow

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// nodeEvidence is what one node saw in two minutes: events, losses and times.
func nodeEvidence(app string, missing int64, first time.Time) Evidence {
	ev := Evidence{
		App: app, Stage: proxy.StageShadow, From: first, To: first.Add(2 * time.Minute),
		Coverage: Coverage{Delivered: 100, Published: 99}, Health: Health{Records: 1000, Gaps: 1, Lag: time.Duration(missing)},
	}
	pair := Pair{Reference: proxy.LegVendor, Candidate: "nats"}
	for m := range 2 {
		c := Cell{Key: Key{"public", "room-{int}", "message"}, Start: first.Add(time.Duration(m) * time.Minute), Span: time.Minute}
		c.Counts = Counts{Expected: 50, Matched: 50 - missing, Missing: missing}
		c.Counts.Clusters.Observe(50, missing)
		c.Latency = new(Latency)
		for k := range 50 {
			d := time.Duration(k) * time.Millisecond
			c.Latency.candidate(d)
			c.Counts.delays().candidate(d)
		}
		pair.Cells = append(pair.Cells, c)
	}
	for range 2 {
		ev.Exhibits = append(ev.Exhibits, Exhibit{Finding: "missing", Pattern: "room-{int}", Candidate: "nats", Reference: proxy.LegVendor, At: first})
	}
	ev.Pairs = []Pair{pair}
	return ev
}

func TestEvidenceOfSeveralNodesAddsUp(t *testing.T) {
	start := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	one, two := nodeEvidence("a", 1, start), nodeEvidence("a", 3, start.Add(time.Minute))
	text, err := json.Marshal(one) // as the admin listener hands it out
	if err != nil {
		t.Fatal(err)
	}
	var read Evidence
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	got, err := Merge(read, two)
	if err != nil {
		t.Fatal(err)
	}
	if !got.From.Equal(start) || !got.To.Equal(start.Add(3*time.Minute)) || got.Coverage != (Coverage{Delivered: 200, Published: 198}) ||
		got.Health != (Health{Records: 2000, Gaps: 2, Lag: 3}) || len(got.Exhibits) != maxExhibits {
		t.Errorf("merged %+v", got)
	}
	if len(got.Pairs) != 1 || len(got.Pairs[0].Cells) != 3 {
		t.Fatalf("%d pairs, want one with three minutes", len(got.Pairs))
	}
	both := got.Pairs[0].Cells[1]
	if both.Counts.Expected != 100 || both.Counts.Missing != 4 || both.Counts.Clusters.Number != 2 ||
		both.Latency.Candidate.TotalCount() != 100 || both.Counts.Delays.CandidateSum < 2 {
		t.Errorf("the minute that both saw: %+v", both.Counts)
	}
	alone, err := Merge(one)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(alone.Pairs[0].Cells[0].Counts, one.Pairs[0].Cells[0].Counts) {
		t.Error("the evidence of one node alone changes when it is merged")
	}
	if _, err := Merge(one, nodeEvidence("b", 0, start)); err == nil {
		t.Error("evidence on two apps was merged")
	}
}
