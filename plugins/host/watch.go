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

// control asks the plugin to observe what is of interest, and grants credit.
func (l *link) control(ctx context.Context, stream *plugins.SubscribeStream, grants <-chan int) error {
	if err := stream.Grant(inboundCredit); err != nil {
		return fmt.Errorf("control watch: %w", err)
	}
	for {
		var err error
		select {
		case n := <-grants:
			err = stream.Grant(n)
		case <-l.book.wanted:
			add, drop := l.book.wants()
			err = changeInterest(stream, add, drop)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return fmt.Errorf("control watch: %w", err)
		}
	}
}

func changeInterest(stream *plugins.SubscribeStream, add, drop []string) error {
	for names := range slices.Chunk(drop, maxAdd) {
		if err := stream.Drop(names...); err != nil {
			return err
		}
	}
	for names := range slices.Chunk(add, maxAdd) {
		if err := stream.Add(names...); err != nil {
			return err
		}
	}
	return nil
}

// observe tells what the backend delivers until the stream ends.
func (l *link) observe(ctx context.Context, stream *plugins.SubscribeStream, grants chan<- int) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch backend: %w", err)
		}
		now := time.Now()
		for _, e := range in.Items {
			l.delivered(e, now)
		}
		for _, s := range in.States {
			l.tell(l.book.observed(s.Channel, s.ChannelState, now))
			if s.State == translators.StateError {
				l.log.Warn().Str("channel", string(s.Channel)).Str("detail", s.Detail).Msg("channel cannot be observed on the backend")
			}
		}
		if len(in.Items) == 0 {
			continue
		}
		l.change(func(s *Status) { s.Delivered += uint64(len(in.Items)) })
		select {
		case grants <- len(in.Items):
		case <-ctx.Done():
			return nil
		}
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
