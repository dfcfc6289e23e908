package shadow

import (
	"cmp"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// maxExhibits bounds the exhibits per finding, pair and pattern; the first
// ones are kept, as the start of a fault tells most. maxAllExhibits bounds
// those of an app.
const (
	maxExhibits    = 3
	maxAllExhibits = 4096
)

// exhibits keeps the first findings of each kind.
type exhibits struct{ kept []Exhibit }

func (e *exhibits) clone() exhibits { return exhibits{kept: slices.Clone(e.kept)} }

// list returns the exhibits in order of time.
func (e *exhibits) list() []Exhibit {
	slices.SortFunc(e.kept, earlier)
	return e.kept
}

func earlier(a, b Exhibit) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Finding, b.Finding),
		cmp.Compare(a.Candidate, b.Candidate), cmp.Compare(a.ID, b.ID))
}

// forget drops the exhibits from before a time.
func (e *exhibits) forget(before time.Time) {
	e.kept = slices.DeleteFunc(e.kept, func(x Exhibit) bool { return x.At.Before(before) })
}

// place returns where an exhibit is to be kept: behind the last one, or in the
// place of a later one of its kind when there are enough. It is none when the
// exhibit is not wanted.
func (e *exhibits) place(x *Exhibit) int {
	same, latest := 0, none
	for i := range e.kept {
		k := &e.kept[i]
		if k.Finding != x.Finding || k.Pattern != x.Pattern || k.Candidate != x.Candidate || k.Reference != x.Reference {
			continue
		}
		same++
		if latest == none || k.At.After(e.kept[latest].At) {
			latest = i
		}
	}
	switch {
	case same < maxExhibits && len(e.kept) < maxAllExhibits:
		return len(e.kept)
	case same > 0 && x.At.Before(e.kept[latest].At):
		return latest
	default:
		return none
	}
}

// exhibit keeps a finding if there is room for it.
func (p *sweeper) exhibit(finding string, s, leg int) {
	slot, ref, o := &p.slots[s], p.outcome(s, 0), p.outcome(s, leg)
	x := p.window.exhibit(finding, leg, slot.at)
	if p.target.exhibits.place(&x) == none {
		return
	}
	x.Event = p.app.events.text(slot.name)
	if !slot.id.IsZero() {
		x.ID = slot.id.String()
	}
	x.Before, x.After = p.frame(ref.first), p.frame(o.first)
	if x.Before == nil && slot.truth {
		e := &p.window.events[slot.event]
		x.Before = p.frame(&arrival{at: e.at, size: e.size, body: e.body})
		x.Note = "as published: the reference was not seen to deliver it"
	}
	x.Steps = inOrder(p.steps(s-around, s+around, s, leg))
	p.target.exhibits.keep(&x)
}

// exhibit begins an exhibit of what a candidate of the channel did.
func (w *window) exhibit(finding string, leg int, at int64) Exhibit {
	return Exhibit{
		Finding: finding, Channel: string(w.topic), Pattern: w.pattern, Reference: w.legs[0].name, Candidate: w.legs[leg].name,
		At: time.Unix(0, at).UTC(),
	}
}

// strayExhibit shows what only a candidate delivered.
func (p *sweeper) strayExhibit(leg int, stray *arrival) {
	x := p.window.exhibit("extra", leg, stray.at)
	if p.target.exhibits.place(&x) == none {
		return
	}
	x.Event, x.After = p.app.events.text(stray.name), p.frame(stray)
	if !stray.id.IsZero() {
		x.ID = stray.id.String()
	}
	next := 0
	for next < len(p.slots) && p.slots[next].at <= stray.at {
		next++
	}
	steps := p.steps(next-around, next+around-1, none, leg)
	x.Steps = inOrder(append(steps, placed{Step: p.step(x.Candidate, stray, true), place: len(p.slots)}))
	p.target.exhibits.keep(&x)
}

// around is how many events before and after the one of a finding an exhibit
// shows.
const around = 3

// steps returns what happened to some slots, as the reference and a candidate
// show it.
func (p *sweeper) steps(from, to, subject, leg int) []placed {
	var all []placed
	for k := max(0, from); k <= min(len(p.slots)-1, to); k++ {
		slot := &p.slots[k]
		if slot.truth {
			e := &p.window.events[slot.event]
			x := &arrival{at: e.at, id: e.id, name: e.name, size: e.size, body: e.body}
			step := p.step("", x, k == subject)
			if code := e.answers[leg]; code != 0 {
				step.Text = p.state.codes.text(code)
			}
			all = append(all, placed{step, k})
		}
		for _, l := range []int{0, leg} {
			all = append(all, p.deliveries(k, l, k == subject)...)
		}
	}
	return all
}

func inOrder(all []placed) []Step {
	// Much may arrive in one instant: its order is that of the arrivals.
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.place, b.place)) })
	steps := make([]Step, len(all))
	for i := range all {
		steps[i] = all[i].Step
	}
	return steps
}

// placed is a step with its place among those of its leg.
type placed struct {
	Step
	place int
}

// deliveries returns what the view of a leg that saw most shows of a slot, and
// what another one shows if that one does not.
func (p *sweeper) deliveries(s, leg int, subject bool) []placed {
	main := p.mainView(leg)
	if main == none {
		return nil
	}
	var found []placed
	v, name := &p.views[main], p.window.legs[leg].name
	for a, of := range v.slotOf {
		if of == s {
			found = append(found, placed{p.step(name, &v.view.arrivals[a], subject), a})
		}
	}
	if o := p.outcome(s, leg); len(found) == 0 && o.first != nil {
		found = append(found, placed{Step: p.step(name, o.first, subject)})
	}
	return found
}

func (p *sweeper) step(leg proxy.Leg, x *arrival, subject bool) Step {
	step := Step{Leg: leg, Event: p.app.events.text(x.name), Subject: subject, Frame: *p.frame(x)}
	if !x.id.IsZero() {
		step.ID = x.id.String()
	}
	return step
}

func (p *sweeper) frame(x *arrival) *Frame {
	if x == nil {
		return nil
	}
	return &Frame{
		At: time.Unix(0, x.at).UTC(), Bytes: x.size, Digest: p.state.digests.digest(x.body), Shape: shape(x.body),
	}
}

// maxShape bounds the text of a shape.
const maxShape = 400

// shape describes a JSON value by its paths and types, without any of its
// values: {"id":1,"tags":["a"]} is {id:number,tags:[string]}.
func shape(body []byte) string {
	var v any
	if len(body) == 0 || json.Unmarshal(body, &v) != nil {
		return ""
	}
	var b strings.Builder
	writeShape(&b, v)
	if b.Len() > maxShape {
		return b.String()[:maxShape] + "…"
	}
	return b.String()
}

func writeShape(b *strings.Builder, v any) {
	if b.Len() > maxShape {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(k + ":")
			writeShape(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		if len(v) > 0 {
			writeShape(b, v[0])
		}
		b.WriteByte(']')
	case string:
		b.WriteString("string")
	case float64:
		b.WriteString("number")
	case bool:
		b.WriteString("bool")
	default:
		b.WriteString("null")
	}
}
