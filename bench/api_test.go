package bench

import (
	"testing"
)

func TestParseAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		in      string
		want    answer
		whole   bool
		refused bool
	}{
		"with a length":      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", answer{200, false, []byte("{}")}, true, false},
		"names in any case":  {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nCONNECTION: Close\r\n\r\n{}", answer{200, true, []byte("{}")}, true, false},
		"a refusal":          {"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", answer{413, false, []byte("big")}, true, false},
		"chunked":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", answer{200, false, nil}, true, false},
		"half a head":        {"HTTP/1.1 200 OK\r\nContent-Le", answer{}, false, false},
		"half a body":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", answer{}, false, false},
		"half the chunks":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", answer{}, false, false},
		"no length":          {"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", answer{}, false, true},
		"not HTTP":           {"SSH-2.0-OpenSSH_9.2p1 hello\r\n\r\n", answer{}, false, true},
		"a negative length":  {"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", answer{}, false, true},
		"a status of no use": {"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}", answer{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, whole, err := parseAnswer([]byte(tc.in))
			if (err != nil) != tc.refused || whole != tc.whole {
				t.Fatalf("parseAnswer = whole %t, error %v; want whole %t, an error: %t", whole, err, tc.whole, tc.refused)
			}
			if !whole {
				return
			}
			if got.status != tc.want.status || got.closes != tc.want.closes ||
				tc.want.body != nil && string(got.body) != string(tc.want.body) {
				t.Errorf("parseAnswer = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, whole, err := parseAnswer(b)
		if err != nil && whole {
			t.Fatal("an answer that is whole and wrong")
		}
		if len(a.body) > len(b) {
			t.Fatalf("a body of %d bytes from %d", len(a.body), len(b))
		}
	})
}
