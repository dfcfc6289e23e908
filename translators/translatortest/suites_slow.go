package translatortest

import (
	"context"
	"errors"
	"fmt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// slowItems are published while the backend is slow: few, as each may take it
// seconds.
const slowItems = 40

// checkSlow: suite "slow".
func checkSlow(ctx context.Context, k *kit) error {
	if k.options.Slow == nil {
		return skip("the kit was not told how to make the backend slow")
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channels, items := k.maker().spread("slow", slowItems)
	if err := observer.watch(ctx, channels...); err != nil {
		return err
	}
	restore, err := k.options.Slow()
	if err != nil {
		return fmt.Errorf("make the backend slow: %w", err)
	}
	err = publisher.putOK(ctx, items...)
	restore()
	if err != nil {
		return fmt.Errorf("while the backend was slow: %w", err)
	}
	if _, err := observer.seen(ctx, items); err != nil {
		return fmt.Errorf("acknowledged while the backend was slow: %w", err)
	}
	if err := observer.settle(ctx); err != nil {
		return err
	}
	return k.inOrder(observer.observed())
}

// inOrder checks that events arrived in order, and once as far as the backend
// recognises repeats.
func (k *kit) inOrder(seen []translators.Envelope) error {
	ordered := k.description.Ordering != translators.OrderNone
	met := map[proxy.EventID]bool{}
	last := map[protocol.ChannelName]uint64{}
	for _, e := range seen {
		if met[e.ID] {
			if k.carries(translators.FeatureDedupe) {
				return fmt.Errorf("event %q on %s arrived twice", e.Event, e.Channel)
			}
			continue
		}
		met[e.ID] = true
		if ordered && e.ID.Seq < last[e.Channel] {
			return errors.New("events of channel " + string(e.Channel) + " arrived in another order than they were published in")
		}
		last[e.Channel] = e.ID.Seq
	}
	return nil
}
