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

// batchLinger is how long an event waits at most for others to share its batch. A
// batch costs some ten times what an event in it does, on both sides.
const batchLinger = time.Millisecond

// feed sends batches while there is credit. A batch is what was waiting when
// the last one had been sent. On a busy stream what follows a batch within
// batchLinger waits for the rest of it, so batches grow with the load and a lone
// event waits for nothing.
func (l *link) feed(ctx context.Context, stream *plugins.PublishStream) error {
	var sent time.Time // the last batch
	company := time.NewTimer(0)
	defer company.Stop()
	for {
		number, items := l.book.next(time.Now())
		l.refuse(l.book.refusals())
		if len(items) == 0 {
			if !l.await(ctx, company, sent) {
				return nil
			}
			continue
		}
		envelopes := make([]translators.Envelope, len(items))
		for i, it := range items {
			envelopes[i] = l.envelope(it)
		}
		l.inlet.handed(items)
		if err := stream.Send(number, envelopes); err != nil {
			return fmt.Errorf("feed plugin: %w", err)
		}
		sent = time.Now()
	}
}

// await waits for something to send and then, if the last batch was sent just
// now, for its company. It reports false when ctx ended.
func (l *link) await(ctx context.Context, company *time.Timer, sent time.Time) bool {
	select {
	case <-l.book.work:
	case <-ctx.Done():
		return false
	}
	wait := batchLinger - time.Since(sent)
	if wait <= 0 {
		return true
	}
	company.Reset(wait)
	select {
	case <-company.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refuse answers in the plugin's place for what exceeds its limits.
func (l *link) refuse(refused []refusal) {
	if len(refused) == 0 {
		return
	}
	items, results := make([]item, len(refused)), make([]translators.Result, len(refused))
	for i, r := range refused {
		items[i], results[i] = r.item, r.result
	}
	l.mirrored(items, results)
	l.change(func(s *Status) {
		s.Refused += uint64(len(refused))
		s.LastRefused = refused[len(refused)-1].result.Detail
	})
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
