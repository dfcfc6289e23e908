package translatortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// corpus returns data that something on the way might change.
func corpus() map[string][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return map[string][]byte{
		"an object":                   []byte(`{"message":"hello","n":1.50,"big":12345678901234567890}`),
		"an object with its spaces":   []byte("{ \"b\": 1,\n\t\"a\": 2 }"),
		"an object with a key twice":  []byte(`{"a":1,"a":2}`),
		"an array":                    []byte(`[1,[],{}]`),
		"a bare word":                 []byte("null"),
		"a number with an exponent":   []byte("1e400"),
		"text that is not JSON":       []byte(`hello "world`),
		"half an object":              []byte(`{"a":`),
		"empty":                       {},
		"a space":                     []byte(" "),
		"a zero byte":                 []byte("a\x00b"),
		"every byte there is":         all,
		"text beyond the first plane": []byte("h\u00e9llo \u4e16\u754c \U0001F680 e\u0301"),
		"escapes":                     []byte(`"\u00e9\ud83d\ude80\\n\/"`),
		"line ends":                   []byte("a\r\nb\nc\r"),
		"base64":                      []byte(`{"nonce":"4sVYwy4j/8dCcjyxtPCWyk19GaaViaW9","ciphertext":"/GMESnFGlbNn01BuBjp31XYa3i9vZsGKR8fgR9EDhXKx3lzGiUD501A="}`),
		"markup":                      []byte(`<script>alert("&amp;")</script>`),
		"ten kilobytes":               []byte(`"` + strings.Repeat("0123456789", 1023) + `"`),
	}
}

// checkBytes: suite "bytes".
func checkBytes(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("bytes")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	names := map[proxy.EventID]string{}
	var items []translators.Envelope
	for name, data := range corpus() {
		if limit := k.description.Limits.PayloadBytes; limit > 0 && len(data) > limit {
			continue
		}
		e := m.item(channel, data)
		names[e.ID] = name
		items = append(items, e)
	}
	results, err := publisher.put(ctx, items...)
	if err != nil {
		return err
	}
	accepted := items[:0:0]
	for i, r := range results {
		switch {
		case r.Code.Accepted():
			accepted = append(accepted, items[i])
		case r.Code == translators.CodeUnsupported && (len(items[i].Data) == 0 || !utf8.Valid(items[i].Data)):
			// Where frames are text, or data must not be empty, a plain refusal is right.
		default:
			return fmt.Errorf("%s: answered %s: %s", names[items[i].ID], r.Code, r.Detail)
		}
	}
	seen, err := observer.seen(ctx, accepted)
	if err != nil {
		return err
	}
	want := byID(accepted)
	for _, e := range seen {
		if w, ok := want[e.ID]; ok && !bytes.Equal(e.Data, w.Data) {
			return fmt.Errorf("%s: published %q, arrived %q", names[e.ID], shorten(w.Data), shorten(e.Data))
		}
	}
	return nil
}

func byID(items []translators.Envelope) map[proxy.EventID]translators.Envelope {
	index := make(map[proxy.EventID]translators.Envelope, len(items))
	for _, e := range items {
		index[e.ID] = e
	}
	return index
}

func shorten(data []byte) string { return string(data[:min(len(data), 100)]) }

// checkFields: suite "fields".
func checkFields(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channel := k.channel("fields")
	if err := observer.watch(ctx, channel); err != nil {
		return err
	}
	m := k.maker()
	var items []translators.Envelope
	for _, name := range []string{
		"e", "client-typing", "App\\Events\\OrderShipped", "with space", "h\u00e9llo", "a:b/c?d=e&f#g", "100%", strings.Repeat("n", 200),
	} {
		if limit := k.description.Limits.EventNameBytes; limit > 0 && len(name) > limit {
			continue
		}
		e := m.item(channel, []byte("{}"))
		e.Event = name
		items = append(items, e)
	}
	sender := m.item(channel, []byte("{}"))
	sender.Event, sender.Kind, sender.UserID, sender.Except = "client-x", translators.KindClientEvent, "user 1/\u00e9", "123.456"
	items = append(items, sender)
	if err := publisher.putOK(ctx, items...); err != nil {
		return err
	}
	seen, err := observer.seen(ctx, items)
	if err != nil {
		return err
	}
	var wrong []error
	want := byID(items)
	for _, e := range seen {
		if w, ok := want[e.ID]; ok {
			wrong = append(wrong, k.compareFields(e, w))
		}
	}
	return errors.Join(wrong...)
}

// compareFields compares what the translator declares to carry.
func (k *kit) compareFields(got, want translators.Envelope) error {
	var wrong []error
	check := func(field string, is, due any) {
		if is != due {
			wrong = append(wrong, fmt.Errorf("event %q: %s is %q, want %q", want.Event, field, is, due))
		}
	}
	check("event name", got.Event, want.Event)
	check("channel", got.Channel, want.Channel)
	if k.carries(translators.FeatureIdentity) {
		check("origin", got.Origin, want.Origin)
	}
	if want.Kind == translators.KindClientEvent && k.carries(translators.FeatureClientEvents) {
		check("kind", got.Kind, want.Kind)
		check("user id", got.UserID, want.UserID)
	}
	if k.carries(translators.FeatureExcludeSocket) {
		check("excluded socket", got.Except, want.Except)
	}
	return errors.Join(wrong...)
}

// checkNames: suite "names".
func checkNames(ctx context.Context, k *kit) error {
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	channels := channelNames(k, 100)
	if limit := k.description.Limits.Channels; limit > 0 {
		channels = channels[:min(len(channels), limit)]
	}
	if err := observer.watch(ctx, channels...); err != nil {
		return err
	}
	m := k.maker()
	var items []translators.Envelope
	for _, channel := range channels {
		items = append(items, m.item(channel, []byte(channel)))
	}
	if err := publisher.putOK(ctx, items...); err != nil {
		return err
	}
	seen, err := observer.seen(ctx, items)
	if err != nil {
		return err
	}
	times := map[protocol.ChannelName]int{}
	for _, e := range seen {
		if string(e.Data) != string(e.Channel) {
			return fmt.Errorf("what was published on %q arrived on %q", e.Data, e.Channel)
		}
		times[e.Channel]++
	}
	for channel, n := range times {
		if n > 1 {
			return fmt.Errorf("one event on %q arrived %d times", channel, n)
		}
	}
	return k.refusesLongNames(ctx, publisher, m)
}

// refusesLongNames checks the declared limit of channel names.
func (k *kit) refusesLongNames(ctx context.Context, p *peer, m *maker) error {
	limit := k.description.Limits.ChannelNameBytes
	if limit == 0 || limit >= protocol.MaxChannelNameLength {
		return nil
	}
	long := m.item(protocol.ChannelName(strings.Repeat("x", limit+1)), []byte("{}"))
	results, err := p.put(ctx, long)
	if err == nil && results[0].Code != translators.CodeRejectedName {
		err = fmt.Errorf("a channel name of %d characters was answered %s, want REJECTED_NAME", limit+1, results[0].Code)
	}
	return err
}

// checkOrder: suite "order".
func checkOrder(ctx context.Context, k *kit) error {
	if k.description.Ordering == translators.OrderNone {
		return skip("the backend promises no order")
	}
	publisher, observer, done, err := k.pair(ctx)
	if err != nil {
		return err
	}
	defer done()
	const channels, each = 20, 100
	var names []protocol.ChannelName
	for c := range channels {
		names = append(names, k.channel(fmt.Sprintf("order-%d", c)))
	}
	if err := observer.watch(ctx, names...); err != nil {
		return err
	}
	m := k.maker()
	var items []translators.Envelope
	for i := range each {
		for _, name := range names {
			items = append(items, m.item(name, fmt.Append(nil, i)))
		}
	}
	if err := publisher.putOK(ctx, items...); err != nil {
		return err
	}
	seen, err := observer.seen(ctx, items)
	if err != nil {
		return err
	}
	next := map[protocol.ChannelName]int{}
	for _, e := range seen {
		if want := fmt.Sprint(next[e.Channel]); string(e.Data) != want {
			return fmt.Errorf("on %s event %s arrived where %s was due", e.Channel, e.Data, want)
		}
		next[e.Channel]++
	}
	return nil
}
