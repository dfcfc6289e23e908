package httpstream_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/transport/httpstream"
)

func TestT219StreamingConnects(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("121/vdmq96jf")
		defer r.abort()
		for header, want := range map[string]string{
			"Content-Type":                "application/javascript; charset=UTF-8",
			"Cache-Control":               "no-store, no-cache, no-transform, must-revalidate, max-age=0",
			"Access-Control-Allow-Origin": "*",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("got %s: %q, want %q", header, got, want)
			}
		}
		c := g.session(0).client
		if c.Transport != "xhr_streaming" || c.Library != "js" || c.Version != "8.6.0" || c.Protocol != 7 {
			t.Errorf("the client is known as %+v", c)
		}
	})
}

func TestT220SendWhileStreaming(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		defer r.abort()
		command := `{"event":"pusher:subscribe","data":{"channel":"c"}}`
		send := g.post("1/session1", "xhr_send?t=1&n=2", sending(command)).wantStatus(http.StatusNoContent)
		if got := send.Header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("got Content-Type %q", got)
		}
		send.wantBody("")
		r.wantMessages(command)
		g.post("1/session1", "xhr_send", sending("one", "two", `quote " and \ and é`)).wantStatus(http.StatusNoContent)
		r.wantMessages("one", "two", `quote " and \ and é`)
	})
}

func TestT221Preflight(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		for _, action := range []string{"xhr_send", "xhr_streaming", "xhr"} {
			r := g.do(http.MethodOptions, "/pusher/app/key/1/session1/"+action, "",
				"Origin", "https://page.example", "Access-Control-Request-Method", "POST",
				"Access-Control-Request-Headers", "content-type").wantStatus(http.StatusNoContent)
			for header, want := range map[string]string{
				"Access-Control-Allow-Origin":  "*",
				"Access-Control-Allow-Methods": "OPTIONS, POST",
				"Access-Control-Allow-Headers": "content-type",
				"Access-Control-Max-Age":       "31536000",
			} {
				if got := r.Header.Get(header); got != want {
					t.Errorf("%s: got %s: %q, want %q", action, header, got, want)
				}
			}
			r.wantBody("")
		}
	})
}

func TestT222Heartbeat(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		defer r.abort()
		for range 20 { // far beyond the patience with silent connections
			before := time.Now()
			r.wantLine("h")
			if d := time.Since(before); d != httpstream.HeartbeatEvery {
				t.Fatalf("a heartbeat came after %v, want %v", d, httpstream.HeartbeatEvery)
			}
			g.post("1/session1", "xhr_send", "[]").wantStatus(http.StatusNoContent)
		}
		g.session(0).wantOpen(t)
	})
}

func TestStreamingClientThatIsSilent(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		r.wantLine("h") // and no answer to any
		r.wantLine("h")
		r.wantLine("h")
		r.wantLine(closed(4201, "Pong reply not received"))
		pass(time.Second)
		g.session(0).wantEnded(t, 4201)
	})
}

// A browser reads an answer until its text is longer than 256 KiB and fully
// read, aborts it, and opens the next. Events go on being sent meanwhile.
func TestT223StreamIsReopened(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		out := g.session(0).out
		read := opened
		const events = 2000
		for sent, got := 0, 0; got < events; {
			for ; sent < events && sent < got+10; sent++ {
				out.Send(fanout.One(event(sent)), 0)
			}
			line := r.line()
			read += jsLength(line) + 1
			for ; strings.Contains(line, string(event(got))); got++ {
				line = strings.Replace(line, string(event(got)), "", 1)
			}
			if strings.Contains(line, "event") {
				t.Fatalf("event %d was expected, got %.100s", got, line)
			}
			if read > 256<<10 {
				out.Send(fanout.One(event(sent)), 0) // while nobody would read it
				sent++
				r.abort()
				r = g.post("1/session1", "xhr_streaming"+query, "").wantStatus(http.StatusOK)
				r.wantPrelude()
				read = 2049
			}
		}
		r.abort()
		g.session(0).wantOpen(t)
	})
}

// opened is the length of what openStreaming reads.
var opened = 2049 + len("o\n") + len(messages(greeting)) + 1

func TestT223ReopenedBeforeTheOldIsGone(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		old := g.openStreaming("1/session1")
		out := g.session(0).out
		for read := opened; read <= 256<<10; {
			out.Send(fanout.One(event(1)), 0)
			read += jsLength(old.line()) + 1
		}
		out.Send(fanout.One([]byte("later")), 0)
		r := g.post("1/session1", "xhr_streaming"+query, "")
		r.wantPrelude()
		r.wantMessages("later")
		old.abort()
		r.abort()
	})
}

func TestClientThatReadsOn(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		defer r.abort()
		out := g.session(0).out
		for read := opened; read <= 256<<10; {
			out.Send(fanout.One(event(1)), 0)
			read += jsLength(r.line()) + 1
		}
		out.Send(fanout.One([]byte("later")), 0)
		r.wantMessages("later")
	})
}

// event is a frame of some 300 bytes, with characters of every length.
func event(n int) []byte {
	return fmt.Appendf(nil, "event-%d-é€😀-%s.", n, strings.Repeat("x", 300))
}

func jsLength(s string) (n int) {
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

func TestT224Polling(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		g.openPolling("7/session7")
		if got := g.session(0).client.Transport; got != "xhr_polling" {
			t.Errorf("the transport is known as %q", got)
		}
		for i := range 20 {
			g.post("7/session7", "xhr_send", sending(fmt.Sprint(i))).wantStatus(http.StatusNoContent)
			g.post("7/session7", "xhr"+query, "").wantStatus(http.StatusOK).wantBody(messages(fmt.Sprint(i)) + "\n")
		}
		before := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			g.session(0).out.Send(fanout.One([]byte("awaited")), 0)
		}()
		g.post("7/session7", "xhr"+query, "").wantBody(messages("awaited") + "\n")
		if d := time.Since(before); d != 3*time.Second {
			t.Errorf("a waiting poll was answered after %v, want 3s", d)
		}
		for range 10 {
			before = time.Now()
			g.post("7/session7", "xhr"+query, "").wantStatus(http.StatusOK).wantBody("h\n")
			if d := time.Since(before); d != httpstream.HeartbeatEvery {
				t.Errorf("an idle poll was answered after %v, want %v", d, httpstream.HeartbeatEvery)
			}
		}
		g.session(0).wantOpen(t)
	})
}

func TestT225Refused(t *testing.T) {
	const noApp = "App key nobody not in this cluster. Did you forget to specify the cluster?"
	for name, tc := range map[string]struct {
		path string
		want string
	}{
		"T225 unknown key":      {path: "/pusher/app/nobody/1/session1/%s?protocol=7", want: closed(4001, noApp)},
		"T225 app at its limit": {path: "/pusher/app/full/1/session1/%s?protocol=7", want: closed(4004, "Application is over connection quota")},
		"T225 no protocol":      {path: "/pusher/app/key/1/session1/%s", want: messages(`{"event":"pusher:error","data":{"code":4008,"message":"No protocol version supplied"}}`) + "\n" + closed(4008, "No protocol version supplied")},
		"T225 protocol 8":       {path: "/pusher/app/key/1/session1/%s?protocol=8", want: closed(4007, "Unsupported protocol version")},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, g *gateway) {
				r := g.do(http.MethodPost, fmt.Sprintf(tc.path, "xhr_streaming"), "").wantStatus(http.StatusOK)
				r.wantPrelude()
				r.wantBody("o\n" + tc.want + "\n")
				g.do(http.MethodPost, strings.Replace(fmt.Sprintf(tc.path, "xhr"), "session1", "session2", 1), "").
					wantStatus(http.StatusOK).wantBody("o\n" + tc.want + "\n")
			})
		})
	}
}

func TestSendThatIsRefused(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		defer r.abort()
		for name, tc := range map[string]struct {
			session string
			body    string
			status  int
			want    string
		}{
			"empty body":           {session: "1/session1", status: 500, want: "Payload expected."},
			"broken JSON":          {session: "1/session1", body: `["x`, status: 500, want: "Broken JSON encoding."},
			"JSON of another kind": {session: "1/session1", body: `{"a":1}`, status: 500, want: "Broken JSON encoding."},
			"null":                 {session: "1/session1", body: `null`, status: 500, want: "Broken JSON encoding."},
			"numbers":              {session: "1/session1", body: `[1]`, status: 500, want: "Broken JSON encoding."},
			"nesting without end":  {session: "1/session1", body: strings.Repeat("[", 100000), status: 500, want: "Broken JSON encoding."},
			"a message above the limit": {session: "1/session1", body: sending(strings.Repeat("x", 1001)), status: 413,
				want: "Message of 1001 bytes: at most 1000 are allowed\n"},
		} {
			resp := g.post(tc.session, "xhr_send", tc.body)
			if resp.StatusCode != tc.status {
				t.Errorf("%s: got status %d, want %d", name, resp.StatusCode, tc.status)
			}
			resp.wantBody(tc.want)
		}
		g.post("1/session1", "xhr_send", sending("still there")).wantStatus(http.StatusNoContent)
		r.wantMessages("still there")
	})
}

func TestT226UnknownSession(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		g.post("1/unknown1", "xhr_send", "[]").wantStatus(http.StatusNotFound).wantBody("No such session\n")
	})
}

func TestT227SecondReceiver(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		defer r.abort()
		second := g.post("1/session1", "xhr_streaming"+query, "").wantStatus(http.StatusOK)
		second.wantPrelude()
		second.wantBody(closed(2010, "Another connection still open") + "\n")
		g.post("1/session1", "xhr"+query, "").wantBody(closed(2010, "Another connection still open") + "\n")
		g.session(0).out.Send(fanout.One([]byte("the first goes on")), 0)
		r.wantMessages("the first goes on")
		g.session(0).wantOpen(t)
	})
}

func TestT228ClientVanishes(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		r := g.openStreaming("1/session1")
		r.abort()
		pass(httpstream.Grace - time.Second)
		g.session(0).wantOpen(t)
		pass(2 * time.Second)
		g.session(0).wantEnded(t, 0)
		g.post("1/session1", "xhr_send", "[]").wantStatus(http.StatusNotFound)
	})
}

func TestT228PollingClientVanishes(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		g.openPolling("1/session1")
		pass(httpstream.Grace - time.Second)
		g.session(0).wantOpen(t)
		pass(2 * time.Second)
		g.session(0).wantEnded(t, 0)
	})
}

// A browser that leaves a page aborts the poll that waits.
func TestT228PollIsAborted(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		g.openPolling("1/session1")
		for range 2 {
			g.abandonPoll("1/session1", time.Minute/30)
			pass(httpstream.Grace - time.Second)
			g.session(0).wantOpen(t)
		}
		g.abandonPoll("1/session1", time.Second)
		pass(httpstream.Grace + time.Second)
		g.session(0).wantEnded(t, 0)
	})
}

// A client that asks for the next thing before it has the answer is not gone.
func TestPipelinedPoll(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		g.openPolling("1/session1")
		c, err := g.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		poll := "POST /pusher/app/key/1/session1/xhr" + query + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
		go io.WriteString(c, poll)
		pass(time.Second)
		go io.WriteString(c, poll)
		pass(time.Second)
		answers := bufio.NewReader(c)
		for _, text := range []string{"one", "two"} {
			g.session(0).out.Send(fanout.One([]byte(text)), 0)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if got, want := string(body), messages(text)+"\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

func TestServerCloses(t *testing.T) {
	t.Run("while streaming", func(t *testing.T) {
		run(t, func(t *testing.T, g *gateway) {
			r := g.openStreaming("1/session1")
			g.post("1/session1", "xhr_send", sending("first", "close", "too late")).wantStatus(http.StatusNotFound)
			r.wantMessages("first")
			r.wantBody(closed(4009, "the test asked for it") + "\n")
			pass(time.Millisecond)
			g.session(0).wantEnded(t, 4009)
			late := g.post("1/session1", "xhr_streaming"+query, "")
			late.wantPrelude()
			late.wantBody(closed(4009, "the test asked for it") + "\n")
			g.post("1/session1", "xhr_send", "[]").wantStatus(http.StatusNotFound)
		})
	})
	t.Run("between polls", func(t *testing.T) {
		run(t, func(t *testing.T, g *gateway) {
			g.openPolling("1/session1")
			g.session(0).out.Send(fanout.One([]byte("before")), 0)
			g.session(0).out.Close(4200, "Please reconnect immediately")
			if g.session(0).out.Send(fanout.One([]byte("behind")), 0) {
				t.Error("a closed session takes frames")
			}
			g.post("1/session1", "xhr"+query, "").wantBody(messages("before") + "\n" + closed(4200, "Please reconnect immediately") + "\n")
			pass(time.Millisecond)
			g.session(0).wantEnded(t, 4200)
		})
	})
	t.Run("because handling panicked", func(t *testing.T) {
		run(t, func(t *testing.T, g *gateway) {
			r := g.openStreaming("1/session1")
			g.post("1/session1", "xhr_send", sending("panic"))
			r.wantBody(closed(1011, "Internal error") + "\n")
			other := g.openStreaming("1/session2")
			other.abort()
		})
	})
	t.Run("because the client does not poll", func(t *testing.T) {
		run(t, func(t *testing.T, g *gateway) {
			g.openPolling("1/session1")
			out := g.session(0).out
			for i := 0; out.Send(fanout.One(make([]byte, 10000)), 0); i++ {
				if i > fanout.MaxQueuedBytes/10000 {
					t.Fatal("the queue has no end")
				}
			}
			g.post("1/session1", "xhr"+query, "").wantBody(closed(4100, "Connection too slow: too much unsent data") + "\n")
		})
	})
}

func TestTooManySessions(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		for i := range 8 {
			g.openPolling(fmt.Sprintf("1/session%d", i))
		}
		g.post("1/oneMore", "xhr"+query, "").wantBody("o\n" + closed(4100, "Too many HTTP fallback sessions") + "\n")
		pass(httpstream.Grace + time.Second)
		g.openPolling("1/oneMore")
	})
}

func TestPathsAndMethods(t *testing.T) {
	run(t, func(t *testing.T, g *gateway) {
		for path, status := range map[string]int{
			"/pusher/app/key":                                       404,
			"/pusher/app/key/1":                                     404,
			"/pusher/app/key/1/session":                             404,
			"/pusher/app/key/1/session/jsonp":                       404,
			"/pusher/app/key//session/xhr":                          404,
			"/pusher/app/key/1//xhr":                                404,
			"/pusher/app/key/1/a.b/xhr":                             404,
			"/pusher/app/key/1/session/xhr/more":                    404,
			"/pusher/app/key/1/" + strings.Repeat("s", 65) + "/xhr": 404,
			"/pusher/other/key/1/session/xhr":                       404,
		} {
			g.do(http.MethodPost, path, "").wantStatus(status)
		}
		g.do(http.MethodGet, "/pusher/app/key/1/session/xhr", "").wantStatus(http.StatusMethodNotAllowed)
	})
}
