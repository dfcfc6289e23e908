package inventory

import (
	"slices"
	"time"
)

// Schema names the version of a document's JSON form.
const Schema = "offramp.inventory/v1"

// Document is what is known of an app. Its JSON form is the admin API's.
type Document struct {
	Schema string    `json:"schema"`
	App    string    `json:"app"`
	From   time.Time `json:"from"` // first record seen
	To     time.Time `json:"to"`   // last record seen

	Channels []*Channels `json:"channels"`
	Events   []*Event    `json:"events"`
	Clients  []*Client   `json:"clients"`
	Features []*Feature  `json:"features"`
	Refusals []*Refusal  `json:"refusals"`
	Peaks    Peaks       `json:"peaks"`
	Days     []Day       `json:"days"` // oldest first, UTC
}

// Channels are those of one learned pattern.
type Channels struct {
	Pattern       string    `json:"pattern"`
	Type          string    `json:"type"`
	Distinct      int       `json:"distinct"` // names seen; a minimum from 10,000 on, and after a restart
	Subscriptions int64     `json:"subscriptions"`
	PeakMembers   int       `json:"peak_subscriptions"` // of one channel at a time
	Events        int64     `json:"events"`
	BytesMax      int       `json:"bytes_max"` // largest data
	BytesTotal    int64     `json:"bytes_total"`
	LastSeen      time.Time `json:"last_seen"`
}

// Event is one event name by who publishes it.
type Event struct {
	Name      string    `json:"name"`
	Publisher string    `json:"publisher"` // "server" or "client"
	Count     int64     `json:"count"`
	BytesMax  int       `json:"bytes_max"`
	LastSeen  time.Time `json:"last_seen"`
}

// Client is one version of one SDK, as its connections name themselves.
type Client struct {
	Library     string    `json:"library"`
	Version     string    `json:"version"`
	Protocol    int       `json:"protocol"`
	Transport   string    `json:"transport"`
	Connections int64     `json:"connections"`
	LastSeen    time.Time `json:"last_seen"`
}

// Feature is something of the service that the app was seen to use.
type Feature struct {
	Name      string    `json:"name"`
	Count     int64     `json:"count"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// Refusal is something that was not let through.
type Refusal struct {
	Action   string    `json:"action"`
	Code     int       `json:"code"`
	Text     string    `json:"text"`
	Count    int64     `json:"count"`
	LastSeen time.Time `json:"last_seen"`
}

// Peaks are the highest values seen.
type Peaks struct {
	Connections               int `json:"connections"`
	PublishesPerSecond        int `json:"publishes_per_second"`
	ClientEventsPerSecond     int `json:"client_events_per_second"` // of one connection
	SubscriptionsOfOneChannel int `json:"subscriptions_of_one_channel"`
}

// Day is the messages of one day.
type Day struct {
	Date string `json:"date"` // UTC
	Messages
}

// Messages are counted as the vendor bills them: each API call, each client
// event, each delivery, and each member's news to each subscriber.
type Messages struct {
	APICalls     int64 `json:"api_calls"`
	ClientEvents int64 `json:"client_events"`
	Deliveries   int64 `json:"deliveries"`
	Presence     int64 `json:"presence"`
}

// Total returns the number of messages.
func (m Messages) Total() int64 { return m.APICalls + m.ClientEvents + m.Deliveries + m.Presence }

func (d *Document) clone() Document {
	out := *d
	out.Channels, out.Events, out.Clients = copies(d.Channels), copies(d.Events), copies(d.Clients)
	out.Features, out.Refusals = copies(d.Features), copies(d.Refusals)
	out.Days = slices.Clone(d.Days)
	return out
}

func copies[T any](in []*T) []*T {
	out := make([]*T, len(in))
	for i, v := range in {
		c := *v
		out[i] = &c
	}
	return out
}
