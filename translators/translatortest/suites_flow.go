package translatortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// checkResults: suite "results".
func checkResults(ctx context.Context, k *kit) error {
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	m := k.maker()
	var items []translators.Envelope
	for i := range 200 {
		e := m.item(k.channel(fmt.Sprintf("results-%d", i%7)), []byte("{}"))
		if limit := k.description.Limits.PayloadBytes; limit > 0 && i%10 == 3 {
			e.Data = bytes.Repeat([]byte("x"), limit+1)
		}
		items = append(items, e)
	}
	for size := 1; len(items) > 0; size = size*2 + 1 {
		n := min(size, len(items), batchItems)
		results, err := p.put(ctx, items[:n]...)
		if err != nil {
			return err
		}
		for i, r := range results {
			tooLarge := k.description.Limits.PayloadBytes > 0 && len(items[i].Data) > k.description.Limits.PayloadBytes
			if r.Code.Accepted() == tooLarge {
				return fmt.Errorf("item %d of a batch of %d has %d bytes and was answered %s: %s", i, n, len(items[i].Data), r.Code, r.Detail)
			}
		}
		items = items[n:]
	}
	return nil
}

// checkDeadline: suite "deadline".
func checkDeadline(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("deadline")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	late, good := m.item(channel, []byte("late")), m.item(channel, []byte("good"))
	late.Deadline = time.Now().Add(-time.Second)
	results, err := publisher.put(ctx, late, good)
	if err != nil {
		return err
	}
	if results[0].Code != translators.CodeExpired || !results[1].Code.Accepted() {
		return fmt.Errorf("an item past its deadline and one that is not were answered %s and %s", results[0].Code, results[1].Code)
	}
	seen, err := observer.seen(ctx, []translators.Envelope{good})
	if err != nil {
		return err
	}
	for _, e := range seen {
		if e.ID == late.ID {
			return errors.New("the item that had expired was published all the same")
		}
	}
	return nil
}

// checkDedupe: suite "dedupe".
func checkDedupe(ctx context.Context, k *kit) error {
	if err := k.needs(translators.FeatureDedupe); err != nil {
		return err
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("dedupe")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	twice, last := m.item(channel, []byte("twice")), m.item(channel, []byte("last"))
	for _, e := range []translators.Envelope{twice, twice, last} {
		if err := publisher.putOK(ctx, e); err != nil {
			return err
		}
	}
	if _, err := observer.seen(ctx, []translators.Envelope{last}); err != nil {
		return err
	}
	if err := observer.settle(ctx); err != nil {
		return err
	}
	n := 0
	for _, e := range observer.observed() {
		if e.ID == twice.ID {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("the item arrived %d times", n)
	}
	return nil
}

// checkEcho: suite "echo".
func checkEcho(ctx context.Context, k *kit) error {
	if k.description.Echo == translators.EchoNone {
		return skip("no echo control is declared")
	}
	if err := k.needs(translators.FeatureSubscribe); err != nil {
		return err
	}
	bridge, err := k.open(ctx, proxy.RoleBridge)
	if err != nil {
		return err
	}
	defer bridge.close()
	channel := k.channel("echo")
	if err := bridge.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	own, foreign := m.item(channel, []byte("own")), m.item(channel, []byte("foreign"))
	foreign.Origin = "another-gateway"
	if err := bridge.putOK(ctx, own); err != nil {
		return err
	}
	other, err := k.open(ctx, proxy.RoleBridge)
	if err != nil {
		return err
	}
	defer other.close()
	if err := other.putOK(ctx, foreign); err != nil {
		return err
	}
	if _, err := bridge.seen(ctx, []translators.Envelope{foreign}); err != nil {
		return fmt.Errorf("somebody else's event: %w", err)
	}
	if err := bridge.settle(ctx); err != nil {
		return err
	}
	for _, e := range bridge.observed() {
		switch {
		case e.ID == own.ID && k.description.Echo == translators.EchoNative:
			return errors.New("the session's own event came back, though the backend is said not to send it")
		case e.ID == own.ID && e.Origin != gateway:
			return fmt.Errorf("the session's own event came back with origin %q instead of %q", e.Origin, gateway)
		case e.ID == foreign.ID && e.Origin == gateway:
			return errors.New("somebody else's event came with this gateway's origin")
		}
	}
	return nil
}

// checkSubscribe: suite "subscribe".
func checkSubscribe(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	m := k.maker()
	wanted, never, fence := k.channel("wanted"), k.channel("never"), k.channel("fence")
	if err := observer.watch(ctx, wanted, fence); err != nil {
		return err
	}
	inside, stray := m.item(wanted, []byte("inside")), m.item(never, []byte("stray"))
	if err := publisher.putOK(ctx, inside, stray); err != nil {
		return err
	}
	if _, err := observer.seen(ctx, []translators.Envelope{inside}); err != nil {
		return fmt.Errorf("right after the subscription was confirmed: %w", err)
	}
	if err := observer.watching.Drop(string(wanted)); err != nil {
		return err
	}
	if err := observer.settle(ctx); err != nil {
		return err
	}
	after, mark := m.item(wanted, []byte("after")), m.item(fence, []byte("mark"))
	if err := publisher.putOK(ctx, after, mark); err != nil {
		return err
	}
	if _, err := observer.seen(ctx, []translators.Envelope{mark}); err != nil {
		return err
	}
	if err := observer.settle(ctx); err != nil {
		return err
	}
	for _, e := range observer.observed() {
		switch e.ID {
		case stray.ID:
			return errors.New("an event of a channel that nobody asked for was shown")
		case after.ID:
			return errors.New("an event was shown after the subscription had ended")
		}
	}
	return nil
}

// checkLimits: suite "limits".
func checkLimits(ctx context.Context, k *kit) error {
	limit := k.description.Limits.PayloadBytes
	if limit == 0 {
		return skip("no limit of size is declared")
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	m := k.maker()
	channel := k.channel("limits")
	// What comes with the data may count towards the backend's limit.
	const margin = 2048
	fits, over := m.item(channel, bytes.Repeat([]byte("x"), max(limit-margin, limit/2))), m.item(channel, bytes.Repeat([]byte("x"), limit+1))
	results, err := p.put(ctx, fits, over)
	if err != nil {
		return err
	}
	if !results[0].Code.Accepted() {
		return fmt.Errorf("%d bytes, which fit, were answered %s: %s", len(fits.Data), results[0].Code, results[0].Detail)
	}
	if results[1].Code != translators.CodeRejectedSize {
		return fmt.Errorf("%d bytes, one too many, were answered %s, want REJECTED_SIZE", len(over.Data), results[1].Code)
	}
	return nil
}

// checkRate: suite "rate".
func checkRate(ctx context.Context, k *kit) error {
	rate := k.description.Limits.PerChannelPerSecond
	if rate == 0 {
		return skip("no rate per channel is declared")
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("rate")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	var items []translators.Envelope
	for range int(rate*3) + 3 {
		e := m.item(channel, []byte("{}"))
		e.Deadline = time.Now().Add(20 * time.Second)
		items = append(items, e)
	}
	hurried := *k
	hurried.description.Limits = translators.Limits{} // this suite does not keep to the rate
	publisher.kit = &hurried
	results, err := publisher.put(ctx, items...)
	if err != nil {
		return err
	}
	var accepted []translators.Envelope
	for i, r := range results {
		switch {
		case r.Code.Accepted():
			accepted = append(accepted, items[i])
		case r.Code != translators.CodeThrottled:
			return fmt.Errorf("item %d, over the rate, was answered %s: %s; want it throttled or accepted later", i, r.Code, r.Detail)
		}
	}
	if _, err := observer.seen(ctx, accepted); err != nil {
		return fmt.Errorf("of those that were acknowledged: %w", err)
	}
	return nil
}

// checkCredit: suite "credit".
func checkCredit(ctx context.Context, k *kit) error {
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	if p.opened.Credit <= 0 {
		return fmt.Errorf("a credit of %d lets nothing pass", p.opened.Credit)
	}
	// A little more than the first credit: the rest takes what is granted later.
	_, items := k.maker().spread("credit", min(p.opened.Credit+p.opened.Credit/8, k.affordable()))
	if err := p.putSome(ctx, items...); err != nil {
		return err
	}
	if k.carries(translators.FeatureSubscribe) {
		return k.obeysCredit(ctx)
	}
	return nil
}

// obeysCredit checks that no more is shown than the observer has granted.
func (k *kit) obeysCredit(ctx context.Context) error {
	publisher, observer, done, err := k.pairGranting(ctx, grantedFirst)
	if err != nil {
		return err
	}
	defer done()
	channels, items := k.maker().spread("granted", 5*grantedFirst)
	if err := observer.watch(ctx, channels...); err != nil {
		return err
	}
	if err := publisher.putOK(ctx, items...); err != nil {
		return err
	}
	if err := observer.until(ctx, k.options.Patience, func() bool { return len(observer.items) >= grantedFirst }); err != nil {
		return fmt.Errorf("with a credit of %d, %d events were shown: %w", grantedFirst, len(observer.observed()), err)
	}
	if err := observer.settle(ctx); err != nil {
		return err
	}
	if n := len(observer.observed()); n > grantedFirst {
		return fmt.Errorf("with a credit of %d, %d events were shown", grantedFirst, n)
	}
	if err := observer.watching.Grant(len(items)); err != nil {
		return err
	}
	_, err = observer.seen(ctx, items)
	return err
}

// grantedFirst is the credit of an observer that is slow to read.
const grantedFirst = 10

// affordable is how many items a suite may send within half a minute at the
// declared rates, on 20 channels.
func (k *kit) affordable() int {
	const seconds, channels = 30, spreadChannels
	n := 100_000.0
	if l := k.description.Limits; l.PublishesPerSecond > 0 {
		n = min(n, seconds*l.PublishesPerSecond)
	}
	if l := k.description.Limits; l.PerChannelPerSecond > 0 {
		n = min(n, seconds*channels*l.PerChannelPerSecond)
	}
	return int(n)
}

// checkThroughput: suite "throughput".
func checkThroughput(ctx context.Context, k *kit) error {
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	const seconds, channels = 2, spreadChannels
	floor := k.options.Throughput
	if l := k.description.Limits; l.PublishesPerSecond > 0 {
		floor = min(floor, l.PublishesPerSecond/2)
	}
	if l := k.description.Limits; l.PerChannelPerSecond > 0 {
		floor = min(floor, channels*l.PerChannelPerSecond/2)
	}
	_, items := k.maker().spread("throughput", int(floor*seconds))
	began := time.Now()
	if err := p.putSome(ctx, items...); err != nil {
		return err
	}
	if rate := float64(len(items)) / time.Since(began).Seconds(); rate < floor {
		return fmt.Errorf("%.0f events per second, want %.0f", rate, floor)
	}
	return nil
}

// checkPresence: suite "presence".
func checkPresence(ctx context.Context, k *kit) error {
	if err := k.needs(translators.FeaturePresence, translators.FeatureQuery); err != nil {
		return err
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	stream, err := p.instance.client.Presence(ctx)
	if err != nil {
		return err
	}
	channel := protocol.ChannelName("presence-" + string(k.channel("members")))
	member := func(id, info string) proxy.Member { return proxy.Member{UserID: id, Info: []byte(info)} }
	a, b, c := member("a", `{"n":1}`), member("b", `{"n":2}`), member("c", `{"n":3}`)
	for _, want := range [][]proxy.Member{{a, b}, {a, b}, {b, c}, {}, {c}, {}} {
		result, err := stream.SetMembers(channel, want)
		if err != nil {
			return err
		}
		if !result.Code.Accepted() {
			return fmt.Errorf("setting %d members was answered %s: %s", len(want), result.Code, result.Detail)
		}
		if err := p.awaitMembers(ctx, channel, want); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) awaitMembers(ctx context.Context, channel protocol.ChannelName, want []proxy.Member) error {
	deadline := time.Now().Add(p.kit.options.Patience)
	for {
		o, err := p.instance.client.Query(ctx, channel)
		if err != nil {
			return err
		}
		if sameMembers(o.Members, want, p.kit.description.Features[translators.FeatureUserInfo].Level >= translators.Emulated) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("members are %s, want %s", describeMembers(o.Members), describeMembers(want))
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
}

func sameMembers(got, want []proxy.Member, withInfo bool) bool {
	if len(got) != len(want) {
		return false
	}
	infos := map[string]string{}
	for _, m := range got {
		infos[m.UserID] = string(m.Info)
	}
	for _, m := range want {
		info, ok := infos[m.UserID]
		if !ok || withInfo && info != string(m.Info) {
			return false
		}
	}
	return true
}

func describeMembers(ms []proxy.Member) string {
	var texts []string
	for _, m := range ms {
		texts = append(texts, m.UserID+" "+string(m.Info))
	}
	return fmt.Sprintf("%q", texts)
}
