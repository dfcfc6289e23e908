package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxTailFrame bounds one inbound frame: the largest event there is, escaped.
const maxTailFrame = 4 << 20

// tailPing is how often tail pings the server, whose default patience with
// silent clients is 120 s.
const tailPing = 60 * time.Second

func newTailCommand(env configs.Environment) *cobra.Command {
	var at target
	t := &tailer{at: &at}
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "tail CHANNEL [CHANNEL…]",
		Short: "Subscribe to channels of any Pusher-compatible server and print what arrives",
		Long: `Connects like a browser, subscribes, and prints one line per event: time,
channel, event, data. Private and presence channels are authorised with the
app's secret; on presence channels the user id is --user.

Exit status: 0 when interrupted or --count or --for is reached, 1 when the
connection or a subscription fails.`,
		Args: arguments(1, 100),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.channels, t.out = args, cmd.OutOrStdout()
			ctx := cmd.Context()
			if span > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, span)
				defer cancel()
			}
			return t.run(ctx)
		},
	}
	at.addFlags(cmd, env)
	cmd.Flags().IntVar(&t.count, "count", 0, "end after this many events; 0: never")
	cmd.Flags().DurationVar(&span, "for", 0, "end after this long; 0: never")
	cmd.Flags().StringVar(&t.user, "user", "offramp-tail", "user id on presence channels")
	cmd.Flags().BoolVar(&t.all, "all", false, "print the protocol's own events too")
	cmd.Flags().BoolVar(&t.json, "json", false, "print each event as one JSON object")
	return cmd
}

// tailer is one run of tail.
type tailer struct {
	at       *target
	channels []string
	user     string
	count    int
	all      bool
	json     bool
	out      io.Writer

	writing sync.Mutex // one writer at a time on the connection
}

// tailFrame is a frame from the server. Data is a string or, on few servers
// and events, the value itself.
type tailFrame struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	UserID  string          `json:"user_id,omitempty"`
}

// text returns the data without its outer quotes.
func (f tailFrame) text() string {
	var s string
	if json.Unmarshal(f.Data, &s) == nil {
		return s
	}
	return string(f.Data)
}

func (t *tailer) run(ctx context.Context) error {
	dialer := websocket.Dialer{HandshakeTimeout: requestTimeout, Proxy: http.ProxyFromEnvironment}
	conn, response, err := dialer.DialContext(ctx, t.at.webSocket("offramp-tail"), nil)
	if response != nil {
		defer response.Body.Close()
	}
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w (%s)", err, response.Status)
		}
		return t.at.failed("connect", err)
	}
	conn.SetReadLimit(maxTailFrame)
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // ends the read below
	defer stop()
	defer conn.Close() //nolint:errcheck // the run is over

	pinging, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(pinging)
		t.ping(conn, done)
	}()
	err = t.read(conn)
	close(done)
	<-pinging
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ping keeps the connection alive on servers that close silent ones.
func (t *tailer) ping(conn *websocket.Conn, done <-chan struct{}) {
	ticker := time.NewTicker(tailPing)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			if t.send(conn, map[string]any{"event": protocol.EventPing, "data": map[string]any{}}) != nil {
				return // the reader notices too, and says why
			}
		}
	}
}

func (t *tailer) send(conn *websocket.Conn, frame any) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := conn.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	return conn.WriteJSON(frame)
}

// read prints events until there were enough of them.
func (t *tailer) read(conn *websocket.Conn) error {
	for seen := 0; t.count == 0 || seen < t.count; {
		if err := conn.SetReadDeadline(time.Now().Add(3 * tailPing)); err != nil {
			return err
		}
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return closed(err)
		}
		var f tailFrame
		if err := json.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("the server sent something that is no frame: %w", err)
		}
		if err := t.answer(conn, f); err != nil {
			return err
		}
		if !t.all && strings.HasPrefix(f.Event, "pusher") {
			continue
		}
		if err := t.print(f); err != nil {
			return err
		}
		seen++
	}
	return nil
}

// answer does what a client does on the protocol's own events.
func (t *tailer) answer(conn *websocket.Conn, f tailFrame) error {
	switch f.Event {
	case "pusher:connection_established":
		var hello struct {
			SocketID protocol.SocketID `json:"socket_id"`
		}
		if err := json.Unmarshal([]byte(f.text()), &hello); err != nil || !hello.SocketID.Valid() {
			return errors.New("the server's greeting has no usable socket_id")
		}
		return t.subscribe(conn, hello.SocketID)
	case protocol.EventPing:
		return t.send(conn, map[string]any{"event": protocol.EventPong, "data": map[string]any{}})
	case "pusher:error":
		return fmt.Errorf("the server refused: %s", f.text())
	case "pusher:subscription_error":
		return fmt.Errorf("the subscription to %s was refused: %s", f.Channel, f.text())
	}
	return nil
}

func (t *tailer) subscribe(conn *websocket.Conn, id protocol.SocketID) error {
	for _, name := range t.channels {
		channel := protocol.ChannelName(name)
		data := map[string]string{"channel": name}
		var member *string
		if channel.Kind() == protocol.Presence {
			text, err := json.Marshal(map[string]string{"user_id": t.user})
			if err != nil {
				return err
			}
			member = new(string)
			*member = string(text)
			data["channel_data"] = *member
		}
		if channel.NeedsAuth() {
			data["auth"] = t.at.key + ":" + protocol.Sign(t.at.secret, protocol.ChannelString(id, channel, member))
		}
		if err := t.send(conn, map[string]any{"event": protocol.EventSubscribe, "data": data}); err != nil {
			return fmt.Errorf("subscribe to %s: %w", name, err)
		}
	}
	return nil
}

func (t *tailer) print(f tailFrame) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(struct {
			At      time.Time `json:"at"`
			Channel string    `json:"channel,omitempty"`
			Event   string    `json:"event"`
			Data    string    `json:"data"`
			UserID  string    `json:"user_id,omitempty"`
		}{time.Now(), f.Channel, f.Event, f.text(), f.UserID})
	}
	channel := f.Channel
	if channel == "" {
		channel = "-"
	}
	_, err := fmt.Fprintf(t.out, "%s  %s  %s  %s\n", time.Now().Format("15:04:05.000"), channel, f.Event, f.text())
	return err
}

// closed says why the connection ended.
func closed(err error) error {
	var code *websocket.CloseError
	if errors.As(err, &code) {
		return fmt.Errorf("the server closed the connection: %d %s", code.Code, code.Text)
	}
	return fmt.Errorf("the connection ended: %w", err)
}
