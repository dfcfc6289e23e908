package webhooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// commitRetry is the wait before a failed transaction is tried again.
const commitRetry = time.Second

// plan is one round of the committer: what will be written together.
type plan struct {
	writes  []write
	beliefs []belief
	posts   []posting
}

// belief is a change of what receivers believe: that a subject is there, and
// on which legs; on none: that it is gone.
type belief struct {
	subject subject
	on      legs
}

// posting is a letter and who gets it.
type posting struct {
	to     []*receiver
	letter letter
}

// round takes what is queued and what has become due, and writes it.
func (o *Outbox) round(ctx context.Context) error {
	p := o.plan(time.Now())
	if p.empty() {
		return nil
	}
	return o.insist(ctx, func() error { return o.commit(p) })
}

// insist writes to the outbox, trying again until it succeeds or ctx ends:
// what was accepted must not be lost to a disk that is full for a while.
func (o *Outbox) insist(ctx context.Context, update func() error) error {
	for {
		err := update()
		if err == nil {
			return nil
		}
		o.metrics.commitErrors.Inc()
		if ctx.Err() != nil {
			return err
		}
		o.settings.Log.Error().Err(err).Msg("webhook outbox cannot be written, trying again")
		select {
		case <-time.After(commitRetry):
		case <-ctx.Done():
		}
	}
}

// plan decides what receivers have to be told. Whether a return was in time
// is decided by when it happened, not by when it is looked at.
func (o *Outbox) plan(now time.Time) *plan {
	items, writes := o.intake.take()
	p := &plan{writes: writes}
	for _, it := range items {
		o.leave(p, it.At)
		o.apply(p, it)
	}
	o.leave(p, now)
	return p
}

// leave tells of the departures that are news at a time.
func (o *Outbox) leave(p *plan, at time.Time) {
	for _, s := range o.truth.departed(at) {
		news, asked := o.departed(s)
		if !asked {
			o.truth.depart(s, onEngine, at.Add(leaveDelay))
			continue
		}
		p.beliefs = append(p.beliefs, belief{s, 0})
		if news {
			o.tell(p, s.gone(), proxy.Record{At: at, Topic: s.topic, UserID: s.userID})
		}
	}
}

func (o *Outbox) apply(p *plan, it item) {
	if it.snapshot != nil {
		o.adopt(p, it.At, it.snapshot)
		return
	}
	r := it.Record
	if s, ok := subjectOfRecord(r); ok {
		o.move(p, s, it)
		return
	}
	switch r.Kind {
	case proxy.KindPublished:
		o.tellUnless(it.passed, p, proxy.WebhookClientEvent, r)
	case proxy.KindSubscriptionCount:
		if sum, news := o.sum(r); news {
			r.Count = sum
			o.tellUnless(it.passed, p, proxy.WebhookSubscriptionCount, r)
		}
	case proxy.KindCacheMiss:
		if o.truth.miss(r.Topic, r.At) {
			o.tellUnless(it.passed, p, proxy.WebhookCacheMiss, r)
		}
	}
}

// subjectOfRecord returns the channel or member that a record tells of.
func subjectOfRecord(r proxy.Record) (s subject, ok bool) {
	switch r.Kind {
	case proxy.KindOccupied, proxy.KindVacated:
		return subject{topic: r.Topic}, true
	case proxy.KindMemberAdded, proxy.KindMemberRemoved:
		return subject{topic: r.Topic, member: true, userID: r.UserID}, true
	default:
		return subject{}, false
	}
}

// move notes that a subject came or went.
func (o *Outbox) move(p *plan, s subject, it item) {
	r := it.Record
	leg := legOf(r)
	if leg == onVendor && !o.truth.shared && o.truth.vendor.stale(s, r.From, r.At) {
		return
	}
	switch {
	case r.Kind == s.kind():
		o.arrive(p, s, s.came(), it)
	case it.passed: // its receivers know already
		o.truth.end(s, r.At)
		o.departed(s)
		p.beliefs = append(p.beliefs, belief{s, 0})
	default:
		o.depart(p, s, leg, r.At.Add(leaveDelay))
	}
}

func (o *Outbox) arrive(p *plan, s subject, t proxy.WebhookType, it item) {
	news := o.truth.arrive(s, legOf(it.Record))
	if !o.truth.shared {
		o.save(p, s)
	} else {
		if !news {
			p.beliefs = append(p.beliefs, belief{s, 0})
		}
		news = o.arrived(s)
		if now := time.Now(); now.Sub(it.At) > leaveDelay { // and may have left: a node that was paused is late
			o.depart(p, s, onEngine, now.Add(leaveDelay))
		}
	}
	o.tellUnless(it.passed || !news, p, t, it.Record)
}

func (o *Outbox) depart(p *plan, s subject, leg legs, due time.Time) {
	o.truth.depart(s, leg, due)
	o.save(p, s)
}

// save keeps what receivers believe of a subject, if it is not kept so yet.
func (o *Outbox) save(p *plan, s subject) {
	if _, known := o.truth.told[s]; !known {
		return
	}
	if on, differs := o.truth.unsaved(s); differs {
		p.beliefs = append(p.beliefs, belief{s, on})
	}
}

// sum returns how many subscriptions a channel has on both legs, and whether
// that is news. Beside other nodes, what was told last is not known.
func (o *Outbox) sum(r proxy.Record) (sum int, news bool) {
	if o.truth.shared {
		return r.Count, true
	}
	return o.truth.vendor.count(r.Topic, legOf(r), r.Count)
}

func (o *Outbox) tellUnless(known bool, p *plan, t proxy.WebhookType, r proxy.Record) {
	if !known {
		o.tell(p, t, r)
	}
}

// tell addresses a letter to those of an app's receivers that want its type.
func (o *Outbox) tell(p *plan, t proxy.WebhookType, r proxy.Record) {
	var to []*receiver
	for _, r := range o.byApp[r.Topic.App] {
		if slices.Contains(r.types, t) {
			to = append(to, r)
		}
	}
	if len(to) > 0 {
		p.posts = append(p.posts, posting{to, newLetter(t, r)})
		o.metrics.events.WithLabelValues(r.Topic.App, string(t)).Inc()
	}
}

func (p *plan) empty() bool {
	return len(p.writes) == 0 && len(p.beliefs) == 0 && len(p.posts) == 0
}

// delivery is a letter that has become pending in a receiver's mailbox.
type delivery struct {
	channel protocol.ChannelName
	entry   entry
}

// commit writes a plan in one transaction and then hands the letters to their
// receivers.
func (o *Outbox) commit(p *plan) error {
	start := time.Now()
	o.makeRoom(p)
	var pending map[*receiver][]delivery
	err := o.settings.DB.Update(func(tx *bbolt.Tx) (err error) {
		pending, err = p.write(tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("write webhook outbox: %w", err)
	}
	o.metrics.commit.Observe(time.Since(start).Seconds())
	for r, letters := range pending {
		r.add(letters)
	}
	return nil
}

// makeRoom lets the oldest letters of receivers whose mailbox is full die.
func (o *Outbox) makeRoom(p *plan) {
	more := map[*receiver]int64{}
	for _, post := range p.posts {
		for _, r := range post.to {
			more[r] += int64(len(post.letter.Event))
		}
	}
	for r, bytes := range more {
		if w := r.shed(bytes); w != nil {
			p.writes = append(p.writes, w)
		}
	}
}

func (p *plan) write(tx *bbolt.Tx) (map[*receiver][]delivery, error) {
	for _, w := range p.writes {
		if err := w(tx); err != nil {
			return nil, err
		}
	}
	for _, b := range p.beliefs {
		if err := b.write(tx); err != nil {
			return nil, err
		}
	}
	pending := map[*receiver][]delivery{}
	for _, post := range p.posts {
		for _, r := range post.to {
			e, err := openMailbox(tx, r.id).append(post.letter)
			if err != nil {
				return nil, err
			}
			pending[r] = append(pending[r], delivery{post.letter.Channel, e})
		}
	}
	return pending, nil
}

func (b belief) write(tx *bbolt.Tx) error {
	if b.on == 0 {
		return told(tx).Delete(b.subject.key())
	}
	return told(tx).Put(b.subject.key(), []byte{byte(b.on)})
}
