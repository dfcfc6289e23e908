package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/capture"
)

// Bounds of what is played.
const (
	maxPlayed         = 5_000_000 // events
	maxPlayedChannels = 20_000
	channelsPerSeat   = 100
)

// player publishes events through a gateway of its own, with a client on
// every channel and one backend beside the engine.
type player struct {
	events   publications
	channels []string
	times    []time.Time // when each event was published
	gateway  *gateway
	app      *proxy.App
	file     string // where what happens is recorded
}

// readSettings reads a plugin's settings; the empty path has none.
func readSettings(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var settings map[string]any
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("read settings: %s is not YAML: %w", path, err)
	}
	return settings, nil
}

// newPlayer reads the events once, to learn their channels and times, and
// makes the gateway.
func newPlayer(dir, plugin string, settings map[string]any, events publications) (*player, error) {
	p := &player{file: filepath.Join(dir, "played.capture")}
	p.events = func(yield func(publication) error) error {
		return events(func(e publication) error {
			if strings.HasPrefix(string(e.event.Topic.Channel), "#") {
				return nil // a user's own channel: nobody can be subscribed to it here
			}
			return yield(e)
		})
	}
	channels := make(map[string]bool)
	err := p.events(func(e publication) error {
		channels[string(e.event.Topic.Channel)] = true
		p.times = append(p.times, e.at)
		if len(p.times) > maxPlayed || len(channels) > maxPlayedChannels {
			return fmt.Errorf("it has more than %d events or %d channels: record a shorter stretch", maxPlayed, maxPlayedChannels)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(p.times) == 0 {
		return nil, errors.New("there is no publish in it to replay")
	}
	p.channels = slices.Sorted(maps.Keys(channels))

	config, err := demoConfig(filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	app := *config.Apps[0]
	app.Limits.EventBytes = 1 << 20
	app.Backends = []proxy.Backend{{
		Name: backendNameOf(plugin), Plugin: plugin, Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1, Settings: settings,
	}}
	config.Apps, p.app = []*proxy.App{&app}, &app
	p.gateway, err = newGateway(config, gatewayOptions{log: zerolog.Nop()})
	return p, err
}

// backendNameOf names a backend after its plugin.
func backendNameOf(plugin string) string {
	name := strings.ToLower(filepath.Base(plugin))
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// run plays everything and returns what came of it.
func (p *player) run(ctx context.Context) (ev shadow.Evidence, err error) {
	defer p.gateway.close()
	running, stop := context.WithCancel(ctx)
	ended := runApart(running, p.gateway)
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	ready, cancel := context.WithTimeout(ctx, warmUpPatience)
	defer cancel()
	if err := awaitPlugin(ready, p.gateway, func(s host.Status) bool { return s.State == host.StateRunning }); err != nil {
		return ev, err
	}
	at, err := targetOf(p.gateway.config.Listen, p.app)
	if err != nil {
		return ev, err
	}
	// The clients stay until nothing is recorded any more.
	var seats errgroup.Group
	seated, leave := context.WithCancel(ctx)
	defer func() {
		leave()
		err = errors.Join(err, seats.Wait())
	}()
	var began time.Time
	err = p.recorded(ctx, func() error {
		for some := range slices.Chunk(p.channels, channelsPerSeat) {
			seats.Go(func() error {
				return (&tailer{at: at, channels: some, user: "replay", all: true, out: io.Discard}).run(seated)
			})
		}
		if err := p.awaitSeats(ready); err != nil {
			return err
		}
		began = time.Now()
		return p.play(ctx, at.api(), began)
	})
	if err != nil {
		return ev, err
	}
	err = readCapture(p.file, func(r *capture.Reader) error {
		ev, err = shadow.Replay(shadow.Settings{Apps: oneApp(r.App())}, p.app.ID, retimed(r.Next, p.times, began))
		return err
	})
	return ev, err
}

// recorded captures what the gateway sees while do runs.
func (p *player) recorded(ctx context.Context, do func() error) error {
	return writeFile(p.file, func(w io.Writer) error {
		record, err := p.gateway.recorder.Start(p.app, capture.Settings{Out: w, Queue: 1 << 18})
		if err != nil {
			return err
		}
		recording, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- record(recording) }()
		err = do()
		end()
		return errors.Join(err, <-done)
	})
}

// play publishes all events at their pace, and waits until nothing more comes.
func (p *player) play(ctx context.Context, api *pusher.Client, began time.Time) error {
	if err := p.publish(ctx, api, began); err != nil {
		return err
	}
	settled, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return p.gateway.comparator.Settle(settled)
}

// awaitSeats waits until all channels have their client, and the backend listens
// on them.
func (p *player) awaitSeats(ctx context.Context) error {
	for p.gateway.engine.Stats(p.app.ID).Subscriptions < len(p.channels) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("subscribe to %d channels: %w", len(p.channels), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return awaitPlugin(ctx, p.gateway, func(s host.Status) bool { return s.Channels >= len(p.channels) })
}

func (p *player) publish(ctx context.Context, api *pusher.Client, began time.Time) error {
	return p.events(func(e publication) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(began.Add(e.at.Sub(p.times[0])))):
		}
		if err := api.Trigger(string(e.event.Topic.Channel), e.event.Name, string(e.event.Data)); err != nil {
			return fmt.Errorf("publish %s on %s: %w", e.event.Name, e.event.Topic.Channel, err)
		}
		return nil
	})
}

// targetOf returns a gateway on this machine as a target of the tools.
func targetOf(listen string, app *proxy.App) (*target, error) {
	t := &target{appID: app.ID, key: app.Credentials[0].Key, secret: app.Credentials[0].Secret.Reveal()}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	t.host = host
	t.port, err = strconv.Atoi(port)
	return t, err
}

// retimed moves records that were made while events were played to the time at
// which those were published first: each publish exactly, and what follows it
// on its channel by as much. So what is counted per minute does not depend on
// when it was played, and only what was measured differs: the latencies.
func retimed(next func() (proxy.Record, error), times []time.Time, began time.Time) func() (proxy.Record, error) {
	played := 0
	base := times[0].Sub(began)
	shifts := make(map[protocol.ChannelName]time.Duration)
	return func() (proxy.Record, error) {
		r, err := next()
		if err != nil {
			return r, err
		}
		shift, ok := shifts[r.Topic.Channel]
		if !ok {
			shift = base
		}
		if r.Kind == proxy.KindPublished && r.Event != nil && played < len(times) {
			shift = times[played].Sub(r.Event.At)
			shifts[r.Topic.Channel] = shift
			played++
		}
		r.At = r.At.Add(shift)
		if !r.From.IsZero() {
			r.From = r.From.Add(shift)
		}
		if r.Event != nil && !r.Event.At.IsZero() {
			r.Event.At = r.Event.At.Add(shift) // the reader made it for us alone
		}
		return r, nil
	}
}
