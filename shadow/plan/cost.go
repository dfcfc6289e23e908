package plan

import (
	"bytes"
	"cmp"
	_ "embed" // the default prices
	"fmt"
	"math"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/shadow/inventory"
)

// Prices are a vendor's tiers and what running it oneself costs. They are a
// file that the user edits: prices change, and contracts differ.
type Prices struct {
	Source   string  `yaml:"source" json:"source"` // where the figures are from, and when
	Currency string  `yaml:"currency" json:"currency"`
	Tiers    []Tier  `yaml:"tiers" json:"tiers"`
	Own      OwnCost `yaml:"own" json:"own"`
}

// Tier is one plan of the vendor.
type Tier struct {
	Name           string  `yaml:"name" json:"name"`
	PerMonth       float64 `yaml:"per_month" json:"per_month"`
	Connections    int     `yaml:"connections" json:"connections"`
	MessagesPerDay int64   `yaml:"messages_per_day" json:"messages_per_day"`
}

// OwnCost is what a server of one's own costs and carries.
type OwnCost struct {
	ServerPerMonth      float64 `yaml:"server_per_month" json:"server_per_month"`
	ServerMiB           int     `yaml:"server_mib" json:"server_mib"`
	KiBPerConnection    float64 `yaml:"kib_per_connection" json:"kib_per_connection"`
	DeliveriesPerSecond float64 `yaml:"deliveries_per_second" json:"deliveries_per_second"` // that one server carries
	PeakToAverage       float64 `yaml:"peak_to_average" json:"peak_to_average"`
	Servers             int     `yaml:"servers" json:"servers"` // at least, for redundancy
}

//go:embed prices.yaml
var defaultPrices []byte

// maxPrices bounds a price file.
const maxPrices = 1 << 20

// ReadPrices reads a price file; the empty path is the built-in one.
func ReadPrices(path string) (Prices, error) {
	text := defaultPrices
	if path != "" {
		info, err := os.Stat(path)
		if err == nil && info.Size() > maxPrices {
			err = fmt.Errorf("it has %d bytes, at most %d are read", info.Size(), maxPrices)
		}
		if err == nil {
			text, err = os.ReadFile(path)
		}
		if err != nil {
			return Prices{}, fmt.Errorf("read prices: %w", err)
		}
	}
	var p Prices
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("read prices: %w", err)
	}
	switch {
	case len(p.Tiers) == 0:
		return p, fmt.Errorf("read prices: there are no tiers: list at least one")
	case p.Own.ServerMiB <= 0 || p.Own.KiBPerConnection <= 0 || p.Own.DeliveriesPerSecond <= 0 || p.Own.PeakToAverage < 1:
		return p, fmt.Errorf("read prices: under own, server_mib, kib_per_connection and deliveries_per_second must be above 0, and peak_to_average at least 1")
	}
	slices.SortFunc(p.Tiers, func(a, b Tier) int { return cmp.Compare(a.PerMonth, b.PerMonth) })
	return p, nil
}

// Cost is the bill of an app, per month.
type Cost struct {
	App      string             `json:"app"`
	Currency string             `json:"currency"`
	Source   string             `json:"source"`
	Day      inventory.Day      `json:"day"` // busiest whole or running day, which the bill rests on
	Peak     int                `json:"peak_connections"`
	Vendor   TierChoice         `json:"vendor"`
	During   TierChoice         `json:"during_migration"` // with what taps and copies add, at their most
	Own      OwnChoice          `json:"own"`
	Saving   float64            `json:"saving_per_month"` // 0 where no listed tier carries the load
	Messages inventory.Messages `json:"messages"`         // of that day, by cause
}

// TierChoice is the cheapest tier that carries a load.
type TierChoice struct {
	Tier     string  `json:"tier"` // empty: none of the listed ones does
	PerMonth float64 `json:"per_month"`
	Messages int64   `json:"messages_per_day"`
	Peak     int     `json:"peak_connections"`
}

// OwnChoice is the servers that carry a load.
type OwnChoice struct {
	Servers  int     `json:"servers"`
	PerMonth float64 `json:"per_month"`
	MiB      float64 `json:"mib_for_connections"`
}

// Bill computes an app's cost from counted messages. There is one caveat in
// the figures: the vendor sums all apps of an account.
func Bill(d inventory.Document, p Prices) Cost {
	c := Cost{App: d.App, Currency: p.Currency, Source: p.Source, Peak: d.Peaks.Connections}
	for _, day := range d.Days {
		if day.Total() >= c.Day.Total() {
			c.Day = day
		}
	}
	c.Messages = c.Day.Messages
	c.Vendor = p.choose(c.Day.Total(), c.Peak)
	// While both sides have clients, every publish goes to the vendor as
	// before, and a tap hears each event once more.
	taps := c.Day.APICalls + c.Day.ClientEvents
	c.During = p.choose(c.Day.Total()+taps, c.Peak+tapConnections)
	c.Own = p.Own.choose(c.Day.Deliveries, c.Peak)
	if c.Vendor.Tier != "" {
		c.Saving = c.Vendor.PerMonth - c.Own.PerMonth
	}
	return c
}

// tapConnections is what a gateway's own connections to the vendor are
// allowed for.
const tapConnections = 10

func (p Prices) choose(messages int64, peak int) TierChoice {
	c := TierChoice{Messages: messages, Peak: peak}
	for _, t := range p.Tiers {
		if messages <= t.MessagesPerDay && peak <= t.Connections {
			c.Tier, c.PerMonth = t.Name, t.PerMonth
			return c
		}
	}
	return c
}

const secondsPerDay = 86400

func (o OwnCost) choose(deliveries int64, peak int) OwnChoice {
	c := OwnChoice{MiB: float64(peak) * o.KiBPerConnection / 1024}
	rate := float64(deliveries) / secondsPerDay * o.PeakToAverage
	// Half a server's memory is left to the system and to bursts.
	need := max(c.MiB/(float64(o.ServerMiB)/2), rate/o.DeliveriesPerSecond)
	c.Servers = max(o.Servers, int(math.Ceil(need)))
	c.PerMonth = float64(c.Servers) * o.ServerPerMonth
	return c
}
