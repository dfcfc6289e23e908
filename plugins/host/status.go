package host

import (
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// State is where a plugin's life stands.
type State string

// The states.
const (
	StateStarting    State = "starting"
	StateRunning     State = "running"
	StateWaiting     State = "waiting"     // died; will be started again
	StateQuarantined State = "quarantined" // died too often; stays down until Release
	StateStopped     State = "stopped"
)

// Status is how one backend is doing.
type Status struct {
	App      string     `json:"app"`
	Backend  string     `json:"backend"`
	Plugin   string     `json:"plugin"`
	Version  string     `json:"version"`
	Role     proxy.Role `json:"role"`
	State    State      `json:"state"`
	Since    time.Time  `json:"since"` // when it entered State
	PID      int        `json:"pid,omitempty"`
	Restarts int        `json:"restarts"`
	// Contract is the major version of the plugin contract that the process
	// and the gateway agreed on.
	Contract int `json:"contract,omitempty"`
	// Swaps counts the times that a new executable took over, SwapsRefused
	// those that it was not fit to; SwapError is why, the last time.
	Swaps        int    `json:"swaps"`
	SwapsRefused int    `json:"swaps_refused"`
	SwapError    string `json:"swap_error,omitempty"`
	// Healthy, Detail and Counters are what the plugin last said of itself.
	Healthy  bool              `json:"healthy"`
	Detail   string            `json:"detail,omitempty"`
	Counters map[string]uint64 `json:"counters,omitempty"`

	LastError string   `json:"last_error,omitempty"`
	LastLog   []string `json:"last_log,omitempty"` // the process's last lines, oldest first

	Queued      int `json:"queued"`      // waiting for the plugin
	Outstanding int `json:"outstanding"` // with the plugin, not answered
	Channels    int `json:"channels"`    // observed on the backend
	// ChannelsDenied are those not observed because the plugin declares that it
	// can observe no more.
	ChannelsDenied int               `json:"channels_denied,omitempty"`
	Results        map[string]uint64 `json:"results"` // answers, by result code
	// Refused are those of Results that the gateway gave in the plugin's place,
	// as the events exceed what it takes; LastRefused is what exceeded, last.
	Refused     uint64 `json:"refused,omitempty"`
	LastRefused string `json:"last_refused,omitempty"`

	Dropped   uint64 `json:"dropped"`   // events that did not fit the queue
	Resent    uint64 `json:"resent"`    // items sent again after a restart
	Delivered uint64 `json:"delivered"` // events observed on the backend
	Gaps      uint64 `json:"gaps"`      // gap records offered

	// Circled counts events that were not sent to the backend as they had come
	// through too many gateways.
	Circled uint64 `json:"circled,omitempty"`

	Presence *PresenceStatus `json:"presence,omitempty"` // of a plugin that declares presence

	Bridge *BridgeStatus `json:"bridge,omitempty"` // of a backend in role bridge
}

// PresenceStatus is what a backend is told of this node's members.
type PresenceStatus struct {
	Channels    int    `json:"channels"` // presence channels with members here
	Members     int    `json:"members"`  // on all of them
	Pending     int    `json:"pending"`  // channels whose members are to be told
	Calls       uint64 `json:"calls"`    // sets of members that the backend has taken
	Failures    uint64 `json:"failures"` // calls that failed and are made again
	LastFailure string `json:"last_failure,omitempty"`
	Cut         uint64 `json:"cut"` // members left out, as the backend takes no more on a channel
}

// BridgeStatus is what a bridge has brought from its backend.
type BridgeStatus struct {
	Published uint64            `json:"published"` // events brought to the gateway's clients
	Queued    int               `json:"queued"`    // waiting to be
	Withheld  map[string]uint64 `json:"withheld"`  // events not brought in, by reason
	// LastWithheld says what was wrong with the last event that was withheld
	// for what it is.
	LastWithheld string `json:"last_withheld,omitempty"`
	// Loops counts how often the app's loop breaker has opened; Open are the
	// channels for which it is open, and until when. "*" are all.
	Loops uint64                             `json:"loops"`
	Open  map[protocol.ChannelName]time.Time `json:"open,omitempty"`
}
