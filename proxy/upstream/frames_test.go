package upstream

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// frame encodes one frame, masked with a key that is not 0.
func frame(first byte, masked bool, payload string) []byte {
	out := []byte{first}
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		out = append(out, bit|byte(n))
	case n < 1<<16:
		out = append(out, bit|126, byte(n>>8), byte(n))
	default:
		out = append(out, bit|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if !masked {
		return append(out, payload...)
	}
	key := []byte{1, 2, 3, 4}
	out = append(out, key...)
	for i := range len(payload) {
		out = append(out, payload[i]^key[i&3])
	}
	return out
}

func scan(chunks ...[]byte) (seen []string, between bool) {
	s := &scanner{emit: func(opcode byte, payload []byte) {
		if opcode == opClose {
			code, reason := closeCode(payload)
			seen = append(seen, "close "+string(rune(code))+reason)
			return
		}
		seen = append(seen, string(payload))
	}}
	for _, c := range chunks {
		s.feed(c)
	}
	return seen, s.between()
}

func TestScannerReadsMessages(t *testing.T) {
	long := strings.Repeat("l", 70000)
	huge := strings.Repeat("h", maxMessage+1)
	tests := map[string]struct {
		frames [][]byte
		want   []string
	}{
		"short, middle, long":              {[][]byte{frame(0x81, true, "a"), frame(0x81, false, long[:300]), frame(0x81, true, long)}, []string{"a", long[:300], long}},
		"an empty message":                 {[][]byte{frame(0x81, true, ""), frame(0x81, true, "a")}, []string{"", "a"}},
		"fragments with a ping in between": {[][]byte{frame(0x01, true, "ab"), frame(0x89, true, "ping"), frame(0x00, true, ""), frame(0x80, true, "cd")}, []string{"abcd"}},
		"a binary message is passed over":  {[][]byte{frame(0x02, true, "x"), frame(0x80, true, "y"), frame(0x81, true, "a")}, []string{"a"}},
		"one that is too long as well":     {[][]byte{frame(0x81, true, huge), frame(0x81, true, "a")}, []string{"a"}},
		"a close frame":                    {[][]byte{frame(0x88, true, "\x10\x68bye")}, []string{"close " + string(rune(4200)) + "bye"}},
		"a close frame that says nothing":  {[][]byte{frame(0x88, true, "")}, []string{"close " + string(rune(1005))}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			all := bytes.Join(tc.frames, nil)
			if got, between := scan(all); !slices.Equal(got, tc.want) || !between {
				t.Errorf("at once: %.80q, between %v", got, between)
			}
			if len(all) > 1000 {
				return
			}
			var bytewise [][]byte
			for i := range all {
				bytewise = append(bytewise, all[i:i+1])
			}
			if got, between := scan(bytewise...); !slices.Equal(got, tc.want) || !between {
				t.Errorf("byte by byte: %.80q, between %v", got, between)
			}
			if _, between := scan(all[:len(all)-1]); between {
				t.Error("between frames before the last byte")
			}
		})
	}
}

// FuzzScanner feeds any bytes in any pieces: the same must be seen as when
// they come at once, and nothing may be kept without bound.
func FuzzScanner(f *testing.F) {
	f.Add(frame(0x81, true, `{"event":"pusher:ping"}`), uint64(1))
	f.Add(append(frame(0x01, false, "a"), frame(0x80, false, "b")...), uint64(2))
	f.Add(frame(0x88, false, "\x0f\xa0"), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		want, _ := scan(stream)
		rng := rand.New(rand.NewPCG(seed, 0))
		var chunks [][]byte
		for rest := stream; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got, _ := scan(chunks...); !slices.Equal(got, want) {
			t.Errorf("in pieces %q, at once %q", got, want)
		}
	})
}
