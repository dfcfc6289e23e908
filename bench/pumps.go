package bench

import "fmt"

// apiPump publishes over HTTP. Every connection is a lane, since the next
// request on it follows the last one's answer.
type apiPump struct {
	r       *run
	channel string
	want    int // receivers of an event

	payloads [][]byte
	request  []byte
}

func (r *run) newAPIPump(channel string, want int) *apiPump {
	return &apiPump{r: r, channel: channel, want: want, payloads: make([][]byte, r.load.Batch)}
}

func (p *apiPump) ready() bool { return len(p.r.api.free) > 0 }

func (p *apiPump) send(at int64) {
	c := p.r.api.take()
	for i := range p.payloads {
		number := p.r.ledger.issue(c.lane, p.want, at)
		p.payloads[i] = appendPayload(p.payloads[i][:0], number, p.r.load.Payload)
	}
	p.request = p.r.dialect.publish(p.request[:0], p.channel, p.payloads)
	c.request(p.request, at)
}

// roundPump publishes to one channel after the other, each a lane of its own.
// A connection has every so manyth channel to itself: two that published to
// the same one would be in no order.
type roundPump struct {
	r       *run
	names   []string
	next    []int // per connection
	payload []byte
	request []byte
}

func (r *run) newRoundPump(names []string) *roundPump {
	p := &roundPump{r: r, names: names, next: make([]int, len(r.api.conns))}
	for i := range p.next {
		p.next[i] = i
	}
	return p
}

func (p *roundPump) ready() bool { return len(p.r.api.free) > 0 }

func (p *roundPump) send(at int64) {
	c := p.r.api.take()
	i := p.next[c.lane]
	if p.next[c.lane] += len(p.next); p.next[c.lane] >= len(p.names) {
		p.next[c.lane] = c.lane
	}
	number := p.r.ledger.issue(i, 1, at)
	p.payload = appendPayload(p.payload[:0], number, p.r.load.Payload)
	p.request = p.r.dialect.publish(p.request[:0], p.names[i], [][]byte{p.payload})
	c.request(p.request, at)
}

// clientPump lets one subscriber after the other send a client event.
type clientPump struct {
	r       *run
	channel string
	want    int
	next    int
	payload []byte
	text    []byte
}

func (r *run) newClientPump(channel string) *clientPump {
	want := r.load.Subscribers
	if !r.dialect.echoes() {
		want--
	}
	return &clientPump{r: r, channel: channel, want: want}
}

func (p *clientPump) ready() bool { return true }

func (p *clientPump) send(at int64) {
	number := p.r.ledger.issue(p.next, p.want, at)
	p.payload = appendPayload(p.payload[:0], number, p.r.load.Payload)
	p.text = p.r.dialect.clientEvent(p.text[:0], p.channel, p.payload)
	p.r.fleet.clients[p.next].write(opText, p.text)
	p.next = (p.next + 1) % p.r.load.Senders
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return names
}
