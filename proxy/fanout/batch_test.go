package fanout

import (
	"bytes"
	"strings"
	"testing"
)

func TestBatchFrames(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 65535, 65536, 100000}
	var b Batch
	var want []byte
	for i, size := range sizes {
		payload := strings.Repeat(string(rune('a'+i)), size)
		b.add([]byte(payload))
		switch {
		case size < 126:
			want = append(want, 0x81, byte(size))
		case size < 65536:
			want = append(want, 0x81, 126, byte(size>>8), byte(size))
		default:
			want = append(want, 0x81, 127, 0, 0, 0, 0, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
		}
		want = append(want, payload...)
	}
	if !bytes.Equal(b.Wire(0), want) {
		t.Error("the frames are not encoded as RFC 6455 says")
	}
	if b.Len() != len(sizes) {
		t.Errorf("Len() = %d, want %d", b.Len(), len(sizes))
	}
	tail := len(want)
	for i := len(sizes) - 1; i >= 0; i-- {
		tail -= len(b.frame(i))
		if got := b.Wire(i); !bytes.Equal(got, want[tail:]) {
			t.Errorf("Wire(%d) has %d bytes, want the last %d", i, len(got), len(want)-tail)
		}
		if got, want := string(b.Payload(i)), strings.Repeat(string(rune('a'+i)), sizes[i]); got != want {
			t.Errorf("Payload(%d) has %d bytes, want %d", i, len(got), len(want))
		}
	}
}

func TestOne(t *testing.T) {
	b := One([]byte("hello"))
	if got, want := string(b.Wire(0)), "\x81\x05hello"; b.Len() != 1 || got != want {
		t.Errorf("One: %d frames %q, want 1 of %q", b.Len(), got, want)
	}
}
