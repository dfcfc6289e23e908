package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Errors that no force overcomes.
var (
	ErrNoApp      = errors.New("route: no such app")
	ErrNoUpstream = errors.New("route: the app has no upstream, so its only stage is exited")
	ErrUnchanged  = errors.New("route: it is there already")
	ErrInvalid    = errors.New("route: invalid move")
	ErrNothing    = errors.New("route: no move is left to undo")
)

// Request asks for a move.
type Request struct {
	App      string
	Channels string       // name pattern of the rule to move; empty: the app itself
	Stage    proxy.Stage  //
	Percent  int          // canary: share to put on the engine, 0..100
	By       proxy.Sticky // canary: what the share is taken of; empty: channel
	Who, Why string       // for the journal; Who must be given
	Force    bool         // move in spite of the gates, and say so in the journal
}

// Move is a change of one scope from one state to another.
type Move struct {
	App      string `json:"app"`
	Channels string `json:"channels,omitempty"` // empty: the app itself
	From     State  `json:"from"`
	To       State  `json:"to"`
}

// Forward reports whether more comes to the engine than before. Only such
// moves are gated: the way back is always open.
func (m Move) Forward() bool {
	if m.From.Stage != m.To.Stage {
		return m.To.Stage > m.From.Stage
	}
	return m.To.Percent > m.From.Percent
}

// String returns the move in words, for logs and people.
func (m Move) String() string {
	what := "app " + m.App
	if m.Channels != "" {
		what = "channels " + m.Channels + " of " + what
	}
	return fmt.Sprintf("move %s from %s to %s", what, m.From, m.To)
}

// String returns the stage, with its share in a canary.
func (s State) String() string {
	if s.Stage == proxy.StageCanary {
		return fmt.Sprintf("%s %d%% by %s", s.Stage, s.Percent, s.By)
	}
	return s.Stage.String()
}

// Gate looks at the evidence for a forward move.
type Gate interface {
	// Judge returns what stands against a move; nothing lets it pass. An
	// error means that it could not be judged, which does not let it pass
	// either.
	Judge(ctx context.Context, m Move) ([]Objection, error)
}

// Objection is one reason against a move.
type Objection struct {
	Gate string `json:"gate"` // short name, such as "report"
	Text string `json:"text"` // what was found, and what to do about it
}

// Refused is the error of a move that gates object to. Force overcomes it.
type Refused struct {
	Move       Move
	Objections []Objection
}

// Error implements error.
func (r *Refused) Error() string {
	texts := make([]string, len(r.Objections))
	for i, o := range r.Objections {
		texts[i] = o.Gate + ": " + o.Text
	}
	return fmt.Sprintf("refused to %s: %s", r.Move, strings.Join(texts, "; "))
}

// target checks a request and returns the state that it asks for.
func (q Request) target(app *proxy.App) (State, error) {
	to := State{Stage: q.Stage}
	switch {
	case q.Who == "":
		return to, fmt.Errorf("%w: say who moves it", ErrInvalid)
	case q.Stage < proxy.StageObserve || q.Stage > proxy.StageExited:
		return to, fmt.Errorf("%w: unknown stage", ErrInvalid)
	case app.Upstream == nil && q.Stage != proxy.StageExited:
		return to, ErrNoUpstream
	case !validPattern(q.Channels):
		return to, fmt.Errorf("%w: channels %q must be a channel name in which * may stand for any characters", ErrInvalid, q.Channels)
	case q.Stage != proxy.StageCanary:
		if q.Percent != 0 || q.By != "" {
			return to, fmt.Errorf("%w: only a canary has a share", ErrInvalid)
		}
		return to, nil
	case q.Percent < 0 || q.Percent > 100:
		return to, fmt.Errorf("%w: a share is 0 to 100 percent", ErrInvalid)
	}
	to.Percent, to.By = q.Percent, q.By
	switch to.By {
	case "":
		to.By = proxy.ByChannel
	case proxy.ByChannel, proxy.ByUser:
	default:
		return to, fmt.Errorf("%w: a share is taken by %s or by %s", ErrInvalid, proxy.ByChannel, proxy.ByUser)
	}
	return to, nil
}

// validPattern reports whether a pattern may be a rule's; empty stands for
// the app.
func validPattern(pattern string) bool {
	bare := strings.ReplaceAll(pattern, "*", "")
	return bare == "" || protocol.ChannelName(bare).Valid(protocol.MaxChannelNameLength) || strings.HasPrefix(bare, "#server-to-user-")
}
