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

// belief is a change of what receivers believe.
type belief struct {
	subject subject
	there   bool
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
	records, writes := o.intake.take()
	p := &plan{writes: writes}
	for _, r := range records {
		o.leave(p, r.At)
		o.apply(p, r)
	}
	o.leave(p, now)
	return p
}

// leave tells of the departures that are news at a time.
func (o *Outbox) leave(p *plan, at time.Time) {
	for _, s := range o.truth.departed(at) {
		p.beliefs = append(p.beliefs, belief{s, false})
		if o.returned(s) {
			continue
		}
		o.tell(p, s.gone(), proxy.Record{At: at, Topic: s.topic, UserID: s.userID})
	}
}

func (o *Outbox) apply(p *plan, r proxy.Record) {
	channel := subject{topic: r.Topic}
	member := subject{topic: r.Topic, member: true, userID: r.UserID}
	switch r.Kind {
	case proxy.KindOccupied:
		o.arrive(p, channel, proxy.WebhookChannelOccupied, r)
	case proxy.KindMemberAdded:
		o.arrive(p, member, proxy.WebhookMemberAdded, r)
	case proxy.KindVacated:
		o.depart(p, channel, r)
	case proxy.KindMemberRemoved:
		o.depart(p, member, r)
	case proxy.KindPublished:
		o.tell(p, proxy.WebhookClientEvent, r)
	case proxy.KindSubscriptionCount:
		o.tell(p, proxy.WebhookSubscriptionCount, r)
	case proxy.KindCacheMiss:
		if o.truth.miss(r.Topic, r.At) {
			o.tell(p, proxy.WebhookCacheMiss, r)
		}
	}
}

func (o *Outbox) arrive(p *plan, s subject, t proxy.WebhookType, r proxy.Record) {
	shared, news := o.truth.shared, o.truth.arrive(s)
	if news != shared {
		p.beliefs = append(p.beliefs, belief{s, !shared})
	}
	if cancelled := o.cancel(s); news && !cancelled {
		o.tell(p, t, r)
	}
}

func (o *Outbox) depart(p *plan, s subject, r proxy.Record) {
	if o.truth.depart(s, r.At.Add(leaveDelay)) {
		o.hold(s)
		p.beliefs = append(p.beliefs, belief{s, true}) // it was there before its webhook was configured
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
	if b.there {
		return told(tx).Put(b.subject.key(), nil)
	}
	return told(tx).Delete(b.subject.key())
}
