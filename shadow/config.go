package shadow

import (
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/rs/zerolog"
)

// Config is what operators may set about the comparison. The zero value of a
// field means its default.
type Config struct {
	// Window is how long an event may take to arrive on a leg before it is
	// missing there. Default 30 s.
	Window time.Duration
	// Edge is how near to the start or end of a socket's subscription a
	// delivery must be to be ambiguous, and how long an event that arrived
	// everywhere is kept before its comparison is closed. Default 2 s.
	Edge time.Duration
	// Grace is how long the members of a presence channel may differ between
	// two legs before that is an episode. Default 5 s.
	Grace time.Duration
	// Quiet is how long no record may arrive before Settle believes that
	// nothing is on its way any more. Default 1 s.
	Quiet time.Duration
	// Queue bounds the records waiting to be compared. When it is full, new
	// ones are dropped and what they would have shown is unknown. Default 65 536.
	Queue int
	// ChannelWindow bounds the open events, and each leg's open arrivals, of
	// one channel. Beyond it the oldest are closed early, and those that are
	// incomplete become unknown. Default 16 384.
	ChannelWindow int
	// OpenWindow bounds open events and arrivals of all channels together,
	// with the same consequence. Default 2 000 000.
	OpenWindow int
	// Views bounds the relayed sockets watched per channel. Default 4.
	Views int
	// Patterns bounds the channel patterns, and the event names, that get
	// cells of their own per app; the rest is "other". Default 200.
	Patterns int
	// Bodies bounds the bytes of payload kept for open comparisons, which
	// tell a re-encoded payload from an altered one. Default 64 MiB.
	Bodies int
	// Cell is the span of time that one cell counts, in whole seconds. After
	// six hours cells are joined to hours. Default one minute.
	Cell time.Duration
	// Keep is how long cells stay in memory, and in the journal. Default 30 days.
	Keep time.Duration
}

func (c Config) withDefaults() Config {
	setDefault(&c.Window, 30*time.Second)
	setDefault(&c.Edge, 2*time.Second)
	setDefault(&c.Grace, 5*time.Second)
	setDefault(&c.Quiet, time.Second)
	setDefault(&c.Queue, 65_536)
	setDefault(&c.ChannelWindow, 16_384)
	setDefault(&c.OpenWindow, 2_000_000)
	setDefault(&c.Views, 4)
	setDefault(&c.Patterns, 200)
	setDefault(&c.Bodies, 64<<20)
	setDefault(&c.Cell, time.Minute)
	c.Cell = max(time.Second, c.Cell.Truncate(time.Second))
	setDefault(&c.Keep, 30*24*time.Hour)
	return c
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Settings wires a Comparator.
type Settings struct {
	Config Config
	// Apps looks an app up, to learn which legs a channel has. Required.
	Apps func(id string) (*proxy.App, bool)
	// Journal keeps cells across restarts; nil: they live in memory only.
	Journal *Journal
	// Copy is shown every record that the comparator uses; nil: nobody is.
	// What it drops is its own affair.
	Copy proxy.Sink
	Log  zerolog.Logger
}
