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
