package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

// feed sends batches while there is credit. A batch is what was waiting when
// the last one had been sent, so batches grow with the load and a lone event
// waits for nothing.
func (l *link) feed(ctx context.Context, stream *plugins.PublishStream) error {
	for {
		number, items := l.book.next()
		if len(items) == 0 {
			select {
			case <-l.book.work:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		envelopes := make([]translators.Envelope, len(items))
		for i, it := range items {
			envelopes[i] = l.envelope(it)
		}
		l.inlet.handed(items)
		if err := stream.Send(number, envelopes); err != nil {
			return fmt.Errorf("feed plugin: %w", err)
		}
	}
}

var errProtocol = errors.New("the plugin broke the contract")

// acknowledge takes the plugin's answers until the stream ends.
func (l *link) acknowledge(stream *plugins.PublishStream) error {
	for {
		ack, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("the plugin's answers: %w", err)
		}
		items, ok := l.book.answer(ack.Batch, len(ack.Results), ack.Credit)
		if !ok {
			return fmt.Errorf("%w: it answered batch %d with %d results", errProtocol, ack.Batch, len(ack.Results))
		}
		l.mirrored(items, ack.Results)
		for _, r := range ack.Results {
			if r.Code == translators.CodeFatal {
				return fmt.Errorf("the session is of no further use: %s", r.Detail)
			}
		}
	}
}

// mirrored tells what became of a batch.
func (l *link) mirrored(items []item, results []translators.Result) {
	l.inlet.answered(items, results)
	now := time.Now()
	for i, it := range items {
		l.settings.Out.Offer(proxy.Record{
			Kind: proxy.KindMirrored, At: now, Leg: l.leg, Topic: it.event.Topic, Event: it.event, Text: results[i].Code.String(),
			Count: int(it.seq) + 1,
		})
	}
	l.change(func(s *Status) {
		for _, r := range results {
			s.Results[r.Code.String()]++
		}
	})
}
