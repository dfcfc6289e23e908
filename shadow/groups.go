package shadow

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// groupEvent begins the names of the cells that break a pair down: by what
// follows.
const groupEvent = "pusher:by "

// The breakdowns: by who published (HTTP API key and User-Agent, or a
// client's library), and, while clients are relayed, by the library of the
// client that an event was for.
const (
	ByPublisher = "publisher"
	ByLibrary   = "client library"
)

// GroupedBy reports whether a cell is a breakdown, and by what.
func GroupedBy(k Key) (dimension string, ok bool) { return strings.CutPrefix(k.Event, groupEvent) }

// Group is what became of the events of one publisher, or of the deliveries to
// the clients of one library.
type Group struct {
	Events, Missing, Duplicate, Reordered, PayloadDiffers int64
	// Error is by how much Events may be too high: the group was counted anew
	// after others had pushed it out, or for the first time after a smaller one
	// had to go. Its faults are those since, and so a lower bound.
	Error int64
}

func (g *Group) add(o *Group) {
	g.Events += o.Events
	g.Missing += o.Missing
	g.Duplicate += o.Duplicate
	g.Reordered += o.Reordered
	g.PayloadDiffers += o.PayloadDiffers
	g.Error += o.Error
}

// maxGroups is how many groups a cell tells apart.
const maxGroups = 64

// Groups are the largest groups, by name: a Space-Saving summary (Metwally,
// Agrawal, El Abbadi 2005). Every group with more than 1/64 of all events is in
// it, and no group's Events are too low.
type Groups map[string]*Group

// of returns a group to be counted in; for that the smallest one may have to
// go.
func (g Groups) of(name string) *Group {
	if x := g[name]; x != nil {
		return x
	}
	x := new(Group)
	if len(g) >= maxGroups {
		least := g.least()
		x.Events, x.Error = g[least].Events, g[least].Events
		delete(g, least)
	}
	g[name] = x
	return x
}

// least returns the name of the smallest group.
func (g Groups) least() string {
	var least string
	for name, x := range g {
		if least == "" || cmp.Or(cmp.Compare(x.Events, g[least].Events), cmp.Compare(name, least)) < 0 {
			least = name
		}
	}
	return least
}

// floor is how many events a group may have had that is not in the summary.
func (g Groups) floor() int64 {
	if len(g) < maxGroups {
		return 0
	}
	return g[g.least()].Events
}

// merge adds another summary (Agarwal et al. 2012, mergeable summaries): what
// only one of them has may have been the other's smallest.
func (g *Groups) merge(o Groups) {
	if len(o) == 0 {
		return
	}
	mine, others := g.floor(), o.floor()
	all := make(Groups, len(*g)+len(o))
	for name, x := range *g {
		sum := *x
		if y := o[name]; y != nil {
			sum.add(y)
		} else {
			sum.Events, sum.Error = sum.Events+others, sum.Error+others
		}
		all[name] = &sum
	}
	for name, y := range o {
		if all[name] == nil {
			sum := *y
			sum.Events, sum.Error = sum.Events+mine, sum.Error+mine
			all[name] = &sum
		}
	}
	for len(all) > maxGroups {
		delete(all, all.least())
	}
	*g = all
}

func (g Groups) clone() Groups {
	if g == nil {
		return nil
	}
	out := maps.Clone(g)
	for name, x := range out {
		same := *x
		out[name] = &same
	}
	return out
}

// NamedGroup is a group with its name.
type NamedGroup struct {
	Name string
	Group
}

// Largest returns the groups, the largest first.
func (g Groups) Largest() []NamedGroup {
	out := make([]NamedGroup, 0, len(g))
	for name, x := range g {
		out = append(out, NamedGroup{name, *x})
	}
	slices.SortFunc(out, func(a, b NamedGroup) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// maxSources bounds the publishers and libraries whose names are kept; events
// of further ones are "other".
const maxSources = 4096

// maxSockets bounds the relayed clients whose library is remembered.
const maxSockets = 1 << 17

// connected remembers a relayed client's library.
func (a *appState) connected(r *proxy.Record) {
	switch {
	case r.Leg != proxy.LegVendor:
	case r.Kind == proxy.KindDisconnected:
		delete(a.sockets, r.Socket)
	case len(a.sockets) < maxSockets:
		a.sockets[r.Socket] = a.sources.number(libraryOf(r.Client))
	}
}

// publisherOf names who published an event.
func (a *appState) publisherOf(ev *proxy.Event) uint32 {
	switch {
	case ev.Publisher == proxy.ByClient && ev.Socket != "":
		if library := a.sockets[ev.Socket]; library != 0 {
			return a.sources.number("client " + a.sources.text(library))
		}
		return a.sources.number("client")
	case ev.By != "":
		return a.sources.number(ev.By)
	default:
		return 0
	}
}

// group returns where an event is counted in a breakdown.
func (p *sweeper) group(leg int, dimension string, source uint32, at int64) *Group {
	start := at / int64(time.Hour)
	for i := range p.groups {
		if g := &p.groups[i]; g.leg == leg && g.dimension == dimension && g.source == source && g.start == start {
			return g.counts
		}
	}
	e := p.target.ledger.entry(cellKey{
		Pair: p.pair(leg), Key: Key{Type: "*", Pattern: "*", Event: groupEvent + dimension}, Start: start * hour, Span: hour,
	})
	if e.counts.Groups == nil {
		e.counts.Groups = make(Groups)
	}
	g := groupCache{leg, dimension, source, start, e.counts.Groups.of(p.app.sources.text(source))}
	if len(p.groups) == cap(p.groups) || len(e.counts.Groups) == maxGroups {
		p.groups = p.groups[:0] // one of them may have been let go
	}
	p.groups = append(p.groups, g)
	return g.counts
}

// groupCache saves looking a group up for every event.
type groupCache struct {
	leg       int
	dimension string
	source    uint32
	start     int64
	counts    *Group
}

// countLibraries breaks the deliveries to relayed clients down by library:
// what the reference gave a client, and its double was given.
func (p *sweeper) countLibraries(cut, leg int) {
	if p.window.kind(leg) != kindSockets {
		return
	}
	for i := range p.views {
		double := &p.views[i]
		if double.leg != leg || double.view.socket == "" {
			continue
		}
		if own := p.viewOf(0, double.view.socket); own != nil {
			p.countLibrary(cut, own, double)
		}
	}
}

func (p *sweeper) viewOf(leg int, socket protocol.SocketID) *viewPass {
	for i := range p.views {
		if v := &p.views[i]; v.leg == leg && v.view.socket == socket {
			return v
		}
	}
	return nil
}

func (p *sweeper) countLibrary(cut int, own, double *viewPass) {
	source := p.app.sockets[double.view.socket]
	for s := range p.slots[:cut] {
		slot := &p.slots[s]
		if own.first[s] == none || p.outcome(s, double.leg).state == stateUnknown {
			continue
		}
		a := double.first[s]
		if a == none && p.expected(double.view, s) != stateMissing {
			continue
		}
		g := p.group(double.leg, ByLibrary, source, slot.at)
		g.Events++
		g.Duplicate += int64(double.again[s])
		switch {
		case a == none:
			g.Missing++
		case differs(slot, &double.view.arrivals[a]):
			g.PayloadDiffers++
		}
	}
}
