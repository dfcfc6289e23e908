package host

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Settings wire a Host.
type Settings struct {
	Bindings []Binding // a process for each
	// Executable is this program's own path. It serves the translators named
	// in Builtins when run as "EXECUTABLE plugin serve NAME".
	Executable string
	Builtins   []string
	Out        proxy.Sink // what is found out; never waited for
	// Apps returns an app as it is configured now. It and Publish are needed
	// where a binding has the role bridge.
	Apps func(id string) (*proxy.App, bool)
	// Publish brings an event of a backend's to the gateway's clients. Its
	// Origin is the backend; it has no ID and no time.
	Publish func(ctx context.Context, ev *proxy.Event) error
	// Members returns who is on a presence channel, in order of arrival, with
	// what is told about them. Nil: backends are told of no members.
	Members func(ctx context.Context, t proxy.Topic) ([]proxy.Member, error)
	// Channels returns the channels of an app that have subscribers, of which
	// a backend may be given some by a reload.
	Channels func(ctx context.Context, app string) ([]protocol.ChannelName, error)
	// Owners has one node bring in what several nodes' bridges observe, and
	// Node is this one's number, as in the ids of its events. Nil: there is one
	// node.
	Owners proxy.Owners
	Node   uint64
	Log    zerolog.Logger
	// Lock pins the checksums of plugin executables; nil: none is pinned.
	Lock *Lock
	// Gateway marks this deployment's messages on backends: no other gateway of
	// theirs may have the same name. Default "offramp".
	Gateway string
	// SocketDir is where each process gets a private directory for its socket.
	// Default: the system's temporary directory.
	SocketDir string
	// Environment names the variables that plugins inherit beside the few that
	// every program needs. Nothing else of the gateway's environment reaches
	// them.
	Environment []string

	// QueueItems and QueueBytes bound what waits for one plugin. What does not
	// fit is dropped, counted and reported as a gap. Defaults 16384 and 32 MiB.
	QueueItems int
	QueueBytes int
	// Deadline is how long an event may take from acceptance to the backend's
	// answer. Default 30s.
	Deadline time.Duration
	// Linger is how long an idle channel stays subscribed on the backend.
	// Default 1m.
	Linger time.Duration
	// Supervision of a plugin that fails.
	Restart RestartPolicy
	// Breaker ends loops of bridges.
	Breaker BreakerPolicy
}

// RestartPolicy bounds how often a failing plugin is started again.
type RestartPolicy struct {
	First  time.Duration // wait before the first restart; default 100ms, then doubled, with jitter
	Max    time.Duration // longest wait; default 10s
	Budget int           // restarts within Window before quarantine; default 5
	Window time.Duration // default 10m
}

// Binding is one backend of one app.
type Binding struct {
	App     string
	Backend proxy.Backend
}

// BindingsOf returns the bindings of every backend of apps.
func BindingsOf(apps []*proxy.App) []Binding {
	var bindings []Binding
	for _, app := range apps {
		for _, backend := range app.Backends {
			bindings = append(bindings, Binding{App: app.ID, Backend: backend})
		}
	}
	return bindings
}

func (s Settings) withDefaults() Settings {
	s.Gateway = orDefault(s.Gateway, "offramp")
	s.QueueItems = orDefault(s.QueueItems, 16384)
	s.QueueBytes = orDefault(s.QueueBytes, 32<<20)
	s.Deadline = orDefault(s.Deadline, 30*time.Second)
	s.Linger = orDefault(s.Linger, time.Minute)
	s.Restart.First = orDefault(s.Restart.First, 100*time.Millisecond)
	s.Restart.Max = orDefault(s.Restart.Max, 10*time.Second)
	s.Restart.Budget = orDefault(s.Restart.Budget, 5)
	s.Restart.Window = orDefault(s.Restart.Window, 10*time.Minute)
	s.Breaker.Circles = orDefault(s.Breaker.Circles, 100)
	s.Breaker.Strays = orDefault(s.Breaker.Strays, 20)
	s.Breaker.Window = orDefault(s.Breaker.Window, 10*time.Second)
	s.Breaker.Pause = orDefault(s.Breaker.Pause, 30*time.Second)
	return s
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
