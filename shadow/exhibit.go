package shadow

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// maxExhibits bounds the exhibits per finding, pair and pattern; the first
// ones are kept, as the start of a fault tells most.
const maxExhibits = 3

// exhibits keeps the first findings of each kind.
type exhibits struct{ kept []Exhibit }

func (e *exhibits) clone() exhibits { return exhibits{kept: slices.Clone(e.kept)} }

func (e *exhibits) list() []Exhibit { return e.kept }

// forget drops the exhibits from before a time.
func (e *exhibits) forget(before time.Time) {
	e.kept = slices.DeleteFunc(e.kept, func(x Exhibit) bool { return x.At.Before(before) })
}

// room reports whether another exhibit of the kind is wanted.
func (e *exhibits) room(x *Exhibit) bool {
	same := 0
	for i := range e.kept {
		k := &e.kept[i]
		if k.Finding == x.Finding && k.Pattern == x.Pattern && k.Candidate == x.Candidate && k.Reference == x.Reference {
			same++
		}
	}
	return same < maxExhibits && len(e.kept) < 4096
}

// exhibit keeps a finding if there is room for it.
func (p *sweeper) exhibit(finding string, s, leg int) {
	slot, ref, o := &p.slots[s], p.outcome(s, 0), p.outcome(s, leg)
	x := Exhibit{
		Finding: finding, Pattern: p.window.pattern,
		Reference: p.window.legs[0].name, Candidate: p.window.legs[leg].name,
	}
	if !p.target.exhibits.room(&x) {
		return
	}
	x.Channel = string(p.window.topic)
	x.Event = p.app.events.text(slot.name)
	x.At = time.Unix(0, slot.at).UTC()
	if !slot.id.IsZero() {
		x.ID = slot.id.String()
	}
	x.Before, x.After = frame(ref.first), frame(o.first)
	if x.Before == nil && slot.truth {
		e := &p.window.events[slot.event]
		x.Before = frame(&arrival{at: e.at, key: e.key, size: e.size, body: e.body})
		x.Note = "as published: the reference was not seen to deliver it"
	}
	p.target.exhibits.kept = append(p.target.exhibits.kept, x)
}

func frame(x *arrival) *Frame {
	if x == nil {
		return nil
	}
	return &Frame{
		At: time.Unix(0, x.at).UTC(), Bytes: x.size, Digest: fmt.Sprintf("%016x", x.key), Shape: shape(x.body),
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
