package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// What a bucket's log holds, for nodes that cannot be reached just now: the
// events of the last heldFor, and of these at least the last heldBytes, as far
// as there are as many. It has three times as many bytes at most.
const (
	heldFor   = time.Minute
	heldBytes = 1 << 20
)

// replayPage and replayBuckets bound what is read of logs in one round trip.
const (
	replayPage    = 128
	replayBuckets = 16
)

// clockSkew is by how much the clocks of Redis servers may differ that take
// each other's place.
const clockSkew = 2 * time.Second

// place is where an event stands in the log of its bucket: the id of its
// entry. The first half is Redis's time in milliseconds.
type place struct{ ms, seq uint64 }

// parsePlace reads what String has written. Empty: no place.
func parsePlace(s string) (p place, ok bool) {
	if s == "" {
		return place{}, true
	}
	ms, seq, _ := strings.Cut(s, "-")
	var err error
	if p.ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return place{}, false
	}
	p.seq, err = strconv.ParseUint(seq, 10, 64)
	return p, err == nil
}

// String returns the place as Redis writes it.
func (p place) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.seq, 10)
}

func (p place) after(o place) bool { return p.ms > o.ms || p.ms == o.ms && p.seq > o.seq }

// standing is how far this node has come in the logs of all buckets.
type standing struct {
	mu     sync.Mutex
	last   map[string]place // by bucket: what came last
	whole  uint64           // all that was published until then has come, by Redis's clock; 0: there was no link
	server string           // identity of the servers whose clock that is
	come   come
}

// advance notes an event that has come, and reports whether it is a new one.
func (s *standing) advance(bucket string, at place, id proxy.EventID) bool {
	if at == (place{}) {
		return true // of a node of an older version
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.after(s.last[bucket]) {
		return false
	}
	s.last[bucket] = at
	return s.come.note(id)
}

func (s *standing) of(bucket string) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[bucket]
}

// reading is what a node reads of one bucket's log.
type reading struct {
	bucket string
	app    string
	from   place // what comes after it is read
	whole  place // what comes after it may have been missed
	missed bool  // some of that is not there any more
}

// replay delivers what was published while there was no link, and returns the
// apps of which some of that is not known any more. It is called when the next
// link is there, and before anything is taken from it.
func (b *Broker) replay(ctx context.Context, l *link, deliver func(*proxy.Event)) (missed []string, err error) {
	if b.standing.changed(l.server) {
		b.standing.expect()
	}
	readings := b.readings(l)
	for part := range slices.Chunk(readings, replayBuckets) {
		for pending := part; len(pending) > 0; {
			if pending, err = b.readPage(ctx, pending, deliver); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range readings {
		if r.missed && !slices.Contains(missed, r.app) {
			missed = append(missed, r.app)
		}
	}
	return missed, nil
}

// readings returns the logs that are to be read, and from where.
func (b *Broker) readings(l *link) []*reading {
	s := &b.standing
	s.mu.Lock()
	whole, server := s.whole, s.server
	s.mu.Unlock()
	if whole == 0 {
		return nil
	}
	// The same servers have forgotten what is older, others have not yet.
	forgotten := server == l.server && l.began > whole+uint64(heldFor.Milliseconds())
	b.mu.Lock()
	defer b.mu.Unlock()
	byBucket := make(map[string]*reading)
	for _, w := range b.topics {
		if byBucket[w.bucket] != nil {
			continue
		}
		last := s.of(w.bucket)
		r := &reading{bucket: w.bucket, app: w.app, from: last, whole: last, missed: forgotten}
		if floor := (place{ms: whole - min(whole, uint64(clockSkew.Milliseconds()))}); floor.after(r.from) {
			r.from = floor
		}
		if p := (place{ms: whole}); p.after(r.whole) {
			r.whole = p
		}
		byBucket[w.bucket] = r
	}
	list := make([]*reading, 0, len(byBucket))
	for _, r := range byBucket {
		list = append(list, r)
	}
	return list
}

// readPage reads a page of each log, and returns those that have more.
func (b *Broker) readPage(ctx context.Context, list []*reading, deliver func(*proxy.Event)) (more []*reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	pipe := b.client.Pipeline()
	pages := make([]*redis.XMessageSliceCmd, len(list))
	for i, r := range list {
		pages[i] = pipe.XRangeN(ctx, logOf(r.bucket), "("+r.from.String(), "+", replayPage)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read what was published meanwhile: %w", err)
	}
	for i, r := range list {
		entries := pages[i].Val()
		for _, entry := range entries {
			if err := b.replayEntry(r, entry, deliver); err != nil {
				b.refuse(err)
			}
		}
		if len(entries) == replayPage {
			more = append(more, r)
		}
	}
	return more, nil
}

// replayEntry delivers what an entry of a log has, if it is for this node and
// has not come before.
func (b *Broker) replayEntry(r *reading, entry redis.XMessage, deliver func(*proxy.Event)) error {
	at, ok := parsePlace(entry.ID)
	if !ok || !at.after(r.from) {
		return fmt.Errorf("%w: entry %q of a log", ErrFrame, entry.ID)
	}
	r.from = at
	if text, is := entry.Values["t"].(string); is {
		cut, ok := parsePlace(text)
		if !ok {
			return fmt.Errorf("%w: where a log was cut", ErrFrame)
		}
		r.missed = r.missed || cut.after(r.whole)
		return nil
	}
	head, _ := entry.Values["h"].(string)
	data, _ := entry.Values["d"].(string)
	ev, _, err := parseFrame(head + string(rune(noPlace)) + data)
	if err != nil {
		return err
	}
	if b.keys.bucketOf(ev.Topic) != r.bucket {
		return fmt.Errorf("%w: event in the log of another bucket", ErrFrame)
	}
	if b.standing.advance(r.bucket, at, ev.ID) {
		if ev = b.due(ev, at); ev != nil {
			b.replayed.Add(1)
			deliver(ev)
		}
	}
	return nil
}

// due returns what this node is to deliver of an event that it has read: nil
// if it is of another channel, or from before it had subscribed.
func (b *Broker) due(ev *proxy.Event, at place) *proxy.Event {
	if ev.ID.Node == b.node {
		return b.takeOwn(ev)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.topics[b.keys.topicChannel(ev.Topic)]; w == nil || at.ms < w.since {
		return nil
	}
	return ev
}
