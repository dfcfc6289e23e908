package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Abilities of an opened session beyond publishing.
const (
	AbilitySubscribe = "subscribe"
	AbilityPresence  = "presence"
	AbilityQuery     = "query"
	AbilityPreview   = "preview"
)

// Client calls one plugin process. It is the contract in Go's terms, one
// method per call; it keeps no state. Errors mean that the call broke, and
// with it usually the process.
type Client struct {
	rpc wire.BackendClient
}

func newClient(conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: wire.NewBackendClient(conn)}
}

// Describe returns the translator's description.
func (c *Client) Describe(ctx context.Context) (translators.Description, error) {
	response, err := c.rpc.Describe(ctx, &wire.DescribeRequest{})
	if err != nil {
		return translators.Description{}, fmt.Errorf("describe plugin: %w", err)
	}
	return wire.ToDescription(response)
}

// Validate returns what is wrong with settings.
func (c *Client) Validate(ctx context.Context, s translators.Settings) (translators.Problems, error) {
	raw, err := wire.FromSettings(s)
	if err != nil {
		return nil, err
	}
	response, err := c.rpc.Validate(ctx, &wire.ValidateRequest{Settings: raw})
	if err != nil {
		return nil, fmt.Errorf("validate settings: %w", err)
	}
	return wire.ToProblems(response.GetProblems()), nil
}

// Opened is what Open found out.
type Opened struct {
	Abilities []string
	Credit    int // items that may be outstanding on the publish stream
	// Limits are those in force with the session's settings; nil: it does not
	// say.
	Limits *translators.Limits
}

// Can reports whether the session has an ability.
func (o Opened) Can(ability string) bool { return slices.Contains(o.Abilities, ability) }

// OpenError is what a translator answered when it could not open a session:
// the settings or the backend are at fault, not the process.
type OpenError struct{ Text string }

// Error implements error.
func (e *OpenError) Error() string { return e.Text }

// Open opens the process's one session. The error is a translators.Problems
// when the settings are wrong, an *OpenError when the backend refused.
func (c *Client) Open(ctx context.Context, b translators.Binding) (Opened, error) {
	raw, err := wire.FromSettings(b.Settings)
	if err != nil {
		return Opened{}, err
	}
	response, err := c.rpc.Open(ctx, &wire.OpenRequest{
		AppId: b.App, Backend: b.Backend, Role: string(b.Role), Gateway: b.Gateway, Settings: raw, ApiMinor: ContractMinor,
	})
	switch {
	case err != nil:
		return Opened{}, fmt.Errorf("open session: %w", err)
	case len(response.GetProblems()) > 0:
		return Opened{}, wire.ToProblems(response.GetProblems())
	case response.GetError() != "":
		return Opened{}, &OpenError{Text: response.GetError()}
	}
	return Opened{
		Abilities: response.GetAbilities(), Credit: int(response.GetCredit()), Limits: wire.ToLimits(response.GetLimits()),
	}, nil
}

// Preview returns an item's native form and what of it would be lost.
func (c *Client) Preview(ctx context.Context, e translators.Envelope) (translators.Native, []translators.Loss, error) {
	response, err := c.rpc.Translate(ctx, &wire.TranslateRequest{Item: wire.FromEnvelope(e)})
	if err != nil {
		return translators.Native{}, nil, fmt.Errorf("preview: %w", err)
	}
	native, losses := wire.ToNative(response)
	return native, losses, nil
}

// Query returns what the backend knows of a channel.
func (c *Client) Query(ctx context.Context, channel protocol.ChannelName) (translators.Occupancy, error) {
	response, err := c.rpc.Query(ctx, &wire.QueryRequest{Channel: string(channel)})
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("query: %w", err)
	}
	return translators.Occupancy{
		Occupied:      response.GetOccupied(),
		Subscriptions: int(response.GetSubscriptions()),
		Members:       wire.ToMembers(response.GetMembers()),
	}, nil
}

// Drained is what was left when a plugin had drained.
type Drained struct {
	Leftover int                // items that were accepted and never answered
	Report   translators.Report // the session's last
}

// Drain makes the plugin take nothing more, flush and close its session. It
// returns after within at the latest.
func (c *Client) Drain(ctx context.Context, within time.Duration) (Drained, error) {
	response, err := c.rpc.Drain(ctx, &wire.DrainRequest{WithinMs: uint32(within.Milliseconds())})
	if err != nil {
		return Drained{}, fmt.Errorf("drain: %w", err)
	}
	return Drained{Leftover: int(response.GetLeftover()), Report: wire.ToReport(response.GetStatus())}, nil
}

// PublishStream hands batches to a plugin and returns their results. Send and
// Recv may be called at the same time, each from one goroutine.
type PublishStream struct {
	stream grpc.BidiStreamingClient[wire.PublishBatch, wire.PublishAck]
}

// Publish opens the publish stream. It ends with ctx.
func (c *Client) Publish(ctx context.Context) (*PublishStream, error) {
	stream, err := c.rpc.Publish(ctx)
	if err != nil {
		return nil, fmt.Errorf("open publish stream: %w", err)
	}
	return &PublishStream{stream: stream}, nil
}

// Send hands over a batch. Its number comes back in the Ack.
func (s *PublishStream) Send(batch uint64, items []translators.Envelope) error {
	return s.stream.Send(&wire.PublishBatch{Batch: batch, Items: wire.FromEnvelopes(items)})
}

// CloseSend says that no batch follows.
func (s *PublishStream) CloseSend() error { return s.stream.CloseSend() }

// Ack is a plugin's answer for one batch.
type Ack struct {
	Batch   uint64
	Results []translators.Result // one per item, in the batch's order
	Credit  int                  // items that may be outstanding from now on
}

// Recv returns the next answer. Batches may be answered in another order than
// they were sent.
func (s *PublishStream) Recv() (Ack, error) {
	ack, err := s.stream.Recv()
	if err != nil {
		return Ack{}, err
	}
	results := make([]translators.Result, len(ack.GetResults()))
	for i, r := range ack.GetResults() {
		results[i] = wire.ToResult(r)
	}
	return Ack{Batch: ack.GetBatch(), Results: results, Credit: int(ack.GetCredit())}, nil
}

// SubscribeStream says what to observe, and shows what is observed. Recv may
// be called at the same time as one of the others.
type SubscribeStream struct {
	stream grpc.BidiStreamingClient[wire.SubscribeControl, wire.InboundBatch]
}

// Subscribe opens the subscribe stream. It ends with ctx.
func (c *Client) Subscribe(ctx context.Context) (*SubscribeStream, error) {
	stream, err := c.rpc.Subscribe(ctx)
	if err != nil {
		return nil, fmt.Errorf("open subscribe stream: %w", err)
	}
	return &SubscribeStream{stream: stream}, nil
}

// Add asks for channels' events.
func (s *SubscribeStream) Add(channels ...string) error {
	return s.stream.Send(&wire.SubscribeControl{Op: &wire.SubscribeControl_Add{Add: &wire.ChannelSet{Channels: channels}}})
}

// Drop ends what Add began.
func (s *SubscribeStream) Drop(channels ...string) error {
	return s.stream.Send(&wire.SubscribeControl{Op: &wire.SubscribeControl_Drop{Drop: &wire.ChannelSet{Channels: channels}}})
}

// Grant lets the plugin send that many more events.
func (s *SubscribeStream) Grant(items int) error {
	credit := &wire.Credit{Items: uint32(items)}
	return s.stream.Send(&wire.SubscribeControl{Op: &wire.SubscribeControl_Credit{Credit: credit}})
}

// Inbound is what a plugin observed: events, and then changes of state.
type Inbound struct {
	Items  []translators.Envelope
	States []ChannelState
}

// ChannelState is a change of a channel's subscription.
type ChannelState struct {
	Channel protocol.ChannelName
	translators.ChannelState
}

// Recv returns what was observed next.
func (s *SubscribeStream) Recv() (Inbound, error) {
	batch, err := s.stream.Recv()
	if err != nil {
		return Inbound{}, err
	}
	in := Inbound{Items: make([]translators.Envelope, len(batch.GetItems()))}
	for i, e := range batch.GetItems() {
		in.Items[i] = wire.ToEnvelope(e)
	}
	for _, s := range batch.GetStates() {
		channel, state := wire.ToState(s)
		in.States = append(in.States, ChannelState{Channel: channel, ChannelState: state})
	}
	return in, nil
}

// PresenceStream sets members on a backend, one call at a time.
type PresenceStream struct {
	stream grpc.BidiStreamingClient[wire.PresenceIntent, wire.PresenceAck]
	intent uint64
}

// Presence opens the presence stream. It ends with ctx.
func (c *Client) Presence(ctx context.Context) (*PresenceStream, error) {
	stream, err := c.rpc.Presence(ctx)
	if err != nil {
		return nil, fmt.Errorf("open presence stream: %w", err)
	}
	return &PresenceStream{stream: stream}, nil
}

var errIntent = errors.New("plugin answered another presence intent")

// SetMembers makes a channel's members on the backend equal to want.
func (s *PresenceStream) SetMembers(channel protocol.ChannelName, want []proxy.Member) (translators.Result, error) {
	s.intent++
	intent := &wire.PresenceIntent{Intent: s.intent, Channel: string(channel), Members: wire.FromMembers(want)}
	if err := s.stream.Send(intent); err != nil {
		return translators.Result{}, fmt.Errorf("set members: %w", err)
	}
	ack, err := s.stream.Recv()
	switch {
	case err != nil:
		return translators.Result{}, fmt.Errorf("set members: %w", err)
	case ack.GetIntent() != s.intent:
		return translators.Result{}, errIntent
	}
	return wire.ToResult(ack.GetResult()), nil
}

// LeaseStream keeps a plugin process alive.
type LeaseStream struct {
	stream grpc.BidiStreamingClient[wire.Beat, wire.Status]
}

// Lease opens the lease. The process ends when it has had none for
// LeaseExpiry.
func (c *Client) Lease(ctx context.Context) (*LeaseStream, error) {
	stream, err := c.rpc.Lease(ctx)
	if err != nil {
		return nil, fmt.Errorf("open lease: %w", err)
	}
	return &LeaseStream{stream: stream}, nil
}

// Beat renews the lease and returns the session's report.
func (s *LeaseStream) Beat() (translators.Report, error) {
	if err := s.stream.Send(&wire.Beat{}); err != nil {
		return translators.Report{}, fmt.Errorf("renew lease: %w", err)
	}
	status, err := s.stream.Recv()
	if err != nil {
		return translators.Report{}, fmt.Errorf("renew lease: %w", err)
	}
	return wire.ToReport(status), nil
}
