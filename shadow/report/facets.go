package report

import (
	"cmp"
	"slices"

	"github.com/offramp/offramp/shadow"
)

// Webhooks is how the webhooks of one type agree.
type Webhooks struct {
	Hook     string  `json:"webhook"`
	Type     string  `json:"type"`
	Pattern  string  `json:"pattern"`
	Matched  int64   `json:"matched"` // told by both
	Missing  int64   `json:"missing"` // told by the reference only
	Extra    int64   `json:"extra"`   // told by the candidate only
	Flaps    int64   `json:"flaps"`   // a departure and the return at once, told by one leg only
	Unknown  int64   `json:"unknown"` // what nobody relayed may have caused, or what is not heard
	MeanS    float64 `json:"mean_s"`  // by how much later the candidate told
	LongestS float64 `json:"longest_s"`
	// Accepted are those told by one side only that ignore rules excuse.
	Accepted int64 `json:"accepted,omitempty"`
	// Clusters are the sums behind the design effect: minutes, and hours once
	// they are older.
	Clusters shadow.Clusters `json:"clusters"`
}

func buildWebhooks(key shadow.Key, hook string, s *sums) Webhooks {
	h := &s.counts.Webhooks
	out := Webhooks{
		Hook: hook, Type: key.Type, Pattern: key.Pattern, Matched: h.Matched, Missing: h.Missing, Extra: h.Extra, Flaps: h.Flaps,
		Unknown: h.Unknown, LongestS: h.LongestDelay, Clusters: s.hooks,
	}
	if h.Matched > 0 {
		out.MeanS = h.Delay / float64(h.Matched)
	}
	return out
}

func webhooksFirst(a, b Webhooks) int {
	return cmp.Or(cmp.Compare(b.Missing+b.Extra, a.Missing+a.Extra), cmp.Compare(b.Matched, a.Matched), cmp.Compare(a.Hook, b.Hook),
		cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Type, b.Type))
}

// Structures are the ways in which a kind of frame is built for the clients of
// one library.
type Structures struct {
	Library  string      `json:"library"`
	Type     string      `json:"type"` // of the channel; * for frames without one
	Frame    string      `json:"frame"`
	Differs  bool        `json:"differs"`            // one leg shows a structure that the other one never does
	Accepted bool        `json:"accepted,omitempty"` // an ignore rule excuses that
	Built    []Structure `json:"built"`
}

// Structure is one way to build a frame, and how many frames are built so.
type Structure struct {
	Text      string `json:"structure"` // keys and types
	Reference int64  `json:"ref"`
	Candidate int64  `json:"cand"`
}

func buildStructures(key shadow.Key, frame string, c *shadow.Counts) Structures {
	all, differs := c.SplitStructures()
	out := Structures{Library: key.Pattern, Type: key.Type, Frame: frame, Differs: differs, Built: make([]Structure, len(all))}
	for i, s := range all {
		out.Built[i] = Structure{Text: s.Text, Reference: s.Reference, Candidate: s.Candidate}
	}
	return out
}

func structuresFirst(a, b Structures) int {
	order := func(s Structures) int {
		if s.Differs {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Library, b.Library), cmp.Compare(a.Frame, b.Frame), cmp.Compare(a.Type, b.Type))
}

// Group is what became of the events of one publisher, or of the deliveries to
// the clients of one library.
type Group struct {
	Name           string `json:"name"`
	Events         int64  `json:"events"`
	Error          int64  `json:"error"` // by how much Events may be too high; the faults are at least those shown
	Missing        int64  `json:"missing"`
	Duplicate      int64  `json:"duplicate"`
	Reordered      int64  `json:"reordered"`
	PayloadDiffers int64  `json:"payload_differs"`
}

func buildGroups(in shadow.Groups) []Group {
	out := []Group{}
	for _, g := range in.Largest() {
		out = append(out, Group{
			Name: g.Name, Events: g.Events, Error: g.Error, Missing: g.Missing, Duplicate: g.Duplicate, Reordered: g.Reordered,
			PayloadDiffers: g.PayloadDiffers,
		})
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		faults := func(g Group) int64 { return g.Missing + g.Duplicate + g.Reordered + g.PayloadDiffers }
		return cmp.Compare(faults(b), faults(a))
	})
	return out
}

// facet puts what a cell counts beside events where it belongs, and reports
// whether it does.
func (p *Pair) facet(key shadow.Key, s *sums) bool {
	c := &s.counts
	if shadow.IsPresence(key) {
		p.Presence = append(p.Presence, buildPresence(key, &c.Presence))
		return true
	}
	if action, ok := shadow.Decided(key); ok {
		p.Decisions = append(p.Decisions, buildDecisions(key, action, c.Decisions)...)
		return true
	}
	if hook, ok := shadow.Webhooked(key); ok {
		p.Webhooks = append(p.Webhooks, buildWebhooks(key, string(hook), s))
		return true
	}
	if frame, ok := shadow.Framed(key); ok {
		p.Structures = append(p.Structures, buildStructures(key, frame, c))
		return true
	}
	switch by, _ := shadow.GroupedBy(key); by {
	case shadow.ByPublisher:
		p.Publishers = buildGroups(c.Groups)
		return true
	case shadow.ByLibrary:
		p.Libraries = buildGroups(c.Groups)
		return true
	}
	return false
}
