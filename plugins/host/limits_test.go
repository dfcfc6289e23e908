package host_test

import (
	"testing"

	"github.com/offramp/offramp/proxy"
)

// TestTheHostKeepsToLimitsInForce: the plugin's session says that it takes 10
// bytes, and would take whatever comes.
func TestTheHostKeepsToLimitsInForce(t *testing.T) {
	out := &records{}
	h, stop := start(t, settingsFor(t, out, backend("narrow", nil)))
	defer stop()
	var p publisher
	for _, data := range []string{"small", "larger than ten bytes", "small again"[:10]} {
		h.Offer(p.publish("room", "message", data))
	}
	waitFor(t, "every answer", func() bool { return len(out.of(proxy.KindMirrored)) == 3 })
	answers := map[uint64]string{}
	for _, r := range out.of(proxy.KindMirrored) {
		answers[r.Event.ID.Seq] = r.Text
	}
	if answers[1] != "OK" || answers[2] != "REJECTED_SIZE" || answers[3] != "OK" {
		t.Errorf("answers %v", answers)
	}
	s := h.Status()[0]
	if s.Refused != 1 || s.Results["REJECTED_SIZE"] != 1 || s.LastRefused != "its data has 21 bytes, and the plugin takes 10" {
		t.Errorf("refused %d, %q, results %v", s.Refused, s.LastRefused, s.Results)
	}
	waitFor(t, "what was sent to be observed", func() bool { return len(out.of(proxy.KindDelivered)) == 2 })
}
