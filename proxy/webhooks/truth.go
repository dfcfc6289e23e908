package webhooks

import (
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// leaveDelay is how long a channel must stay empty, or a member away,
	// before receivers are told (vendor documentation: webhook delays).
	leaveDelay = 3 * time.Second
	// missWindow merges the cache misses of one channel into the first.
	missWindow = time.Second
)

// subject is what receivers believe something of: that a channel is occupied,
// or that a user is on a presence channel.
type subject struct {
	topic  proxy.Topic
	member bool
	userID string // of a member
}

// key returns the subject's key on disk. Neither an app id nor a channel name
// contains a zero byte; a user id, which comes last, may.
func (s subject) key() []byte {
	k := s.topic.App + "\x00" + string(s.topic.Channel)
	if s.member {
		k += "\x00" + s.userID
	}
	return []byte(k)
}

func subjectOf(key []byte) (subject, bool) {
	app, rest, ok := strings.Cut(string(key), "\x00")
	if !ok {
		return subject{}, false
	}
	channel, user, member := strings.Cut(rest, "\x00")
	return subject{proxy.Topic{App: app, Channel: protocol.ChannelName(channel)}, member, user}, true
}

// gone returns the type of the event that ends what receivers believe.
func (s subject) gone() proxy.WebhookType {
	if s.member {
		return proxy.WebhookMemberRemoved
	}
	return proxy.WebhookChannelVacated
}

// came returns the type of the event that tells of its arrival.
func (s subject) came() proxy.WebhookType {
	if s.member {
		return proxy.WebhookMemberAdded
	}
	return proxy.WebhookChannelOccupied
}

// kind returns the kind of record that reports its arrival.
func (s subject) kind() proxy.Kind {
	if s.member {
		return proxy.KindMemberAdded
	}
	return proxy.KindOccupied
}

// legs is a set of the sides of an app. A subject is there as long as it is on
// one of them.
type legs uint8

const (
	onEngine legs = 1 << iota
	onVendor      // by the word of the upstream's own webhooks
)

// legOf returns the side that a record tells of.
func legOf(r proxy.Record) legs {
	if r.Leg == proxy.LegVendor {
		return onVendor
	}
	return onEngine
}

// standing is what receivers believe of a subject: that it is there. on says
// on which legs it really is, saved what the disk has of that.
type standing struct {
	on, saved legs
	due       time.Time // when receivers are told that it has left; zero while it is there
}

// truth is what receivers have been told of channels and members, and what
// they will have to be told when a delay ends. It belongs to one goroutine.
type truth struct {
	// shared: other nodes tell of the same subjects. Then told has departures
	// only, as an arrival here may be followed by a departure elsewhere.
	shared bool
	told   map[subject]standing // every subject that receivers believe to be there
	// leaving has the departures in the order of their times. One whose time
	// differs from told's was overtaken by a return.
	leaving []departure
	alone   map[subject]bool          // departures that no other node knows of
	missed  map[proxy.Topic]time.Time // when the latest cache miss was told
	swept   time.Time                 // when missed was last cleared of old entries
	vendor  vendorNews
}

type departure struct {
	subject subject
	due     time.Time
}

func newTruth(shared bool) *truth {
	return &truth{
		shared: shared, told: map[subject]standing{}, alone: map[subject]bool{}, missed: map[proxy.Topic]time.Time{}, vendor: newVendorNews(),
	}
}

// arrive notes that a subject is on a leg, and reports whether that it is
// there is news.
func (t *truth) arrive(s subject, leg legs) (news bool) {
	st, known := t.told[s]
	if t.shared {
		delete(t.told, s)
		return !known
	}
	t.told[s] = standing{on: st.on | leg, saved: st.saved}
	return !known
}

// depart notes that a subject left a leg. If it was the last one, that becomes
// news at due unless the subject returns, and depart reports true.
func (t *truth) depart(s subject, leg legs, due time.Time) (leaving bool) {
	st, known := t.told[s]
	switch {
	case t.shared: // another node may have seen it return
	case known && st.on&^leg != 0:
		st.on &^= leg
		t.told[s] = st
		return false
	case known && st.on == 0, !known && t.vendor.ended(s):
		return false // it had left already
	}
	t.told[s] = standing{saved: st.saved, due: due}
	t.leaving = append(t.leaving, departure{s, due})
	return true
}

// unsaved returns what the disk is to have of a subject that receivers believe
// to be there, if it has something else. One that is leaving is kept as if it
// was on the engine, whose sockets are gone after a restart.
func (t *truth) unsaved(s subject) (on legs, differs bool) {
	st := t.told[s]
	if on = st.on; on == 0 {
		on = onEngine
	}
	if on == st.saved {
		return on, false
	}
	st.saved = on
	t.told[s] = st
	return on, true
}

// departed returns the subjects whose departure is news now, in the order in
// which they left, and forgets them.
func (t *truth) departed(now time.Time) (gone []subject) {
	for len(t.leaving) > 0 && !t.leaving[0].due.After(now) {
		d := t.leaving[0]
		t.leaving = t.leaving[1:]
		if t.told[d.subject].due.Equal(d.due) {
			t.end(d.subject, now)
			gone = append(gone, d.subject)
		}
	}
	return gone
}

// end forgets a subject of which receivers know that it has left.
func (t *truth) end(s subject, now time.Time) {
	delete(t.told, s)
	t.vendor.end(s, now)
}

// nextDeparture returns when departed may next have something to return.
func (t *truth) nextDeparture() (time.Time, bool) {
	for len(t.leaving) > 0 {
		if d := t.leaving[0]; t.told[d.subject].due.Equal(d.due) {
			return d.due, true
		}
		t.leaving = t.leaving[1:]
	}
	return time.Time{}, false
}

// miss notes a cache miss and reports whether it is news: it is not while an
// earlier one of the channel was told less than missWindow ago.
func (t *truth) miss(topic proxy.Topic, now time.Time) (news bool) {
	if now.Sub(t.swept) > missWindow {
		for topic, at := range t.missed {
			if now.Sub(at) >= missWindow {
				delete(t.missed, topic)
			}
		}
		t.swept = now
	}
	if at, ok := t.missed[topic]; ok && now.Sub(at) < missWindow {
		return false
	}
	t.missed[topic] = now
	return true
}

// forget drops what was told to apps that no longer want to know, and returns
// those subjects.
func (t *truth) forget(wanted func(subject) bool) (dropped []subject) {
	for s := range t.told {
		if !wanted(s) {
			delete(t.told, s)
			dropped = append(dropped, s)
		}
	}
	return dropped
}
