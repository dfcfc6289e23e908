package shadow

import (
	"cmp"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"
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
	x := Exhibit{
		Finding: finding, Pattern: p.window.pattern,
		Reference: p.window.legs[0].name, Candidate: p.window.legs[leg].name, At: time.Unix(0, slot.at).UTC(),
	}
	place := p.target.exhibits.place(&x)
	if place == none {
		return
	}
	x.Channel = string(p.window.topic)
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
	kept := &p.target.exhibits.kept
	if place == len(*kept) {
		*kept = append(*kept, x)
		return
	}
	(*kept)[place] = x
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
