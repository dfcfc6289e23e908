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

// kind returns the kind of record that reports its arrival.
func (s subject) kind() proxy.Kind {
	if s.member {
		return proxy.KindMemberAdded
	}
	return proxy.KindOccupied
}

// truth is what receivers have been told of channels and members, and what
// they will have to be told when a delay ends. It belongs to one goroutine.
type truth struct {
	// shared: other nodes tell of the same subjects. Then told has departures
	// only, as an arrival here may be followed by a departure elsewhere.
	shared bool
	// told has every subject that receivers believe to be there. The value is
	// zero for one that is, and for one that has left the time at which
	// receivers are told so.
	told map[subject]time.Time
	// leaving has the departures in the order of their times. One whose time
	// differs from told's was overtaken by a return.
	leaving []departure
	alone   map[subject]bool          // departures that no other node knows of
	missed  map[proxy.Topic]time.Time // when the latest cache miss was told
	swept   time.Time                 // when missed was last cleared of old entries
}

type departure struct {
	subject subject
	due     time.Time
}

func newTruth(shared bool) *truth {
	return &truth{shared: shared, told: map[subject]time.Time{}, alone: map[subject]bool{}, missed: map[proxy.Topic]time.Time{}}
}

// arrive notes that a subject is there, and reports whether that is news.
func (t *truth) arrive(s subject) (news bool) {
	_, known := t.told[s]
	if t.shared {
		delete(t.told, s)
		return !known
	}
	t.told[s] = time.Time{}
	return !known
}

// depart notes that a subject left, which becomes news at due unless it
// returns. It reports whether the subject had been unknown until now.
func (t *truth) depart(s subject, due time.Time) (unknown bool) {
	earlier, known := t.told[s]
	if known && !earlier.IsZero() && !t.shared {
		return false // it had left already; of several nodes, another may have seen it return
	}
	t.told[s] = due
	t.leaving = append(t.leaving, departure{s, due})
	return !known || t.shared
}

// departed returns the subjects whose departure is news now, in the order in
// which they left, and forgets them.
func (t *truth) departed(now time.Time) (gone []subject) {
	for len(t.leaving) > 0 && !t.leaving[0].due.After(now) {
		d := t.leaving[0]
		t.leaving = t.leaving[1:]
		if t.told[d.subject].Equal(d.due) {
			delete(t.told, d.subject)
			gone = append(gone, d.subject)
		}
	}
	return gone
}

// nextDeparture returns when departed may next have something to return.
func (t *truth) nextDeparture() (time.Time, bool) {
	for len(t.leaving) > 0 {
		if d := t.leaving[0]; t.told[d.subject].Equal(d.due) {
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
