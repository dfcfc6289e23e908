package bench

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// unmask reads a client frame as a server would.
func unmask(t *testing.T, b []byte) (opcode byte, payload []byte) {
	t.Helper()
	if b[1]&maskBit == 0 {
		t.Fatal("client frame is not masked")
	}
	head, length := 2, int(b[1]&^maskBit)
	switch length {
	case 126:
		head, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		head, length = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	mask, body := b[head:head+4], b[head+4:]
	if len(body) != length {
		t.Fatalf("frame says %d bytes and has %d", length, len(body))
	}
	payload = make([]byte, length)
	for i := range body {
		payload[i] = body[i] ^ mask[i%4]
	}
	return b[0] & 0x0f, payload
}

func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		want := bytes.Repeat([]byte{'p'}, size)
		opcode, got := unmask(t, appendFrame(nil, opText, want))
		if opcode != opText || !bytes.Equal(got, want) {
			t.Errorf("a frame of %d bytes came out as opcode %d with %d bytes", size, opcode, len(got))
		}
	}
}

func TestNextFrame(t *testing.T) {
	long := append([]byte{0x81, 126, 0x01, 0x00}, make([]byte, 256)...)
	for name, tc := range map[string]struct {
		in      []byte
		opcode  byte
		payload int
		size    int
		refused bool
	}{
		"a short text":              {in: []byte("\x81\x02hi"), opcode: opText, payload: 2, size: 4},
		"a text and more behind it": {in: []byte("\x81\x02hi\x81\x05he"), opcode: opText, payload: 2, size: 4},
		"a text of 256 bytes":       {in: long, opcode: opText, payload: 256, size: 260},
		"an empty ping":             {in: []byte{0x89, 0}, opcode: opPing, size: 2},
		"half a header":             {in: []byte{0x81}},
		"half a long header":        {in: []byte{0x81, 126, 1}, opcode: opText},
		"half a payload":            {in: []byte("\x81\x05he"), opcode: opText},
		"a masked frame":            {in: []byte{0x81, 0x80, 0, 0, 0, 0}, refused: true},
		"a fragment":                {in: []byte("\x01\x02hi"), refused: true},
		"a compressed frame":        {in: []byte("\xc1\x02hi"), refused: true},
		"a length beyond all reason": {
			in: []byte{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, refused: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			opcode, payload, size, err := nextFrame(tc.in)
			if (err != nil) != tc.refused {
				t.Fatalf("nextFrame: error %v, want one: %t", err, tc.refused)
			}
			if err == nil && (size != tc.size || len(payload) != tc.payload || size > 0 && opcode != tc.opcode) {
				t.Errorf("nextFrame = opcode %d, %d bytes, size %d; want %d, %d, %d",
					opcode, len(payload), size, tc.opcode, tc.payload, tc.size)
			}
		})
	}
}

// FuzzNextFrame: whatever a server sends, a frame lies within the input and
// splitting makes progress.
func FuzzNextFrame(f *testing.F) {
	f.Add([]byte("\x81\x02hi"))
	f.Add([]byte{0x81, 126, 0, 1, 'x', 0x89, 0})
	f.Add([]byte{0x88, 2, 3, 0xe8})
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			_, payload, size, err := nextFrame(b)
			if err != nil || size == 0 {
				return
			}
			if size > len(b) || len(payload) > size {
				t.Fatalf("frame of %d bytes with a payload of %d from %d bytes", size, len(payload), len(b))
			}
			b = b[size:]
		}
	})
}
