package ablytest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options set a server's limits. A zero field is what the vendor documents.
type Options struct {
	// Key is APP.KEYID:SECRET. Default "app.key:secret".
	Key string
	// Addr is where to listen; default any free port of 127.0.0.1.
	Addr string
	// PublishesPerSecond on one channel. Default 50.
	PublishesPerSecond int
	// ChannelsPerConnection that can be attached. Default 200.
	ChannelsPerConnection int
	// MembersPerChannel that can be present. Default 200.
	MembersPerChannel int
	// MaxMessageSize of one publish, in bytes. Default 65536.
	MaxMessageSize int
	// TokenTTL is the longest life of a token. Default: as long as asked for.
	TokenTTL time.Duration
	// RemainPresentFor is how long members stay whose connection was cut.
	// Default 15s.
	RemainPresentFor time.Duration
	// StateTTL is how long a cut connection can be resumed. Default 2m.
	StateTTL time.Duration
}

func (o Options) withDefaults() Options {
	if o.Key == "" {
		o.Key = "app.key:secret"
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	defaultTo(&o.PublishesPerSecond, 50)
	defaultTo(&o.ChannelsPerConnection, 200)
	defaultTo(&o.MembersPerChannel, 200)
	defaultTo(&o.MaxMessageSize, 65536)
	defaultTo(&o.RemainPresentFor, 15*time.Second)
	defaultTo(&o.StateTTL, 2*time.Minute)
	return o
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server is a running stand-in.
type Server struct {
	options            Options
	keyName, keySecret string
	epoch              string
	listener           net.Listener
	http               *http.Server
	wg                 sync.WaitGroup

	mu           sync.Mutex
	closed       bool
	nonces       map[string]time.Time
	revokedUntil int64 // tokens issued at or before this, in Unix milliseconds, have expired
	failResume   bool
	denied       map[string]bool // channels that nobody may use
	connections  map[string]*connection
	channels     map[string]*channel
	publishes    int // accepted publishes, whatever the number of their messages
}

// Start starts a server.
func Start(o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{
		options: o, epoch: randomID(6), nonces: map[string]time.Time{}, denied: map[string]bool{},
		connections: map[string]*connection{}, channels: map[string]*channel{},
	}
	var ok bool
	if s.keyName, s.keySecret, ok = strings.Cut(o.Key, ":"); !ok {
		return nil, fmt.Errorf("key %q: want APP.KEYID:SECRET", o.Key)
	}
	var err error
	if s.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return nil, fmt.Errorf("start the Ably stand-in: %w", err)
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	s.wg.Go(func() {
		// It ends with Close, and clients notice any other end.
		_ = s.http.Serve(s.listener)
	})
	return s, nil
}

// Addr returns the server's host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Key returns the API key.
func (s *Server) Key() string { return s.options.Key }

// Close cuts every connection and ends the server.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.connections {
		c.forget()
	}
	s.mu.Unlock()
	err := s.http.Close()
	s.wg.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// CutConnections cuts every connection without a word, as a network does.
func (s *Server) CutConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		c.cut()
	}
}

// Disconnect tells every connection to connect again, as the vendor does
// when it moves them to another machine.
func (s *Server) Disconnect() {
	s.disconnect(errorf(80003, 503, "disconnected: moving to another machine"))
}

// ExpireTokens makes every token that was issued so far expire now.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	s.revokedUntil = time.Now().UnixMilli()
	s.mu.Unlock()
	s.disconnect(errorf(40142, 401, "token expired"))
}

func (s *Server) disconnect(why *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		c.send(frame{Action: actionDisconnected, Error: why})
		c.finish()
	}
}

// FailResume makes every attempt to resume a connection fail, or not.
func (s *Server) FailResume(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failResume = fail
}

// Deny takes all rights on a channel from everybody.
func (s *Server) Deny(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[channel] = true
}

// Publishes returns how many publishes were accepted. Several messages in one
// are one publish.
func (s *Server) Publishes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publishes
}

// Connections returns how many connections there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.connections {
		if c.out != nil {
			n++
		}
	}
	return n
}

// Messages returns what a channel has accepted, in order.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Message
	if ch, ok := s.channels[channel]; ok {
		for _, p := range ch.history {
			all = append(all, p.messages...)
		}
	}
	return all
}

// may reports whether somebody may do something. Called with mu held.
func (s *Server) may(who identity, channel, operation string) error {
	if s.denied[channel] || !who.capability.allows(channel, operation) {
		return errorf(40160, 401, "operation %q not permitted with provided capability on channel %s", operation, channel)
	}
	return nil
}

func randomID(bytes int) string {
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}
