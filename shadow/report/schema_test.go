package report

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/offramp/offramp/shadow"
)

func TestReportsFollowThePublishedSchema(t *testing.T) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(SchemaJSON()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	reports := map[string]*Report{
		"faulty": build(faulty()), "clean": build(clean()), "short": build(short()),
		"nothing":            build(shadow.Evidence{App: "app-id"}),
		"nothing compared":   build(shadow.Evidence{App: "app-id", Pairs: []shadow.Pair{{Reference: "vendor", Candidate: "nats"}}}),
		"accepted":           accepted(),
		"exhibits of a kind": build(withSteps()),
		"nodes, one silent":  build(shadow.Evidence{App: "app-id", Nodes: []string{"a"}, Missing: []string{"b: no answer"}}),
	}
	if got := reports["accepted"].Verdict.State; got != ReadyWithExceptions {
		t.Fatalf("the report with an exception is %s", got)
	}
	for name, r := range reports {
		if err := Verify(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var text bytes.Buffer
		if err := WriteJSON(&text, r); err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(&text)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// accepted is a report whose only finding is excused.
func accepted() *Report {
	r := build(within(func(p *shadow.Pair) {
		c := &p.Cells[0].Counts
		c.PayloadDiffers, c.Matched, c.Signatures = 3, c.Matched-3, map[string]int64{"sent_at": 3}
	}))
	r.Accept([]Rule{{Finding: "payload_differs", Pattern: "*", Paths: []string{"sent_at"}, Reason: "meant so", Owner: "ann", Expires: "2099-12-31"}})
	return r
}

// withSteps is evidence with an exhibit that has every kind of step.
func withSteps() shadow.Evidence {
	ev := faulty()
	x := shadow.Exhibit{Finding: "presence", Reference: "vendor", Candidate: "nats", Channel: "presence-room-1", Pattern: "presence-room-{int}", At: start}
	for _, kind := range []string{
		"", shadow.StepMember, shadow.StepJoined, shadow.StepLeft, shadow.StepLasted, shadow.StepDecided, shadow.StepRelayed, shadow.StepTold, shadow.StepFrame,
	} {
		x.Steps = append(x.Steps, shadow.Step{Leg: "vendor", Kind: kind, User: "9f86d081884c7d65", Text: "text", Subject: true, Frame: shadow.Frame{At: start}})
	}
	ev.Exhibits = append(ev.Exhibits, x)
	return ev
}
