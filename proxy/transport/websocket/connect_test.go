package websocket_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestConnect(t *testing.T) {
	g := start(t, "")
	for name, tc := range map[string]struct {
		path    string
		headers []string
	}{
		"T001 known key, protocol 7":              {path: "/app/key?protocol=7&client=js&version=8.6.0&flash=false"},
		"T004 protocol 5, Java's order":           {path: "/app/key?client=java-client&protocol=5&version=2.4.4"},
		"T005 protocol 6":                         {path: "/app/key?protocol=6"},
		"T006 protocol 4":                         {path: "/app/key?protocol=4"},
		"T018 sub-protocol offered":               {path: "/app/key?protocol=7", headers: []string{"Sec-WebSocket-Protocol: pusher-channels-protocol-7"}},
		"T018 sub-protocol offered among others":  {path: "/app/key?protocol=7", headers: []string{"Sec-WebSocket-Protocol: other, pusher-channels-protocol-7"}},
		"T019 no sub-protocol offered":            {path: "/app/key?protocol=7"},
		"T019 an unknown sub-protocol offered":    {path: "/app/key?protocol=7", headers: []string{"Sec-WebSocket-Protocol: other"}},
		"T020 unknown query parameters":           {path: "/app/key?x=%zz&protocol=7&flash=false&tracking=1"},
		"T022 Origin null":                        {path: "/app/key?protocol=7", headers: []string{"Origin: null"}},
		"T022 Origin foreign":                     {path: "/app/key?protocol=7", headers: []string{"Origin: https://other.example"}},
		"Origin that the app's list allows":       {path: "/app/origins?protocol=7", headers: []string{"Origin: https://www.example.com"}},
		"Origin absent, where the app has a list": {path: "/app/origins?protocol=7"},
		"compression offered":                     {path: "/app/key?protocol=7", headers: []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}},
		"Connection header with several tokens":   {path: "/app/key?protocol=7", headers: []string{"Connection: keep-alive, Upgrade"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, g, tc.path, tc.headers...)
			if p.response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got status %d, want 101", p.response.StatusCode)
			}
			if got, want := p.response.Header.Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
				t.Errorf("got Sec-WebSocket-Accept %q, want %q", got, want)
			}
			if got := p.response.Header.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("got extensions %q, want none", got)
			}
			offered := strings.Contains(strings.Join(tc.headers, ""), "pusher-channels-protocol-7")
			if got := p.response.Header.Get("Sec-WebSocket-Protocol"); (got == "pusher-channels-protocol-7") != offered || (got != "" && !offered) {
				t.Errorf("got sub-protocol %q, offered: %v", got, offered)
			}
			p.wantFrame(text(greeting))
			p.write(text("hello").masked())
			p.wantFrame(text("hello"))
		})
	}
}

func TestRefusedConnect(t *testing.T) {
	g := start(t, "")
	for name, tc := range map[string]struct {
		path   string
		origin string
		code   int
		reason string
		inBand bool // pusher:error first
	}{
		"T007 protocol 3":                       {path: "/app/key?protocol=3", code: 4007, reason: "Unsupported protocol version", inBand: true},
		"T007 protocol 1":                       {path: "/app/key?protocol=1", code: 4007, reason: "Unsupported protocol version", inBand: true},
		"T008 protocol 8":                       {path: "/app/key?protocol=8", code: 4007, reason: "Unsupported protocol version"},
		"T009 protocol is no number":            {path: "/app/key?protocol=abc", code: 4006, reason: "Invalid version string format", inBand: true},
		"T010 no protocol":                      {path: "/app/key", code: 4008, reason: "No protocol version supplied", inBand: true},
		"T011 unknown key, protocol 7":          {path: "/app/nobody?protocol=7", code: 4001, reason: "App key nobody not in this cluster. Did you forget to specify the cluster?"},
		"T012 unknown key, protocol 5":          {path: "/app/nobody?protocol=5", code: 4001, reason: "App key nobody not in this cluster. Did you forget to specify the cluster?", inBand: true},
		"T013 empty key":                        {path: "/app/?protocol=7", code: 4005, reason: "Path not found"},
		"T013 no key":                           {path: "/app?protocol=7", code: 4005, reason: "Path not found"},
		"T014 unknown path":                     {path: "/foo?protocol=7", code: 4005, reason: "Path not found"},
		"T014 more behind the key":              {path: "/app/key/more?protocol=7", code: 4005, reason: "Path not found"},
		"T014 root":                             {path: "/?protocol=7", code: 4005, reason: "Path not found"},
		"T014 unknown path, no protocol":        {path: "/foo", code: 4005, reason: "Path not found", inBand: true},
		"T013 empty key, protocol 8":            {path: "/app/?protocol=8", code: 4005, reason: "Path not found"},
		"T015 disabled app":                     {path: "/app/disabled?protocol=7", code: 4003, reason: "Application disabled"},
		"T016 TLS-only app over ws":             {path: "/app/tls-only?protocol=7", code: 4000, reason: "Application only accepts SSL connections, reconnect using wss://"},
		"T017 app at its connection limit":      {path: "/app/full?protocol=7", code: 4004, reason: "Application is over connection quota"},
		"T017 the same, in-band":                {path: "/app/full?protocol=4", code: 4004, reason: "Application is over connection quota", inBand: true},
		"Origin that the app's list lacks":      {path: "/app/origins?protocol=7", origin: "https://example.org", code: 4009, reason: "Origin not allowed"},
		"Origin null, where the app has a list": {path: "/app/origins?protocol=7", origin: "null", code: 4009, reason: "Origin not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if tc.origin != "" {
				headers = append(headers, "Origin: "+tc.origin)
			}
			p := dial(t, g, tc.path, headers...)
			if p.response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got status %d, want 101", p.response.StatusCode)
			}
			if tc.inBand {
				f, err := p.readFrame()
				if err != nil {
					t.Fatal(err)
				}
				want := `{"event":"pusher:error","data":{"code":` + itoa(tc.code) + `,"message":"` + tc.reason + `"}}`
				if string(f.payload) != want {
					t.Fatalf("got %s, want %s", f.payload, want)
				}
			}
			if reason := p.wantClose(tc.code); reason != tc.reason {
				t.Errorf("got reason %q, want %q", reason, tc.reason)
			}
		})
	}
	if n := g.open.Load(); n != 0 {
		t.Errorf("%d connections were established", n)
	}
}

func TestPathPrefix(t *testing.T) {
	g := start(t, "/ws")
	t.Run("T021 below the prefix", func(t *testing.T) {
		dial(t, g, "/ws/app/key?protocol=7").wantFrame(text(greeting))
	})
	t.Run("T021 without the prefix", func(t *testing.T) {
		dial(t, g, "/app/key?protocol=7").wantClose(4005)
	})
}

func itoa(n int) string { return strconv.Itoa(n) }
