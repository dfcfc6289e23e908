package webhooks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// ErrBusy is returned when what the upstream tells cannot be taken in now.
// Nothing of it is kept, so that the upstream tries again.
var ErrBusy = errors.New("webhooks: too much waits to be written, or the outbox does not run")

// Pass sends a webhook of the upstream's to those of an app's receivers that
// want any of its events: the same body, with the same headers, so that the
// signature is the upstream's. It returns the answer that is to be the
// upstream's, which tries again if it is not 2xx; of several receivers that
// differ, the worst one. events are what the webhook tells, as for Merge: they
// are remembered, so that what happens later is told rightly.
func (o *Outbox) Pass(ctx context.Context, app *proxy.App, header http.Header, body []byte, events []proxy.Record) (status int, err error) {
	var to []namedHook
	for _, named := range nameReceivers(app) {
		if slices.ContainsFunc(events, func(r proxy.Record) bool { return takes(named.hook, r.Kind) }) {
			to = append(to, named)
		}
	}
	outcomes := make([]outcome, len(to))
	var sending sync.WaitGroup
	for i, named := range to {
		sending.Go(func() { outcomes[i] = o.pass(ctx, named, header, body) })
	}
	sending.Wait()
	for _, got := range outcomes {
		switch {
		case got.err != nil:
			return 0, got.err
		case !got.delivered():
			return got.status, nil
		}
	}
	return http.StatusOK, o.takeIn(ctx, events, true)
}

func takes(hook proxy.Webhook, k proxy.Kind) bool {
	return slices.ContainsFunc(hook.Events, func(t proxy.WebhookType) bool { return kindsOf(t).Has(k) })
}

func (o *Outbox) pass(ctx context.Context, named namedHook, header http.Header, body []byte) outcome {
	o.mu.Lock()
	r := o.receivers[named.id]
	o.mu.Unlock()
	if r == nil {
		return outcome{err: ErrBusy}
	}
	r.mu.Lock()
	hook, transport := r.hook, r.transport
	r.mu.Unlock()
	if transport == nil {
		return outcome{err: ErrBusy}
	}
	got := send(ctx, transport, hook.URL, header, body)
	o.metrics.attempts.WithLabelValues(named.app, named.id, got.result()).Inc()
	return got
}

// Merge takes in what the upstream's webhooks tell of an app that has clients
// on both sides: records with Leg proxy.LegVendor, of the kinds of Kinds, and
// From set to when the upstream says that it happened. A receiver is told what
// is true of both sides together: that a channel is occupied, or a member
// there, once it is so on either, and the contrary once it is so on none.
// Merge returns when all of it is on disk.
func (o *Outbox) Merge(ctx context.Context, events []proxy.Record) error {
	return o.takeIn(ctx, events, false)
}

func (o *Outbox) takeIn(ctx context.Context, events []proxy.Record, passed bool) error {
	wanted := make([]proxy.Record, 0, len(events))
	for _, r := range events {
		if app, ok := o.settings.Apps.ByID(r.Topic.App); ok && wants(app, r.Kind) {
			wanted = append(wanted, r)
		}
	}
	if o.settings.Told != nil {
		var err error
		if wanted, err = o.freshShared(ctx, wanted); err != nil {
			return err
		}
	}
	items := make([]item, len(wanted))
	for i, r := range wanted {
		items[i] = item{Record: r, passed: passed}
	}
	return o.insert(ctx, items...)
}

// insert queues items and waits until what they mean is on disk.
func (o *Outbox) insert(ctx context.Context, items ...item) error {
	if len(items) == 0 {
		return nil
	}
	done := make(chan struct{})
	written := func(tx *bbolt.Tx) error {
		tx.OnCommit(func() { close(done) })
		return nil
	}
	if !o.intake.add(2*o.intake.limit, written, items...) {
		return ErrBusy
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// snapshot is who is at the upstream.
type snapshot struct {
	app      string
	asked    time.Time
	occupied []protocol.ChannelName
	members  map[protocol.ChannelName][]string
}

// Adopt takes in who is at the upstream, as its API said after asked: the
// occupied channels, and the members of the presence channels among them that
// were asked for. It makes up for webhooks that were lost. The first snapshot
// of an app is taken for what receivers know already: the upstream has told
// them, before it told us.
func (o *Outbox) Adopt(ctx context.Context, app string, asked time.Time, occupied []protocol.ChannelName, members map[protocol.ChannelName][]string) error {
	if o.settings.Told != nil {
		return o.adoptShared(ctx, &snapshot{app, asked, occupied, members})
	}
	return o.insert(ctx, item{
		Record:   proxy.Record{At: time.Now(), Leg: proxy.LegVendor, Topic: proxy.Topic{App: app}},
		snapshot: &snapshot{app, asked, occupied, members},
	})
}

// adopt makes the upstream's side of an app what a snapshot says, except where
// the upstream has told of something since.
func (o *Outbox) adopt(p *plan, at time.Time, snap *snapshot) {
	there := snap.subjects(func(k proxy.Kind) bool {
		app, ok := o.settings.Apps.ByID(snap.app)
		return ok && wants(app, k)
	})
	// That there ever was a snapshot is kept as a channel without a name.
	mark := subject{topic: proxy.Topic{App: snap.app}}
	_, known := o.truth.told[mark]
	vendor := &o.truth.vendor
	for _, s := range append(there, mark) {
		if !vendor.heardSince(s, snap.asked) {
			r := proxy.Record{Kind: s.kind(), At: at, Leg: proxy.LegVendor, Topic: s.topic, UserID: s.userID}
			o.arrive(p, s, s.came(), item{Record: r, passed: !known || s == mark})
		}
	}
	is := make(map[subject]bool, len(there))
	for _, s := range there {
		is[s] = true
	}
	for _, s := range o.truth.on(snap.app, onVendor) {
		if s != mark && !is[s] && snap.knows(s) && !vendor.heardSince(s, snap.asked) {
			o.depart(p, s, onVendor, at.Add(leaveDelay))
		}
	}
	for topic, c := range vendor.counts {
		if topic.App == snap.app && c.vendor > 0 && !is[subject{topic: topic}] {
			sum, _ := vendor.count(topic, onVendor, 0)
			o.tell(p, proxy.WebhookSubscriptionCount, proxy.Record{At: at, Topic: topic, Count: sum})
		}
	}
}

// subjects returns the channels and members of a snapshot, as far as anybody
// is to be told of them.
func (s *snapshot) subjects(wanted func(proxy.Kind) bool) (all []subject) {
	for _, channel := range s.occupied {
		topic := proxy.Topic{App: s.app, Channel: channel}
		if wanted(proxy.KindOccupied) {
			all = append(all, subject{topic: topic})
		}
		if wanted(proxy.KindMemberAdded) {
			for _, user := range s.members[channel] {
				all = append(all, subject{topic: topic, member: true, userID: user})
			}
		}
	}
	return all
}

// knows reports whether the snapshot would have a subject if it was there.
func (s *snapshot) knows(sub subject) bool {
	_, asked := s.members[sub.topic.Channel]
	return !sub.member || asked || !slices.Contains(s.occupied, sub.topic.Channel)
}

// on returns the subjects of an app that are on a leg, members first.
func (t *truth) on(app string, leg legs) (all []subject) {
	for s, st := range t.told {
		if s.topic.App == app && st.on&leg != 0 {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, membersFirst)
	return all
}

// membersFirst orders subjects so that a channel comes after its members.
func membersFirst(a, b subject) int {
	return cmp.Or(-cmp.Compare(a.topic.Channel, b.topic.Channel), bytes.Compare(b.key(), a.key()))
}
