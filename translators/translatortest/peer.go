package translatortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	app     = "kit"
	gateway = "kit-gateway"

	batchItems    = 64
	batchBytes    = 256 << 10
	inboundCredit = 4096
)

// peer is an open session: it publishes, or observes, or both.
type peer struct {
	kit      *kit
	instance *instance
	opened   plugins.Opened
	publish  *plugins.PublishStream
	watching *plugins.SubscribeStream
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	changed  chan struct{} // one token: something came in
	granted  int           // all that may be shown; 0: granted again as it comes

	mu       sync.Mutex
	items    []translators.Envelope
	states   []plugins.ChannelState
	grant    int // credit to be granted
	acks     map[uint64]plugins.Ack
	credit   int
	inFlight int
	batch    uint64
	sizes    map[uint64]int // items of each batch
	paced    time.Time      // when the next batch may be sent at the declared rates
	broken   error          // a stream has ended
}

// open starts the plugin, anew, and opens a session. What it observes is
// granted again as it comes.
func (k *kit) open(ctx context.Context, role proxy.Role) (*peer, error) {
	return k.openGranting(ctx, role, 0)
}

// openGranting opens a session that may show so many events, and no more; 0:
// as many as there are.
func (k *kit) openGranting(ctx context.Context, role proxy.Role, granted int) (*peer, error) {
	i, err := k.start(ctx)
	if err != nil {
		return nil, err
	}
	p := &peer{
		kit: k, instance: i, granted: granted,
		changed: make(chan struct{}, 1), acks: map[uint64]plugins.Ack{}, sizes: map[uint64]int{},
	}
	ctx, p.cancel = context.WithCancel(ctx)
	if err := p.connect(ctx, role); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *peer) connect(ctx context.Context, role proxy.Role) error {
	opened, err := p.instance.client.Open(ctx, translators.Binding{
		App: app, Backend: "kit", Role: role, Gateway: gateway, Settings: p.kit.options.Settings,
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	p.opened, p.credit = opened, opened.Credit
	lease, err := p.instance.client.Lease(ctx)
	if err != nil {
		return err
	}
	p.wg.Go(func() { p.beat(ctx, lease) })
	if p.publish, err = p.instance.client.Publish(ctx); err != nil {
		return err
	}
	p.wg.Go(func() { p.fail(p.takeAcks()) })
	if !opened.Can(plugins.AbilitySubscribe) {
		return nil
	}
	if p.watching, err = p.instance.client.Subscribe(ctx); err != nil {
		return err
	}
	p.wg.Go(func() { p.fail(p.takeEvents()) })
	return p.watching.Grant(cmp.Or(p.granted, inboundCredit))
}

func (*peer) beat(ctx context.Context, lease *plugins.LeaseStream) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if _, err := lease.Beat(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *peer) takeAcks() error {
	for {
		ack, err := p.publish.Recv()
		if err != nil {
			return err
		}
		p.mu.Lock()
		if _, twice := p.acks[ack.Batch]; twice {
			p.broken = fmt.Errorf("batch %d was answered twice", ack.Batch)
		}
		p.acks[ack.Batch] = ack
		p.credit = ack.Credit
		p.inFlight -= len(ack.Results)
		p.mu.Unlock()
		p.poke()
	}
}

func (p *peer) takeEvents() error {
	for {
		in, err := p.watching.Recv()
		if err != nil {
			return err
		}
		p.mu.Lock()
		for i := range in.Items {
			p.kit.identify(&in.Items[i])
		}
		p.items = append(p.items, in.Items...)
		p.states = append(p.states, in.States...)
		if p.granted == 0 {
			p.grant += len(in.Items)
		}
		p.mu.Unlock()
		p.poke()
	}
}

func (p *peer) fail(err error) {
	p.mu.Lock()
	if p.broken == nil {
		p.broken = err
	}
	p.mu.Unlock()
	p.poke()
}

func (p *peer) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// close ends the session without draining, and the plugin with it.
func (p *peer) close() {
	p.cancel()
	p.instance.stop()
	p.wg.Wait()
}

// until waits for a condition, which is evaluated with mu held.
func (p *peer) until(ctx context.Context, patience time.Duration, holds func() bool) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		p.mu.Lock()
		held, broken, grant := holds(), p.broken, p.grant
		p.grant = 0
		p.mu.Unlock()
		if grant > 0 {
			if err := p.watching.Grant(grant); err != nil && !held {
				return fmt.Errorf("grant credit: %w", err)
			}
		}
		switch {
		case held:
			return nil
		case broken != nil:
			return fmt.Errorf("the plugin's stream ended: %w", broken)
		}
		select {
		case <-p.changed:
		case <-timer.C:
			return errLate
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errLate = errors.New("it took too long")

// send hands over items in batches within credit, and returns the numbers of
// the batches. It keeps to the declared rates.
func (p *peer) send(ctx context.Context, items []translators.Envelope) ([]uint64, error) {
	p.kit.sent.add(items)
	var numbers []uint64
	for len(items) > 0 {
		n := batchLength(items)
		n, err := p.affords(ctx, n)
		if err != nil {
			return numbers, fmt.Errorf("no credit for %d items: %w", n, err)
		}
		if err := p.pace(ctx, items[:n]); err != nil {
			return numbers, err
		}
		p.mu.Lock()
		p.batch++
		p.inFlight += n
		number := p.batch
		p.sizes[number] = n
		p.mu.Unlock()
		if err := p.publish.Send(number, items[:n]); err != nil {
			return numbers, fmt.Errorf("send batch: %w", err)
		}
		numbers = append(numbers, number)
		items = items[n:]
	}
	return numbers, nil
}

// affords waits until there is credit for n items, or, when all is answered,
// for some. It returns how many may be sent.
func (p *peer) affords(ctx context.Context, n int) (int, error) {
	may := 0
	err := p.until(ctx, suitePatience, func() bool {
		may = min(n, p.credit-p.inFlight)
		return may == n || p.inFlight == 0
	})
	if err == nil && may <= 0 { // all is answered: what would more credit wait for?
		err = p.until(ctx, p.kit.options.Patience, func() bool {
			may = min(n, p.credit-p.inFlight)
			return may > 0
		})
	}
	if err != nil {
		return n, err
	}
	return may, nil
}

func batchLength(items []translators.Envelope) int {
	n, size := 0, 0
	for n < len(items) && n < batchItems {
		if size += len(items[n].Data); n > 0 && size > batchBytes {
			break
		}
		n++
	}
	return n
}

// pace waits until a batch may be sent at the declared rates, and notes when
// the next one may.
func (p *peer) pace(ctx context.Context, batch []translators.Envelope) error {
	select {
	case <-time.After(time.Until(p.paced)):
	case <-ctx.Done():
		return ctx.Err()
	}
	const margin = 1.25
	p.paced = time.Now().Add(time.Duration(p.kit.seconds(batch) * margin * float64(time.Second)))
	return nil
}

// seconds is how long a batch takes at the declared rates.
func (k *kit) seconds(batch []translators.Envelope) float64 {
	l := k.description.Limits
	var seconds float64
	if l.PublishesPerSecond > 0 {
		seconds = float64(len(batch)) / l.PublishesPerSecond
	}
	if l.PerChannelPerSecond > 0 {
		each := map[protocol.ChannelName]int{}
		most := 0
		for _, e := range batch {
			each[e.Channel]++
			most = max(most, each[e.Channel])
		}
		seconds = max(seconds, float64(most)/l.PerChannelPerSecond)
	}
	return seconds
}

// results waits for batches' results, in the order of their items.
func (p *peer) results(ctx context.Context, numbers []uint64) ([]translators.Result, error) {
	err := p.until(ctx, suitePatience, func() bool {
		for _, n := range numbers {
			if _, ok := p.acks[n]; !ok {
				return false
			}
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []translators.Result
	for _, n := range numbers {
		all = append(all, p.acks[n].Results...)
	}
	return all, nil
}

// put publishes items and returns their results.
func (p *peer) put(ctx context.Context, items ...translators.Envelope) ([]translators.Result, error) {
	numbers, err := p.send(ctx, items)
	if err != nil {
		return nil, err
	}
	results, err := p.results(ctx, numbers)
	if err == nil && len(results) != len(items) {
		err = fmt.Errorf("%d results for %d items", len(results), len(items))
	}
	return results, err
}

// putOK publishes items, all of which must be accepted.
func (p *peer) putOK(ctx context.Context, items ...translators.Envelope) error {
	results, err := p.put(ctx, items...)
	if err != nil {
		return err
	}
	for i, r := range results {
		if !r.Code.Accepted() {
			return fmt.Errorf("item %d (event %q on %s, %d bytes) was answered %s: %s",
				i, items[i].Event, items[i].Channel, len(items[i].Data), r.Code, r.Detail)
		}
	}
	return nil
}

// putSome publishes items, of which some may be throttled where a rate is
// declared, and none refused for another reason.
func (p *peer) putSome(ctx context.Context, items ...translators.Envelope) error {
	results, err := p.put(ctx, items...)
	if err != nil {
		return err
	}
	limits := p.kit.description.Limits
	rated := limits.PublishesPerSecond > 0 || limits.PerChannelPerSecond > 0
	for i, r := range results {
		if !r.Code.Accepted() && (r.Code != translators.CodeThrottled || !rated) {
			return fmt.Errorf("item %d was answered %s: %s", i, r.Code, r.Detail)
		}
	}
	return nil
}

// watch observes channels from when it returns.
func (p *peer) watch(ctx context.Context, channels ...protocol.ChannelName) error {
	names := make([]string, len(channels))
	for i := range channels {
		names[i] = string(channels[i])
	}
	if err := p.watching.Add(names...); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	var refused []string
	patience := p.kit.options.Patience + subscribePatience + time.Duration(len(channels))*subscribeEach
	err := p.until(ctx, patience, func() bool {
		refused = nil
		attached := map[protocol.ChannelName]bool{}
		for _, s := range p.states {
			switch s.State {
			case translators.StateAttached:
				attached[s.Channel] = true
			case translators.StateError:
				refused = append(refused, fmt.Sprintf("%s: %s", s.Channel, s.Detail))
			}
		}
		missing := 0
		for _, c := range channels {
			if !attached[c] {
				missing++
			}
		}
		return missing == 0 || len(refused) > 0
	})
	switch {
	case len(refused) > 0:
		return fmt.Errorf("%d of %d channels not subscribed, the first: %s", len(refused), len(channels), refused[0])
	case err != nil:
		return fmt.Errorf("subscriptions are not confirmed: %w", err)
	}
	return nil
}

const (
	// subscribePatience is what the SDK gives a translator for a subscription.
	subscribePatience = 10 * time.Second
	// subscribeEach is added for each of several, as a backend may take them one
	// after the other.
	subscribeEach = 200 * time.Millisecond
)

// observed returns what was shown so far.
func (p *peer) observed() []translators.Envelope {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]translators.Envelope(nil), p.items...)
}

// seen waits for every one of the items to be shown, and returns all that was.
func (p *peer) seen(ctx context.Context, items []translators.Envelope) ([]translators.Envelope, error) {
	checked := 0
	missing := map[proxy.EventID]bool{}
	for _, e := range items {
		missing[e.ID] = true
	}
	err := p.until(ctx, p.kit.options.Patience, func() bool {
		for ; checked < len(p.items); checked++ {
			delete(missing, p.items[checked].ID)
		}
		return len(missing) == 0
	})
	if err != nil {
		return p.observed(), fmt.Errorf("%d of %d events did not arrive (the first: %s): %w",
			len(missing), len(items), first(items, missing), err)
	}
	return p.observed(), nil
}

// seesAny waits for one of the items to be shown.
func (p *peer) seesAny(ctx context.Context, items []translators.Envelope, patience time.Duration) error {
	wanted := byID(items)
	checked := 0
	return p.until(ctx, patience, func() bool {
		for ; checked < len(p.items); checked++ {
			if _, ok := wanted[p.items[checked].ID]; ok {
				return true
			}
		}
		return false
	})
}

func first(items []translators.Envelope, missing map[proxy.EventID]bool) string {
	for _, e := range items {
		if missing[e.ID] {
			return fmt.Sprintf("event %q on %s, %d bytes", e.Event, e.Channel, len(e.Data))
		}
	}
	return "none"
}

// settle waits as long as a stray event may take to arrive.
func (p *peer) settle(ctx context.Context) error {
	err := p.until(ctx, max(p.kit.options.Patience/10, 200*time.Millisecond), func() bool { return false })
	if errors.Is(err, errLate) {
		return nil
	}
	return err
}

// pair opens a session that publishes and another that observes.
func (k *kit) pair(ctx context.Context) (publisher, observer *peer, done func(), err error) {
	return k.pairGranting(ctx, 0)
}

// pairGranting is pair with an observer that may be shown so many events.
func (k *kit) pairGranting(ctx context.Context, granted int) (publisher, observer *peer, done func(), err error) {
	if err := k.needs(translators.FeatureSubscribe); err != nil {
		return nil, nil, nil, err
	}
	if publisher, err = k.open(ctx, proxy.RoleShadow); err != nil {
		return nil, nil, nil, err
	}
	if observer, err = k.openGranting(ctx, proxy.RoleShadow, granted); err != nil {
		publisher.close()
		return nil, nil, nil, err
	}
	return publisher, observer, func() { publisher.close(); observer.close() }, nil
}
