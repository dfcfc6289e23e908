package translatortest

import (
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// maker makes envelopes with ids and sequence numbers of their own.
type maker struct {
	kit  *kit
	node uint64
	seq  uint64
}

func (k *kit) maker() *maker {
	return &maker{kit: k, node: uint64(time.Now().UnixNano())}
}

// channel returns a channel name of this run.
func (k *kit) channel(name string) protocol.ChannelName {
	return protocol.ChannelName("kit-" + k.run + "-" + name)
}

func (m *maker) item(channel protocol.ChannelName, data []byte) translators.Envelope {
	m.seq++
	now := time.Now()
	return translators.Envelope{
		ID: proxy.EventID{Node: m.node, Seq: m.seq}, App: app, Channel: channel, Event: fmt.Sprintf("kit-event-%d", m.seq), Data: data,
		Lane: laneOf(channel), Seq: m.seq, Origin: gateway, Hops: 1, Ingress: now, Deadline: now.Add(suitePatience),
	}
}

// spread makes n items on some channels, in turns, so that a rate per channel
// does not make them take long.
func (m *maker) spread(name string, n int) ([]protocol.ChannelName, []translators.Envelope) {
	channels := make([]protocol.ChannelName, min(n, spreadChannels))
	for i := range channels {
		channels[i] = m.kit.channel(fmt.Sprintf("%s-%d", name, i))
	}
	items := make([]translators.Envelope, n)
	for i := range items {
		items[i] = m.item(channels[i%len(channels)], []byte(`{"n":1}`))
	}
	return channels, items
}

const spreadChannels = 20

// laneOf spreads channels over lanes as a gateway does.
func laneOf(channel protocol.ChannelName) uint32 {
	var sum uint32
	for _, c := range []byte(channel) {
		sum = sum*31 + uint32(c)
	}
	return sum % 256
}
