package transcript

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Target is what a script runs against.
type Target interface {
	// Configure changes the app's settings: "client_events", "no
	// client_events", "connections=2".
	Configure(settings string) error
	// Connect opens a connection with the query of a WebSocket URL. One that
	// is refused is a client that is closed.
	Connect(query string) (Client, error)
	// Publish does what POST events does. except is a socket id or empty.
	Publish(channels []string, event, data, except string) error
	// Terminate does what POST users/ID/terminate_connections does.
	Terminate(userID string) error
	// Request sends a request to the HTTP API, signed.
	Request(method, pathAndQuery, body string) (status int, answer string, err error)
	// Drain ends the target's service as a planned restart does.
	Drain() error
	// Settle returns once all that was done has had its effect.
	Settle()
	// Sleep lets time pass.
	Sleep(d time.Duration)
	// Credential returns the app's key and secret.
	Credential() (key, secret string)
}

// Client is one connection to a target.
type Client interface {
	Send(frame string) error
	// Next returns the next frame received; ok is false if there is none. With
	// wait one has as long to come as the target may need for it.
	Next(wait bool) (frame string, ok bool)
	// Closed reports how the server has closed the connection, if it has or
	// does within that time.
	Closed() (code int, reason string, closed bool)
	Close() error
}

// Run carries out the script's steps and returns what did not go as written.
func (s Script) Run(target Target) error {
	r := runner{target: target, conns: make(map[string]*conn)}
	for _, step := range s.Steps {
		if err := r.step(step); err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, step.Line, err)
		}
	}
	target.Settle()
	for name, c := range r.conns {
		if frame, ok := c.client.Next(false); ok {
			return fmt.Errorf("%s: at the end of %q, %s has yet to read %s", s.File, s.Title, name, frame)
		}
	}
	return nil
}

type runner struct {
	target Target
	conns  map[string]*conn
	answer string // to the last request: status and body
}

type conn struct {
	client Client
	id     protocol.SocketID
}

func (r *runner) step(s Step) error {
	rest, err := r.expand(s.Rest)
	if err != nil {
		return err
	}
	if s.Who == "" {
		return r.global(s.Verb, rest)
	}
	switch s.Verb {
	case "connect":
		return r.connect(s.Who, rest)
	case "refused":
		return r.refused(rest)
	}
	c := r.conns[s.Who]
	if c == nil {
		return fmt.Errorf("%s is not connected", s.Who)
	}
	r.target.Settle()
	return r.local(c, s.Verb, rest)
}

func (r *runner) global(verb, rest string) error {
	switch verb {
	case "app":
		return r.target.Configure(rest)
	case "publish":
		return r.publish(rest)
	case "terminate":
		return r.target.Terminate(rest)
	case "request":
		return r.request(rest)
	case "answer":
		if !proxy.MatchPattern(rest, strings.TrimRight(r.answer, " ")) {
			return fmt.Errorf("got\n  %s\nwant\n  %s", r.answer, rest)
		}
		return nil
	case "drain":
		return r.target.Drain()
	case "sleep":
		d, err := time.ParseDuration(rest)
		r.target.Settle()
		r.target.Sleep(d)
		return err
	default:
		return fmt.Errorf("no such step: %q", verb)
	}
}

func (r *runner) publish(rest string) error {
	channels, rest, _ := strings.Cut(rest, " ")
	event, data, _ := strings.Cut(rest, " ")
	data, name, _ := strings.Cut(data, " except ")
	except := ""
	if name != "" {
		if r.conns[name] == nil {
			return fmt.Errorf("%s is not connected", name)
		}
		except = string(r.conns[name].id)
	}
	r.target.Settle()
	return r.target.Publish(strings.Split(channels, "|"), event, data, except)
}

func (r *runner) local(c *conn, verb, rest string) error {
	switch verb {
	case ">":
		return c.client.Send(rest)
	case "<":
		return c.expect(rest)
	case "subscribe":
		return c.client.Send(r.subscribe(c, rest))
	case "signin":
		return c.client.Send(r.signin(c, rest))
	case "joins":
		return r.confirmed(c, r.subscribe(c, rest), "pusher_internal:subscription_succeeded")
	case "signs-in":
		return r.confirmed(c, r.signin(c, rest), "pusher:signin_success")
	case "silent":
		if frame, ok := c.client.Next(false); ok {
			return fmt.Errorf("got %s, want nothing", frame)
		}
		return nil
	case "pass":
		for _, ok := c.client.Next(false); ok; _, ok = c.client.Next(false) {
		}
		return nil
	case "closed":
		return c.expectClosed(rest)
	case "close":
		return c.client.Close()
	default:
		return fmt.Errorf("no such step of a connection: %q", verb)
	}
}

// confirmed sends a frame and takes its confirmation, which is of that event.
func (r *runner) confirmed(c *conn, frame, event string) error {
	if err := c.client.Send(frame); err != nil {
		return err
	}
	r.target.Settle()
	got, _ := c.client.Next(true)
	if !strings.HasPrefix(got, `{"event":"`+event+`"`) {
		return fmt.Errorf("got %q, want a frame of %s", got, event)
	}
	return nil
}

func (c *conn) expect(want string) error {
	got, ok := c.client.Next(true)
	if !ok {
		return fmt.Errorf("got nothing, want\n  %s", want)
	}
	if got != want {
		return fmt.Errorf("got\n  %s\nwant\n  %s", got, want)
	}
	return nil
}

func (c *conn) expectClosed(want string) error {
	code, reason, closed := c.client.Closed()
	if !closed {
		return fmt.Errorf("the connection is open, want it closed with %s", want)
	}
	if got := strconv.Itoa(code) + " " + reason; got != want {
		return fmt.Errorf("closed with %q, want %q", got, want)
	}
	return nil
}

func (r *runner) connect(name, query string) error {
	query = strings.TrimPrefix(query, "?")
	client, err := r.target.Connect(query)
	if err != nil {
		return err
	}
	r.target.Settle()
	greeting, _ := client.Next(true)
	id, err := socketID(greeting)
	if err != nil {
		return fmt.Errorf("greeting %q: %w", greeting, err)
	}
	for other, c := range r.conns {
		if c.id == id {
			return fmt.Errorf("%s and %s have the same socket id", name, other)
		}
	}
	r.conns[name] = &conn{client: client, id: id}
	return nil
}

// socketID checks a greeting and returns the id in it.
func socketID(greeting string) (protocol.SocketID, error) {
	var frame map[string]string // which also holds that data is a string
	var data struct {
		SocketID        protocol.SocketID `json:"socket_id"`
		ActivityTimeout int               `json:"activity_timeout"`
	}
	if err := json.Unmarshal([]byte(greeting), &frame); err != nil {
		return "", err
	}
	if err := json.Unmarshal([]byte(frame["data"]), &data); err != nil {
		return "", err
	}
	switch {
	case frame["event"] != "pusher:connection_established" || len(frame) != 2:
		return "", errors.New("it has to have that event, data, and nothing else")
	case !data.SocketID.Valid():
		return "", errors.New("no usable socket_id")
	case data.ActivityTimeout <= 0:
		return "", errors.New("no usable activity_timeout")
	}
	return data.SocketID, nil
}

func (r *runner) request(rest string) error {
	method, rest, _ := strings.Cut(rest, " ")
	path, body, _ := strings.Cut(rest, " ")
	r.target.Settle()
	status, answer, err := r.target.Request(method, path, body)
	r.answer = strconv.Itoa(status) + " " + strings.ReplaceAll(answer, "\n", `\n`)
	return err
}

// refused opens a connection that must be closed at once; if in-band it is
// told so in a frame first.
func (r *runner) refused(rest string) error {
	query := ""
	rest, inBand := strings.CutPrefix(rest, "in-band ")
	if strings.HasPrefix(rest, "?") || strings.HasPrefix(rest, "/") {
		query, rest, _ = strings.Cut(strings.TrimPrefix(rest, "?"), " ")
	}
	client, err := r.target.Connect(query)
	if err != nil {
		return err
	}
	r.target.Settle()
	c := conn{client: client}
	if inBand {
		code, text, _ := strings.Cut(rest, " ")
		number, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		if err := c.expect(string(protocol.AppendError(nil, &protocol.Error{Code: number, Message: text}))); err != nil {
			return err
		}
	}
	if frame, ok := client.Next(false); ok {
		return fmt.Errorf("got %s, want to be refused", frame)
	}
	return c.expectClosed(rest)
}

// subscribe returns a pusher:subscribe, signed where the channel needs it.
func (r *runner) subscribe(c *conn, rest string) string {
	name, channelData, has := strings.Cut(rest, " ")
	data := map[string]string{"channel": name}
	if has {
		data["channel_data"] = channelData
	}
	if protocol.ChannelName(name).NeedsAuth() {
		data["auth"] = r.auth(c, rest)
	}
	return command("pusher:subscribe", data)
}

func (r *runner) signin(c *conn, userData string) string {
	auth := r.sign(protocol.UserString(c.id, userData))
	return command("pusher:signin", map[string]string{"auth": auth, "user_data": userData})
}

func (r *runner) sign(text string) string {
	key, secret := r.target.Credential()
	return key + ":" + protocol.Sign(secret, text)
}

func command(event string, data map[string]string) string {
	frame, _ := json.Marshal(map[string]any{"event": event, "data": data}) // strings always marshal
	return string(frame)
}
