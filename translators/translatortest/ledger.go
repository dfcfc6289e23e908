package translatortest

import (
	"sync"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// ledger knows what was published, by channel and event name, which the kit
// never uses twice for different items. It tells which item an observed event
// is where the backend carries no identity.
type ledger struct {
	mu  sync.Mutex
	ids map[ledgerKey]proxy.EventID
}

type ledgerKey struct {
	channel protocol.ChannelName
	event   string
}

func newLedger() *ledger { return &ledger{ids: map[ledgerKey]proxy.EventID{}} }

func (l *ledger) add(items []translators.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range items {
		l.ids[ledgerKey{e.Channel, e.Event}] = e.ID
	}
}

// identify gives an observed event the id of the item that it must be, unless
// the translator declares that ids travel with the message.
func (k *kit) identify(e *translators.Envelope) {
	if !e.ID.IsZero() || k.carries(translators.FeatureIdentity) {
		return
	}
	k.sent.mu.Lock()
	defer k.sent.mu.Unlock()
	e.ID = k.sent.ids[ledgerKey{e.Channel, e.Event}]
}

// carries reports whether a feature is declared to work.
func (k *kit) carries(f translators.Feature) bool {
	return k.description.Features[f].Level >= translators.Emulated
}
