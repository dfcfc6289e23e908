package shadow

import (
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// presenceEvent and its like name the cells of what is no application event.
// No application event can have a name that begins so.
const presenceEvent = "pusher:presence"

// Presence is how the member sets of presence channels compare over time. A
// and B being the reference's and the candidate's members of one channel, the
// divergence at a moment is |A△B| / |A∪B|.
type Presence struct {
	Seconds    float64 // observed, summed over channels with members
	Divergence float64 // integral of the divergence over those seconds
	Episodes   int64   // stretches of divergence longer than Config.Grace
	Longest    float64 // seconds of the longest one

	// Users who differed for longer than Config.Grace, by how it began.
	Ghosts       int64 // on the candidate only, and never on the reference
	MissedJoins  int64 // joined the reference only
	MissedLeaves int64 // left the reference only
	EarlyLeaves  int64 // left the candidate only

	Unknown int64 // channels whose comparison was given up because of a gap
}

// Add adds other's figures to p.
func (p *Presence) Add(o Presence) {
	p.Seconds += o.Seconds
	p.Divergence += o.Divergence
	p.Episodes += o.Episodes
	p.Longest = max(p.Longest, o.Longest)
	p.Ghosts += o.Ghosts
	p.MissedJoins += o.MissedJoins
	p.MissedLeaves += o.MissedLeaves
	p.EarlyLeaves += o.EarlyLeaves
	p.Unknown += o.Unknown
}

// maxMembers bounds the members followed per channel and leg; beyond it the
// channel's presence is unknown.
const maxMembers = 10_000

// members is one leg's member set on one channel.
type members struct {
	users   map[string]bool
	sockets map[string]int // vendor only: relayed subscriptions by user
	known   bool           // seen from empty on
}

// differing is one candidate's divergence from the reference on a channel.
type differing struct {
	since int64 // integrated up to here
	began int64 // of the divergence now; 0: none
	told  bool  // the episode was counted
	users map[string]*difference
}

// memberChange is that a user came or went on a leg.
type memberChange struct {
	at     int64
	leg    int
	user   string
	joined bool
}

// maxMemberChanges is how many changes a channel remembers, for exhibits.
const maxMemberChanges = 16

// difference is one user who is on one of the two legs only.
type difference struct {
	began int64
	told  bool
	kind  differenceKind
}

// differenceKind is how a difference began: by which leg's doing, and whether
// the user came or went there.
type differenceKind struct{ byReference, joined bool }

func (k differenceKind) of(p *Presence) *int64 {
	switch {
	case k.byReference && k.joined:
		return &p.MissedJoins
	case k.byReference:
		return &p.MissedLeaves
	case k.joined:
		return &p.Ghosts
	default:
		return &p.EarlyLeaves
	}
}

// words say how it began.
func (k differenceKind) words() string {
	switch {
	case k.byReference && k.joined:
		return "join missed"
	case k.byReference:
		return "leave missed"
	case k.joined:
		return "ghost: on the candidate only"
	default:
		return "left too early"
	}
}

// member notes what a leg told of its members. What relayed clients are told
// by the vendor is left out: it holds members who come to the vendor on other
// ways, whom no candidate can know.
func (s *state) member(a *appState, w *window, r *proxy.Record, at int64) {
	if i := w.leg(r.Leg); i != none && r.UserID != "" && r.Leg != proxy.LegVendor {
		s.memberChanged(a, w, i, r.UserID, r.Kind == proxy.KindMemberAdded, at)
	}
}

// relayedMember notes that the vendor subscribed a relayed client, or that it
// left. The client's user is a member while one of its sockets is there.
func (s *state) relayedMember(a *appState, w *window, i int, user string, joined bool, at int64) {
	m := &w.legs[i].members
	if user == "" || !w.hasMembers() {
		return
	}
	if m.sockets == nil {
		m.sockets = make(map[string]int)
	}
	before := m.sockets[user]
	switch {
	case joined && (before > 0 || len(m.sockets) <= maxMembers):
		m.sockets[user]++
	case !joined && before > 1:
		m.sockets[user]--
	default:
		delete(m.sockets, user)
	}
	if first, last := joined && before == 0, !joined && before == 1; first || last {
		s.memberChanged(a, w, i, user, joined, at)
		t := telling{kind: proxy.WebhookMemberAdded, channel: w.topic, user: user}
		if last {
			t = t.opposite()
		}
		a.hooks.caused(t, at)
	}
}

func (s *state) memberChanged(a *appState, w *window, i int, user string, joined bool, at int64) {
	l := &w.legs[i]
	a.hears(l.name).members = true
	s.integratePresence(a, w, at)
	if l.members.users == nil {
		l.members.users, l.members.known = make(map[string]bool), true
	}
	switch {
	case joined && len(l.members.users) < maxMembers:
		l.members.users[user] = true
	case joined:
		l.members.known = false
	default:
		delete(l.members.users, user)
	}
	if len(w.changes) == maxMemberChanges {
		w.changes = append(w.changes[:0], w.changes[1:]...)
	}
	w.changes = append(w.changes, memberChange{at, i, user, joined})
	for c := 1; c < len(w.legs); c++ {
		if (i == 0 || i == c) && s.presenceKnown(a, w, c) {
			w.compareUser(c, user, i == 0, joined, at)
		}
	}
}

// presenceKnown reports whether both legs' members can be compared.
func (s *state) presenceKnown(a *appState, w *window, candidate int) bool {
	ref, cand := &w.legs[0], &w.legs[candidate]
	return a.hears(ref.name).members && a.hears(cand.name).members && !ref.members.lost() && !cand.members.lost()
}

// lost reports whether the set has members that are not known.
func (m *members) lost() bool { return m.users != nil && !m.known }

// compareUser opens or ends a user's difference after a change on one leg.
func (w *window) compareUser(candidate int, user string, onReference, joined bool, at int64) {
	d := &w.legs[candidate].differing
	if d.users == nil {
		d.users = make(map[string]*difference)
	}
	if w.legs[0].members.users[user] == w.legs[candidate].members.users[user] {
		delete(d.users, user)
		return
	}
	if d.users[user] != nil {
		return
	}
	d.users[user] = &difference{began: at, kind: differenceKind{byReference: onReference, joined: joined}}
}

// integratePresence brings the figures of a channel up to a time.
func (s *state) integratePresence(a *appState, w *window, now int64) {
	if w.hasMembers() {
		for c := 1; c < len(w.legs); c++ {
			if s.presenceKnown(a, w, c) {
				s.integrateLeg(a, w, c, now)
			}
		}
	}
}

func (w *window) hasMembers() bool { return strings.HasPrefix(w.typ, "presence") }

func (s *state) integrateLeg(a *appState, w *window, candidate int, now int64) {
	d := &w.legs[candidate].differing
	from := d.since
	if now <= from {
		return // records of two legs may come a little out of order
	}
	d.since = now
	union := len(w.legs[0].members.users)
	for user := range w.legs[candidate].members.users {
		if !w.legs[0].members.users[user] {
			union++
		}
	}
	if union == 0 || from == 0 {
		d.began, d.told = 0, false
		return
	}
	pair := pairKey{App: a.id, Reference: w.legs[0].name, Candidate: w.legs[candidate].name}
	e, _ := s.ledger.entries(pair, Key{Type: w.typ, Pattern: w.pattern, Event: presenceEvent}, now)
	p, seconds := &e.counts.Presence, float64(now-from)/float64(time.Second)
	p.Seconds += seconds
	p.Divergence += seconds * float64(len(d.users)) / float64(union)
	grace := int64(s.config.Grace)
	for user, x := range d.users {
		if !x.told && now-x.began > grace {
			x.told = true
			*x.kind.of(p)++
			s.presenceExhibit(a, w, candidate, user, x, now)
		}
	}
	d.episode(p, now, grace)
}

// episode follows the stretch of divergence that goes on, if one does.
func (d *differing) episode(p *Presence, now, grace int64) {
	if len(d.users) == 0 {
		d.began, d.told = 0, false
		return
	}
	if d.began == 0 {
		d.began = now
		for _, x := range d.users {
			d.began = min(d.began, x.began)
		}
	}
	length := now - d.began
	if length <= grace {
		return
	}
	if !d.told {
		d.told = true
		p.Episodes++
	}
	p.Longest = max(p.Longest, float64(length)/float64(time.Second))
}

// losePresence gives up a leg's members on a channel after a gap: who came
// and went in it is not known. They are known again once nobody is left.
func (s *state) losePresence(a *appState, w *window, leg int) {
	if !w.hasMembers() {
		return
	}
	for c := 1; c < len(w.legs); c++ {
		if (leg == 0 || leg == c) && s.presenceKnown(a, w, c) && w.legs[c].differing.since != 0 {
			pair := pairKey{App: a.id, Reference: w.legs[0].name, Candidate: w.legs[c].name}
			e, _ := s.ledger.entries(pair, Key{Type: w.typ, Pattern: w.pattern, Event: presenceEvent}, w.legs[c].differing.since)
			e.counts.Presence.Unknown++
			w.legs[c].differing = differing{}
		}
	}
	if m := &w.legs[leg].members; m.users != nil {
		m.known = false
	}
}

// emptied notes that a leg has no subscriber left on a channel, and so no
// member.
func (l *leg) emptied() {
	if l.members.lost() {
		l.members = members{}
		l.differing = differing{}
	}
}
