package shadow

import (
	"cmp"
	"slices"
	"strings"

	"github.com/offramp/offramp/proxy"
)

// frameEvent begins the names of the cells of frames: which frame follows. The
// pattern of such a cell is the client library that the frames were for.
const frameEvent = "pusher:frame "

// Framed reports whether a cell is about how frames are built, and of which.
func Framed(k Key) (frame string, ok bool) { return strings.CutPrefix(k.Event, frameEvent) }

// maxLibraries bounds the client libraries, each with its version, that are
// told apart per app; the rest is "other".
const maxLibraries = 100

// libraryOf names a client by its library and version.
func libraryOf(c *proxy.Client) string {
	if c == nil || c.Library == "" {
		return other
	}
	return strings.TrimSpace(c.Library + " " + c.Version)
}

// framed counts how a sampled frame is built. Frames of one kind do not belong
// to each other, so the legs are compared by all that each ever showed.
func (s *state) framed(a *appState, r *proxy.Record, at int64) {
	key := Key{Type: "*", Pattern: a.libraries.text(a.libraries.number(libraryOf(r.Client))), Event: frameEvent + r.Action}
	if r.Topic.Channel != "" {
		key.Type = typeOf(r.Topic.Channel)
	}
	if a.frames.number(key.Type+"\x00"+r.Action) == 0 {
		key.Type, key.Event = "*", frameEvent+other
	}
	sec := at / int64(1e9)
	e := s.ledger.entry(cellKey{
		Pair: pairKey{App: a.id, Reference: proxy.LegVendor, Candidate: proxy.LegEngine}, Key: key, Start: sec - sec%hour, Span: hour,
	})
	countNamed(&e.counts.Structures, string(r.Leg)+between+r.Text, 1)
	s.frameExhibit(a, r, key, at)
}

// Structure is how frames are built: keys and types, and how many frames of
// each leg are built so.
type Structure struct {
	Text                 string
	Reference, Candidate int64
}

// SplitStructures returns the counts of a cell of frames by structure, in
// order of their texts. differ reports whether both legs showed such frames,
// and one of them a structure that the other one never did: each leg has its
// own ways to say the same, and a client library may stumble over the new one.
func (c *Counts) SplitStructures() (all []Structure, differ bool) {
	byText := make(map[string]*Structure)
	var reference, candidate int64
	for both, n := range c.Structures {
		leg, text, ok := strings.Cut(both, between)
		if !ok {
			return nil, false // there were too many to tell apart
		}
		x := byText[text]
		if x == nil {
			x = &Structure{Text: text}
			byText[text] = x
		}
		if proxy.Leg(leg) == proxy.LegVendor {
			x.Reference += n
			reference += n
		} else {
			x.Candidate += n
			candidate += n
		}
	}
	for _, x := range byText {
		all = append(all, *x)
		differ = differ || x.Reference == 0 || x.Candidate == 0
	}
	slices.SortFunc(all, func(a, b Structure) int { return cmp.Compare(a.Text, b.Text) })
	return all, differ && reference > 0 && candidate > 0
}
