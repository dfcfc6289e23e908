package host

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	// maxShown bounds what an overlap remembers of the old process. What does
	// not fit is shown twice rather than not at all.
	maxShown = 1 << 16
	// overlapSlack is how long after the new process has taken over events may
	// arrive at it that the old one has shown.
	overlapSlack = 2 * time.Second
)

// overlap joins what two processes of a link observe on the same channels at
// the same time into one: what the old process shows goes on, what the new one
// shows is kept until the old one shows it, too; and when the new one takes
// over, what is left is what the old one has not come to. It counts, so that
// two equal events remain two.
type overlap struct {
	complete chan struct{} // closed when all that was expected is observed, or something is refused
	refused  error         // not to be read before complete

	// Guarded by the link's showing.
	expected map[protocol.ChannelName]bool // observed by the old process, and not yet by the new one
	states   map[protocol.ChannelName]plugins.ChannelState
	gaps     []plugins.ChannelState
	shown    map[mark]int           // by the old process, and not yet by the new one
	ahead    map[mark]int           // by the new one, and not yet by the old one
	crossed  map[mark]int           // in early, and by now shown by the old one
	early    []translators.Envelope // of the new one, in order
	until    time.Time              // when shown may be forgotten; zero: the old one still serves
	seed     maphash.Seed
	// own is the origin of what the backend does not show to the session that
	// published it, but does to the other one; empty: there is no such thing.
	own string
}

// mark tells an event from others: by its id, or by what it is where a backend
// does not carry ids.
type mark struct {
	id      proxy.EventID
	channel protocol.ChannelName
	content uint64
}

func newOverlap() *overlap {
	return &overlap{
		complete: make(chan struct{}), seed: maphash.MakeSeed(),
		states: map[protocol.ChannelName]plugins.ChannelState{},
		shown:  map[mark]int{}, ahead: map[mark]int{}, crossed: map[mark]int{},
	}
}

func (o *overlap) mark(e translators.Envelope) mark {
	if !e.ID.IsZero() {
		return mark{id: e.ID, channel: e.Channel}
	}
	var h maphash.Hash
	h.SetSeed(o.seed)
	for _, part := range []string{e.Event, e.UserID, string(e.Data)} {
		maphash.WriteComparable(&h, len(part))
		_, _ = h.WriteString(part)
	}
	return mark{channel: e.Channel, content: h.Sum64()}
}

// expect says which channels the new process must observe before it can take
// over. It is called once.
func (o *overlap) expect(channels []protocol.ChannelName) {
	o.expected = map[protocol.ChannelName]bool{}
	for _, name := range channels {
		o.expected[name] = true
	}
	if len(channels) == 0 {
		close(o.complete)
	}
}

// settled notes a state of a channel on the new process.
func (o *overlap) settled(s plugins.ChannelState) {
	if s.State == translators.StateGap {
		o.gaps = append(o.gaps, s)
		return
	}
	o.states[s.Channel] = s
	if !o.expected[s.Channel] {
		return
	}
	switch s.State {
	case translators.StateAttached:
		delete(o.expected, s.Channel)
	case translators.StateError:
		o.refused = fmt.Errorf("it cannot observe channel %s, which the one that runs does: %s", s.Channel, s.Detail)
		o.expected = nil
	default:
		return
	}
	if len(o.expected) == 0 {
		close(o.complete)
	}
}

// observes reports whether the new process observes a channel.
func (o *overlap) observes(name protocol.ChannelName) bool {
	s, known := o.states[name]
	return known && s.State == translators.StateAttached
}

// older takes what the old process shows. It returns what is to be told of it,
// and how much room that made in what is kept of the new one.
func (o *overlap) older(in plugins.Inbound) (plugins.Inbound, int) {
	if !o.until.IsZero() {
		return plugins.Inbound{}, 0
	}
	for _, e := range in.Items {
		switch m := o.mark(e); {
		case o.ahead[m] > 0:
			take(o.ahead, m)
			o.crossed[m]++
		case len(o.shown) < maxShown && (!m.id.IsZero() || o.observes(e.Channel)):
			o.shown[m]++
		}
	}
	return in, o.trim()
}

// younger takes what the new process shows. It returns what is to be told of
// it, and the credit to grant.
func (o *overlap) younger(in plugins.Inbound, now time.Time) (plugins.Inbound, int) {
	credit := len(in.Items)
	if o.own != "" {
		in.Items = slices.DeleteFunc(in.Items, func(e translators.Envelope) bool { return e.Origin == o.own })
	}
	if o.until.IsZero() {
		for _, s := range in.States {
			o.settled(s)
		}
		kept := 0
		for _, e := range in.Items {
			m := o.mark(e)
			if take(o.shown, m) {
				continue
			}
			kept++
			o.ahead[m]++
			o.early = append(o.early, e)
		}
		return plugins.Inbound{}, credit - kept + o.trim()
	}
	if now.After(o.until) {
		o.shown = nil
	}
	if len(o.shown) > 0 {
		in.Items = slices.DeleteFunc(in.Items, func(e translators.Envelope) bool { return take(o.shown, o.mark(e)) })
	}
	return in, credit
}

// take takes one off a count, if there is one.
func take(counts map[mark]int, m mark) bool {
	n := counts[m]
	switch n {
	case 0:
		return false
	case 1:
		delete(counts, m)
	default:
		counts[m] = n - 1
	}
	return true
}

// trim forgets what the old process has shown of what was kept first, and
// returns how many.
func (o *overlap) trim() int {
	n := 0
	for n < len(o.early) && take(o.crossed, o.mark(o.early[n])) {
		n++
	}
	o.early = o.early[n:]
	return n
}

// cut is when the new process takes over. It returns what of its own is to be
// told now.
func (o *overlap) cut(now time.Time) ([]translators.Envelope, []plugins.ChannelState) {
	o.until = now.Add(overlapSlack)
	items := slices.DeleteFunc(o.early, func(e translators.Envelope) bool { return take(o.crossed, o.mark(e)) })
	o.early, o.ahead, o.crossed = nil, nil, nil
	states := o.gaps
	for _, s := range o.states {
		states = append(states, s)
	}
	o.gaps = nil
	return items, states
}
