package bench

import (
	"bytes"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// marker precedes the message number in every payload. None of the
	// dialects escapes its bytes.
	marker       = "~#"
	numberDigits = 8
	// MinPayload is the smallest payload in bytes that can be followed.
	MinPayload = len(marker) + numberDigits

	ringSize = 1 << 16 // messages that may be on their way at once

	longestLatency = 120_000_000 // microseconds
)

// message is what the ledger remembers of one event on its way.
type message struct {
	number uint32
	lane   uint32 // the publisher, whose events must arrive in order
	seq    uint32 // counted within the lane, from 1
	want   int32  // deliveries still due
	at     int64  // loop clock when it was, or should have been, sent
}

type cell struct{ receiver, lane, seq uint32 }

// ledger numbers events and accounts for every delivery. It expects the
// events of one lane in order at each receiver; lanes are independent.
type ledger struct {
	receivers int
	lanes     int
	private   bool // a lane is due at one receiver only: number lane % receivers
	ring      []message
	last      []uint32 // highest sequence number seen, per receiver and lane
	sent      []uint32 // per lane
	missing   map[cell]struct{}
	next      uint32
	at        int // where the marker was in the last payload

	outstanding int // messages with deliveries due
	wanted      uint64
	delivered   uint64 // each delivery once
	duplicated  uint64
	disordered  uint64 // delivered, but after a later one of the same lane
	unknown     uint64 // numbers that were never sent or are long forgotten

	measuring bool
	measured  uint64 // deliveries while measuring
	latency   *hdrhistogram.Histogram
}

// newLedger expects every lane at every receiver, or each lane at its own one.
func newLedger(receivers, lanes int, private bool) *ledger {
	cells := receivers * lanes
	if private {
		cells = lanes
	}
	return &ledger{
		receivers: receivers,
		lanes:     lanes,
		private:   private,
		ring:      make([]message, ringSize),
		last:      make([]uint32, cells),
		sent:      make([]uint32, lanes),
		missing:   map[cell]struct{}{},
		latency:   hdrhistogram.New(1, longestLatency, 3),
	}
}

// issue numbers the next event of a lane, due at want receivers.
func (l *ledger) issue(lane, want int, at int64) uint32 {
	l.next++
	l.sent[lane]++
	m := &l.ring[l.next%ringSize]
	if m.want > 0 { // overtaken by 65,535 later ones: it will not come
		l.outstanding--
	}
	*m = message{number: l.next, lane: uint32(lane), seq: l.sent[lane], want: int32(want), at: at}
	l.wanted += uint64(want)
	if want > 0 {
		l.outstanding++
	}
	return l.next
}

// appendPayload appends a payload of size bytes that carries a number.
func appendPayload(dst []byte, number uint32, size int) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, marker...)
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hex[number>>shift&15])
	}
	for range size - MinPayload {
		dst = append(dst, 'x')
	}
	return dst
}

// observe accounts for every numbered payload in text and returns how many
// there were.
func (l *ledger) observe(receiver int, text []byte, now int64) int {
	found := 0
	for {
		i := l.find(text)
		if i < 0 || len(text) < i+MinPayload {
			return found
		}
		found++
		number, ok := parseNumber(text[i+len(marker) : i+MinPayload])
		if ok {
			l.deliver(uint32(receiver), number, now)
		} else {
			l.unknown++
		}
		text = text[i+MinPayload:]
	}
}

// find looks where the last payload had its marker before it searches.
func (l *ledger) find(text []byte) int {
	if l.at+1 < len(text) && text[l.at] == marker[0] && text[l.at+1] == marker[1] {
		return l.at
	}
	i := bytes.Index(text, []byte(marker))
	if i >= 0 {
		l.at = i
	}
	return i
}

func parseNumber(digits []byte) (uint32, bool) {
	var n uint32
	for _, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			n = n<<4 | uint32(d-'0')
		case 'a' <= d && d <= 'f':
			n = n<<4 | uint32(d-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func (l *ledger) deliver(receiver, number uint32, now int64) {
	m := &l.ring[number%ringSize]
	if m.number != number || number == 0 {
		l.unknown++
		return
	}
	i := int(receiver)*l.lanes + int(m.lane)
	if l.private {
		if i = int(m.lane); i%l.receivers != int(receiver) {
			l.unknown++ // somebody else's channel
			return
		}
	}
	last := &l.last[i]
	switch {
	case m.seq == *last+1:
		*last = m.seq
	case m.seq > *last:
		for seq := *last + 1; seq < m.seq; seq++ {
			l.missing[cell{receiver, m.lane, seq}] = struct{}{}
		}
		*last = m.seq
	default:
		late := cell{receiver, m.lane, m.seq}
		if _, ok := l.missing[late]; !ok {
			l.duplicated++
			return
		}
		delete(l.missing, late)
		l.disordered++
	}
	l.delivered++
	if m.want--; m.want == 0 {
		l.outstanding--
	}
	if l.measuring {
		l.measured++
		// Values past the longest latency count as lost at the end of the run.
		_ = l.latency.RecordValue((now - m.at) / 1000)
	}
}

// lost returns how many deliveries are due and have not come.
func (l *ledger) lost() int64 { return int64(l.wanted) - int64(l.delivered) }

// verify describes what went wrong, or returns nil.
func (l *ledger) verify() error {
	if l.lost() == 0 && l.duplicated == 0 && l.disordered == 0 && l.unknown == 0 {
		return nil
	}
	return fmt.Errorf("bench: %d lost, %d duplicated, %d out of order, %d unknown of %d deliveries",
		l.lost(), l.duplicated, l.disordered, l.unknown, l.wanted)
}
