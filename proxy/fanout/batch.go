package fanout

import "encoding/binary"

// Batch is an immutable run of server frames, kept as they go over a
// WebSocket: each an unmasked text frame (RFC 6455, section 5.2), one after
// the other in one piece of memory.
type Batch struct {
	wire []byte
	ends []int // where each frame ends in wire
}

// One returns a batch of a single frame.
func One(payload []byte) *Batch {
	b := &Batch{wire: make([]byte, 0, len(payload)+maxHeader), ends: make([]int, 0, 1)}
	b.add(payload)
	return b
}

// Len returns the number of frames.
func (b *Batch) Len() int { return len(b.ends) }

// Wire returns the frames from number from to the last, ready to be written
// to a WebSocket. The caller must not change it.
func (b *Batch) Wire(from int) []byte {
	if from == 0 {
		return b.wire
	}
	return b.wire[b.ends[from-1]:]
}

// Payload returns the text of frame i. The caller must not change it.
func (b *Batch) Payload(i int) []byte {
	f := b.frame(i)
	switch f[1] {
	case len16:
		return f[4:]
	case len64:
		return f[10:]
	default:
		return f[2:]
	}
}

func (b *Batch) frame(i int) []byte {
	if i == 0 {
		return b.wire[:b.ends[0]]
	}
	return b.wire[b.ends[i-1]:b.ends[i]]
}

func (b *Batch) add(payload []byte) {
	b.wire = append(appendHeader(b.wire, len(payload)), payload...)
	b.ends = append(b.ends, len(b.wire))
}

// with returns a batch of the frames of b and then those of more. It may use
// memory behind b's frames, so b must be followed by one batch at most.
func (b *Batch) with(more *Batch) *Batch {
	joined := &Batch{wire: append(b.wire, more.wire...), ends: append(b.ends, more.ends...)}
	for i := len(b.ends); i < len(joined.ends); i++ {
		joined.ends[i] += len(b.wire)
	}
	return joined
}

const (
	maxHeader = 10
	finalText = 0x81
	len16     = 126
	len64     = 127
)

func appendHeader(dst []byte, size int) []byte {
	switch {
	case size < len16:
		return append(dst, finalText, byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, finalText, len16), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(dst, finalText, len64), uint64(size))
	}
}
