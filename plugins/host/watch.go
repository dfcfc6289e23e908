package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

const (
	// inboundCredit is how many observed events a plugin may have on the way.
	inboundCredit = 4096
	// maxAdd bounds the channels named in one message.
	maxAdd = 256
)

// control asks a tenant's plugin to observe what is of interest, and grants
// credit.
func (l *link) control(t *tenant) error {
	err := t.watch.Grant(inboundCredit)
	for err == nil {
		select {
		case n := <-t.grants:
			err = t.watch.Grant(n)
		case i := <-t.changes:
			err = changeInterest(t.watch, i)
		case <-t.streams.Done():
			return nil
		}
	}
	return fmt.Errorf("control watch: %w", err)
}

// follow passes on what is to be observed, to a tenant that serves and to its
// heir.
func (l *link) follow(ctx context.Context, t *tenant) error {
	for {
		select {
		case <-l.book.wanted:
			add, drop := l.book.wants()
			t.ask(interest{add, drop})
			if heir := t.heir.Load(); heir != nil {
				heir.ask(interest{add, drop})
			}
		case heir := <-t.heirs:
			l.showing.Lock()
			t.heir.Store(heir) // from here on, what t observes is compared with what heir does
			all, attached := l.book.census()
			heir.overlap.expect(attached)
			if l.binding.Backend.Role == proxy.RoleBridge && heir.about.Echo == translators.EchoNative {
				heir.overlap.own = l.settings.Gateway
			}
			l.showing.Unlock()
			heir.ask(interest{add: all})
		case <-ctx.Done():
			return nil
		}
	}
}

func changeInterest(stream *plugins.SubscribeStream, i interest) error {
	for names := range slices.Chunk(i.drop, maxAdd) {
		if err := stream.Drop(names...); err != nil {
			return err
		}
	}
	for names := range slices.Chunk(i.add, maxAdd) {
		if err := stream.Add(names...); err != nil {
			return err
		}
	}
	return nil
}

// observe tells what the backend delivers until the stream ends.
func (l *link) observe(t *tenant) error {
	for {
		in, err := t.watch.Recv()
		if err != nil {
			return fmt.Errorf("watch backend: %w", err)
		}
		l.take(t, in)
	}
}

// delivered tells of one event that the backend delivered.
func (l *link) delivered(e translators.Envelope, now time.Time) {
	if l.inlet != nil {
		l.inlet.take(e, now)
	}
	topic := proxy.Topic{App: l.binding.App, Channel: e.Channel}
	publisher := proxy.ByServer
	if e.Kind == translators.KindClientEvent {
		publisher = proxy.ByClient
	}
	l.settings.Out.Offer(proxy.Record{
		Kind: proxy.KindDelivered, At: now, Leg: l.leg, Topic: topic,
		Event: &proxy.Event{
			ID: e.ID, Topic: topic, Name: e.Event, Data: e.Data, UserID: e.UserID, Except: e.Except, Publisher: publisher,
			Origin: l.leg, At: now,
		},
	})
}
