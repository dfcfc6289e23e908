package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDoctorReadsClients(t *testing.T) {
	for name, tc := range map[string]struct {
		client  string
		gateway string
		want    []string // "health: beginning of the fact", in order
	}{
		"pusher-js as it is sold": {
			client: `new Pusher("key", { cluster: "eu" })`,
			want:   []string{"fail: WebSocket goes to the vendor: wss://ws-eu.pusher.com:443", "fail: HTTP fallback goes to the vendor: https://sockjs-eu.pusher.com:443"},
		},
		"the trap: wsHost without httpHost": {
			client: `const p = new Pusher('key', { cluster: 'eu', wsHost: 'ws.example.com', forceTLS: true });`,
			want:   []string{"ok: WebSocket goes to wss://ws.example.com:443", "fail: the fallback (xhr_streaming, xhr_polling, sockjs) goes to the vendor, https://sockjs-eu.pusher.com"},
		},
		"the way out by httpHost": {
			client: `new Pusher("key", {cluster: "any", wsHost: "ws.example.com", wssPort: 8443, httpHost: "ws.example.com", httpsPort: 8443})`,
			want:   []string{"ok: WebSocket goes to wss://ws.example.com:8443", "ok: HTTP fallback goes to https://ws.example.com:8443"},
		},
		"the way out by transports": {
			client: `new Pusher("key", {cluster: "any", wsHost: "ws.example.com", enabledTransports: ["ws", "wss"]})`,
			want:   []string{"ok: WebSocket goes to wss://ws.example.com:443", "ok: the HTTP fallback is off"},
		},
		"half a way out": {
			client: `new Pusher("key", {cluster: "any", wsHost: "ws.example.com", disabledTransports: ["sockjs", "xhr_polling"]})`,
			want:   []string{"ok: WebSocket", "fail: the fallback (xhr_streaming) goes to the vendor, https://sockjs-any.pusher.com"},
		},
		"wsPort with TLS does not count": {
			client: `new Pusher("key", {cluster: "any", wsHost: "localhost", wsPort: 6001, enabledTransports: ["ws"]})`,
			want:   []string{"warn: TLS is on, so wsPort does not count", "ok: the HTTP fallback is off"},
		},
		"without TLS it does": {
			client: `new Pusher("key", {cluster: "any", wsHost: "localhost", wsPort: 6001, forceTLS: false, enabledTransports: ["ws"]})`,
			want:   []string{"ok: WebSocket goes to ws://localhost:6001", "ok: the HTTP fallback is off"},
		},
		"minified": {
			client: `var c=new t.Pusher("k",{cluster:"eu",wsHost:"ws.example.com",forceTLS:!1,wsPort:80,enabledTransports:["ws"]});`,
			want:   []string{"ok: WebSocket goes to ws://ws.example.com:80", "ok: the HTTP fallback is off"},
		},
		"no cluster": {
			client: `new Pusher("key", {wsHost: "a.example.com", httpHost: "a.example.com"})`,
			want:   []string{"warn: no cluster is set", "ok: WebSocket", "ok: HTTP fallback"},
		},
		"statistics": {
			client: `new Pusher("key", {cluster: "any", wsHost: "a.example.com", httpHost: "a.example.com", enableStats: true})`,
			want:   []string{"ok: WebSocket", "ok: HTTP fallback", "warn: statistics go to the vendor"},
		},
		"Laravel Echo with values from the build": {
			client: "window.Echo = new Echo({ broadcaster: 'pusher', key: import.meta.env.VITE_PUSHER_APP_KEY,\n cluster: import.meta.env.VITE_PUSHER_APP_CLUSTER ?? 'mt1',\n" +
				" wsHost: import.meta.env.VITE_PUSHER_HOST ? import.meta.env.VITE_PUSHER_HOST : `ws-${import.meta.env.VITE_PUSHER_APP_CLUSTER}.pusher.com`,\n enabledTransports: ['ws', 'wss'] });",
			want: []string{"warn: wsHost is computed when the app is built", "ok: the HTTP fallback is off"},
		},
		"Echo for Reverb needs no cluster": {
			client: `new Echo({broadcaster: "reverb", key: "k", wsHost: "a.example.com", wssPort: 443, enabledTransports: ["ws", "wss"]})`,
			want:   []string{"ok: WebSocket goes to wss://a.example.com:443", "ok: the HTTP fallback is off"},
		},
		"options that stand elsewhere": {
			client: "const options = {cluster: 'any', wsHost: 'a.example.com', httpHost: 'a.example.com'};\nnew Pusher(key, options);",
			want:   []string{"ok: WebSocket goes to wss://a.example.com:443", "ok: HTTP fallback goes to https://a.example.com:443"},
		},
		"JSON": {
			client: `{"cluster": "any", "wsHost": "a.example.com", "httpHost": "a.example.com"}`,
			want:   []string{"ok: WebSocket goes to wss://a.example.com:443", "ok: HTTP fallback"},
		},
		"two clients in one file": {
			client: `new Pusher("a", {cluster: "eu"}); new Pusher("b", {cluster: "any", wsHost: "x", enabledTransports: ["ws"]})`,
			want:   []string{"fail: WebSocket goes to the vendor", "fail: HTTP fallback goes to the vendor", "ok: WebSocket goes to wss://x:443", "ok: the HTTP fallback is off"},
		},
		"a bracket in a string": {
			client: `new Pusher("a)", {cluster: "any", wsHost: "x", authEndpoint: "/a)}", httpHost: "x"})`,
			want:   []string{"ok: WebSocket goes to wss://x:443", "ok: HTTP fallback goes to https://x:443"},
		},
		"another host than the gateway's": {
			client: `new Pusher("key", {cluster: "any", wsHost: "old.example.com", httpHost: "ws.example.com"})`, gateway: "ws.example.com",
			want: []string{"warn: WebSocket goes to wss://old.example.com:443, not to ws.example.com", "ok: HTTP fallback"},
		},
		"Flutter": {
			client: `PusherChannelsFlutter pusher = PusherChannelsFlutter.getInstance(); await pusher.init(apiKey: k, cluster: "eu");`,
			want:   []string{"fail: the Flutter client takes a cluster and no host"},
		},
		"Flutter, its list of packages": {
			client: "dependencies:\n  pusher_channels_flutter: ^2.4.0\n",
			want:   []string{"fail: the Flutter client takes a cluster and no host"},
		},
		"Android with a host": {
			client: `import com.pusher.client.PusherOptions;
				PusherOptions options = new PusherOptions(); options.setHost("ws.example.com");`,
			want: []string{"ok: Java or Android client goes to ws.example.com"},
		},
		"Android that puts the vendor's host back": {
			client: `import com.pusher.client.PusherOptions;
				options.setHost("ws.example.com"); options.setCluster("eu");`,
			want: []string{"fail: the Java or Android client sets its cluster after its host"},
		},
		"Kotlin with a cluster alone": {
			client: `val options = PusherOptions().apply { setCluster("eu") }`,
			want:   []string{"fail: the Java or Android client sets no host"},
		},
		"Swift": {
			client: `import PusherSwift
				let options = PusherClientOptions(host: .host("ws.example.com"), port: 443)`,
			want: []string{"ok: Swift client goes to ws.example.com"},
		},
		"Swift with a cluster": {
			client: `let options = PusherClientOptions(host: .cluster("eu"))`,
			want:   []string{"fail: the Swift client sets no host"},
		},
		".NET": {
			client: `using PusherClient; var p = new Pusher("k", new PusherOptions { Host = "ws.example.com:443", Encrypted = true });`,
			want:   []string{"ok: .NET client goes to ws.example.com:443"},
		},
		"React Native": {
			client: `import {Pusher} from '@pusher/pusher-websocket-react-native'; await pusher.init({apiKey: k, cluster: 'eu'});`,
			want:   []string{"fail: the React Native client sets no host"},
		},
		"the vendor by name": {
			client: `new Pusher("key", {cluster: "eu", wsHost: "ws-eu.pusher.com", enabledTransports: ["ws"]})`,
			want:   []string{"fail: WebSocket goes to the vendor", "ok: the HTTP fallback is off"},
		},
		"a name that only looks like the vendor's": {
			client: `new Pusher("key", {cluster: "eu", wsHost: "notpusher.com", enabledTransports: ["ws"]})`,
			want:   []string{"ok: WebSocket goes to wss://notpusher.com:443", "ok: the HTTP fallback is off"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := judgeClient("client", tc.client, tc.gateway)
			if len(found) != len(tc.want) {
				t.Fatalf("%d findings, want %d: %+v", len(found), len(tc.want), found)
			}
			for i, f := range found {
				if got := string(f.Health) + ": " + f.What; !strings.HasPrefix(got, tc.want[i]) {
					t.Errorf("finding %d: %q, want %q", i, got, tc.want[i])
				}
				if (f.Health == healthy) != (f.Fix == "") {
					t.Errorf("finding %d: %q has the fix %q", i, f.What, f.Fix)
				}
			}
		})
	}
}

func TestDoctorReadsPages(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, `<script src="https://js.pusher.com/8.4/pusher.min.js"></script><script defer src=/build/app.js></script>`)
		case "/build/app.js":
			fmt.Fprint(w, `new Pusher("k",{cluster:"eu",wsHost:"ws.example.com"})`)
		case "/plain":
			fmt.Fprint(w, `<p>nothing here</p>`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/":       "fail: the fallback",
		"/plain":  "warn: neither the page nor its own scripts",
		"/absent": "fail: the page cannot be read: it is answered 404",
	} {
		found := examineClient(context.Background(), server.URL+path, nil, "")
		last := found[len(found)-1]
		if got := string(last.Health) + ": " + last.What; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestDoctorReadsFilesAndSockets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "echo.js")
	if err := os.WriteFile(file, []byte(`new Pusher("k",{cluster:"eu"})`), 0o600); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		file:                                "fail: WebSocket goes to the vendor",
		file + ".absent":                    "fail: it cannot be read: no such file or directory",
		"-":                                 "fail: the Flutter client",
		"wss://ws.example.com/app/k":        "ok: WebSocket goes to wss://ws.example.com",
		"wss://ws-eu.pusher.com:443/app/k":  "fail: WebSocket goes to the vendor",
		"ws://10.0.0.1:6001/app/k?client=x": "warn: WebSocket goes to ws://10.0.0.1:6001, not to ws.example.com",
	} {
		found := examineClient(context.Background(), source, strings.NewReader("PusherChannelsFlutter"), "ws.example.com")
		if got := string(found[0].Health) + ": " + found[0].What; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// FuzzClient: any text is judged, soon, and every finding is complete.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		`new Pusher("key", { cluster: "eu" })`, `new Echo({wsHost: "a" + b, enabledTransports: ["ws", `, `wsHost: '`, `new Pusher(`,
		`options.setHost("a"); options.setCluster("b") com.pusher.client`, "wsHost = `a${b}`",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, finding := range judgeClient("client", text, "gateway") {
			if finding.What == "" || finding.Health == "" {
				t.Errorf("incomplete finding %+v", finding)
			}
		}
	})
}
