package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/offramp/offramp/shadow"
)

// exhibits takes over those that still show something.
func (r *Report) exhibits(in []shadow.Exhibit) []Exhibit {
	out := make([]Exhibit, 0, len(in))
	for _, x := range in {
		if x.Finding == findingStructures && !r.stillDiffers(&x) {
			continue
		}
		out = append(out, Exhibit{
			ID: fmt.Sprintf("x%d", len(out)+1), Finding: x.Finding, Reference: string(x.Reference), Candidate: string(x.Candidate),
			Channel: x.Channel, Pattern: x.Pattern, Event: x.Event, EventID: x.ID, At: x.At,
			Before: frame(x.Before), After: frame(x.After), Note: x.Note, Frames: steps(x.Steps),
		})
	}
	return out
}

func steps(in []shadow.Step) []Step {
	out := make([]Step, 0, len(in))
	for _, s := range in {
		out = append(out, Step{
			Leg: string(s.Leg), Kind: s.Kind, Event: s.Event, EventID: s.ID, User: s.User, Text: s.Text, Subject: s.Subject, Frame: *frame(&s.Frame),
		})
	}
	return out
}

// Name says which file the report is in, for the commands that its exhibits
// show.
func (r *Report) Name(file string) {
	if strings.ContainsAny(file, " \t'\"$&|;<>()*?[]#~`\\") {
		file = "'" + strings.ReplaceAll(file, "'", `'\''`) + "'"
	}
	for i := range r.Exhibits {
		x := &r.Exhibits[i]
		x.Replay = "offramp replay " + file + " --exhibit " + x.ID
	}
}

func frame(f *shadow.Frame) *Frame {
	if f == nil {
		return nil
	}
	return &Frame{At: f.At, Bytes: f.Bytes, Digest: f.Digest, Shape: f.Shape}
}

// stillDiffers reports whether a frame that was built as the other side had
// never built one is still alone in that: the other side may have done so since.
func (r *Report) stillDiffers(x *shadow.Exhibit) bool {
	subject := slices.IndexFunc(x.Steps, func(s shadow.Step) bool { return s.Subject })
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if subject < 0 || p.Reference != string(x.Reference) || p.Candidate != string(x.Candidate) {
			continue
		}
		for k := range p.Structures {
			s := &p.Structures[k]
			if s.Differs && s.Library == x.Pattern && s.Frame == x.Event && s.oneSided(x.Steps[subject].Text) {
				return true
			}
		}
	}
	return false
}

// oneSided reports whether only one side shows a structure.
func (s *Structures) oneSided(text string) bool {
	return slices.ContainsFunc(s.Built, func(b Structure) bool { return b.Text == text && (b.Reference == 0) != (b.Candidate == 0) })
}

// Shows reports whether evidence shows the exhibit's finding.
func (x *Exhibit) Shows(ev shadow.Evidence) bool {
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			if x.shows(&p.Cells[i].Counts) {
				return true
			}
		}
	}
	return false
}

func (x *Exhibit) shows(n *shadow.Counts) bool {
	switch x.Finding {
	case "missing":
		return n.Missing > 0
	case "duplicate":
		return n.Duplicate > 0
	case "reordered":
		return n.Reordered > 0
	case "payload_differs":
		return n.PayloadDiffers > 0
	case "extra":
		return n.Extra > 0
	case "rejected":
		return len(n.Rejected) > 0
	case findingPresence:
		p := &n.Presence
		return p.Ghosts+p.MissedJoins+p.MissedLeaves+p.EarlyLeaves > 0
	case findingDecisions:
		return slices.ContainsFunc(buildDecisions(shadow.Key{}, "", n.Decisions), func(d Decision) bool { return d.differs() })
	case findingWebhooks:
		return n.Webhooks.Missing+n.Webhooks.Extra > 0
	case findingStructures:
		_, differs := n.SplitStructures()
		return differs
	default:
		return false
	}
}

// Words say what happened in a step that is no event.
func (s *Step) Words() string {
	switch s.Kind {
	case shadow.StepMember:
		return "user " + s.User + " is a member"
	case shadow.StepJoined:
		return "user " + s.User + " joins"
	case shadow.StepLeft:
		return "user " + s.User + " leaves"
	case shadow.StepLasted:
		return "user " + s.User + " still differs"
	case shadow.StepDecided:
		return s.Event + ": " + s.Text
	case shadow.StepRelayed:
		return strings.TrimSpace("a relayed client causes " + s.Text + " " + s.User)
	case shadow.StepTold:
		return strings.TrimSpace("webhook " + s.Text + " " + s.User)
	case shadow.StepFrame:
		return s.Event + ", built " + s.Text
	default:
		return ""
	}
}
