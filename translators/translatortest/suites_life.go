package translatortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

// checkDrain: suite "drain".
func checkDrain(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channels, items := k.maker().spread("drain", min(500, k.affordable()))
	if err := observer.watch(ctx, channels...); err != nil {
		return err
	}
	numbers, err := publisher.send(ctx, items)
	if err != nil {
		return err
	}
	if err := publisher.until(ctx, suitePatience, func() bool { return len(publisher.acks) > 0 }); err != nil {
		return err
	}
	drained, err := publisher.instance.client.Drain(ctx, 10*time.Second)
	if err != nil {
		return err
	}
	if drained.Leftover > 0 {
		return fmt.Errorf("%d items were left without an answer", drained.Leftover)
	}
	results, err := publisher.results(ctx, numbers)
	if err != nil {
		return err
	}
	var accepted []translators.Envelope
	for i, r := range results {
		if r.Code.Accepted() {
			accepted = append(accepted, items[i])
		}
	}
	if _, err := observer.seen(ctx, accepted); err != nil {
		return fmt.Errorf("of those that were acknowledged: %w", err)
	}
	return nil
}

// checkOutage: suite "outage".
func checkOutage(ctx context.Context, k *kit) error {
	if k.options.Outage == nil {
		return skip("the kit was not told how to take the backend away")
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("outage")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	before := m.item(channel, []byte("before"))
	if err := publisher.putOK(ctx, before); err != nil {
		return err
	}
	if _, err := observer.seen(ctx, []translators.Envelope{before}); err != nil {
		return err
	}
	restore, err := k.options.Outage()
	if err != nil {
		return fmt.Errorf("take the backend away: %w", err)
	}
	during := m.item(channel, []byte("during"))
	during.Deadline = time.Now().Add(2 * time.Second)
	results, err := publisher.put(ctx, during)
	restore()
	if err != nil {
		return err
	}
	if results[0].Code.Accepted() {
		return fmt.Errorf("an item was answered %s while the backend was away", results[0].Code)
	}
	return k.recovers(ctx, publisher, observer, m)
}

// recovers checks that events pass again and that the hole was told. It tries
// again and again, as what is published before the observer is back is lost to
// it.
func (k *kit) recovers(ctx context.Context, publisher, observer *peer, m *maker) error {
	const patience, retry = 30 * time.Second, 250 * time.Millisecond
	deadline := time.Now().Add(patience)
	var after []translators.Envelope
	for {
		e := m.item(k.channel("outage"), []byte("after"))
		err := publisher.putOK(ctx, e)
		if err == nil {
			after = append(after, e)
			err = observer.seesAny(ctx, after, retry)
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after the backend came back: %w", err)
		}
	}
	told := false
	err := observer.until(ctx, k.options.Patience, func() bool {
		for _, s := range observer.states {
			told = told || s.State == translators.StateGap || s.State == translators.StateDetached
		}
		return told
	})
	if err != nil {
		return errors.New("the subscription was interrupted, but neither DETACHED nor GAP was told")
	}
	return nil
}

// checkKill: suite "kill".
func checkKill(ctx context.Context, k *kit) error {
	if err := k.needsProcess(); err != nil {
		return err
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channels, items := k.maker().spread("kill", min(1000, k.affordable()))
	if err := observer.watch(ctx, channels...); err != nil {
		return err
	}
	half := len(items) / 2
	if _, err := publisher.send(ctx, items[:half]); err != nil {
		return err
	}
	if err := publisher.until(ctx, suitePatience, func() bool { return len(publisher.acks) > 0 }); err != nil {
		return err
	}
	if err := syscall.Kill(publisher.instance.process.PID(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the plugin: %w", err)
	}
	<-publisher.instance.process.Done()
	unanswered := publisher.unanswered(items)
	again, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	defer again.close()
	if err := again.putOK(ctx, unanswered...); err != nil {
		return err
	}
	_, err = observer.seen(ctx, items)
	return err
}

// unanswered returns the items without a result, in order. Batches were taken
// off the list one after the other.
func (p *peer) unanswered(items []translators.Envelope) []translators.Envelope {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []translators.Envelope
	rest := items
	for number := uint64(1); number <= p.batch && len(rest) > 0; number++ {
		n := p.sizes[number]
		if _, ok := p.acks[number]; !ok {
			left = append(left, rest[:n]...)
		}
		rest = rest[n:]
	}
	return append(left, rest...)
}

// checkHostDeath: suite "host".
func checkHostDeath(ctx context.Context, k *kit) error {
	if err := k.needsProcess(); err != nil {
		return err
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	lease, err := p.instance.client.Lease(ctx)
	if err != nil {
		return err
	}
	if _, err := lease.Beat(); err != nil {
		return err
	}
	p.cancel() // all streams end, as they do when the gateway dies
	select {
	case <-p.instance.process.Done():
		return nil
	case <-time.After(plugins.LeaseExpiry + 5*time.Second):
		return fmt.Errorf("the process is still there %s later", plugins.LeaseExpiry+5*time.Second)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkSecrets: suite "secrets".
func checkSecrets(ctx context.Context, k *kit) error {
	if err := k.needsProcess(); err != nil {
		return err
	}
	secrets := k.secrets()
	if len(secrets) == 0 {
		return skip("no secret setting was given")
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	m := k.maker()
	_, err = p.put(ctx, m.item(k.channel("secrets"), []byte("{}")))
	if err == nil {
		_, err = p.instance.client.Drain(ctx, 5*time.Second)
	}
	p.close()
	if err != nil {
		return err
	}
	for _, line := range p.instance.process.Tail() {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				return fmt.Errorf("a secret is in the output: %s", strings.ReplaceAll(line, secret, "[the secret]"))
			}
		}
	}
	return nil
}

// secrets returns the texts that must not be shown.
func (k *kit) secrets() []string {
	secrets := append([]string(nil), k.options.Secrets...)
	for name, p := range k.description.Settings.Properties {
		if !p.WriteOnly {
			continue
		}
		switch v := k.options.Settings[name].(type) {
		case string:
			secrets = append(secrets, v)
		case proxy.Secret:
			secrets = append(secrets, v.Reveal())
		}
	}
	return secrets
}

// checkLeaks: suite "leaks".
func checkLeaks(ctx context.Context, k *kit) error {
	if k.options.Translator != nil {
		return checkGoroutines(ctx, k)
	}
	if runtime.GOOS != "linux" {
		return skip("descriptors are counted on Linux only")
	}
	if err := k.needs(translators.FeatureSubscribe); err != nil {
		return err
	}
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	cycle := func(n int) error {
		for range n {
			channel := k.channel("leaks")
			p.mu.Lock()
			p.states = nil
			p.mu.Unlock()
			if err := p.watch(ctx, channel); err != nil {
				return err
			}
			if err := p.watching.Drop(string(channel)); err != nil {
				return err
			}
		}
		return p.settle(ctx)
	}
	if err := cycle(5); err != nil {
		return err
	}
	before, err := descriptors(p.instance.process.PID())
	if err != nil {
		return err
	}
	const cycles, allowed = 50, 10
	if err := cycle(cycles); err != nil {
		return err
	}
	after, err := descriptors(p.instance.process.PID())
	if err == nil && after > before+allowed {
		err = fmt.Errorf("%d descriptors were open before %d subscriptions came and went, %d after", before, cycles, after)
	}
	return err
}

func descriptors(pid int) (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(open), err
}

func checkGoroutines(ctx context.Context, k *kit) error {
	cycle := func() error {
		p, err := k.open(ctx, proxy.RoleShadow)
		if err != nil {
			return err
		}
		defer p.close()
		if k.needs(translators.FeatureSubscribe) == nil {
			if err := p.watch(ctx, k.channel("leaks")); err != nil {
				return err
			}
		}
		_, err = p.instance.client.Drain(ctx, 5*time.Second)
		return err
	}
	if err := cycle(); err != nil {
		return err
	}
	before := runtime.NumGoroutine()
	const cycles, allowed = 20, 10
	for range cycles {
		if err := cycle(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(k.options.Patience)
	for runtime.NumGoroutine() > before+allowed {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d goroutines ran before %d sessions were opened and closed, %d after", before, cycles, runtime.NumGoroutine())
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
