package wire

import (
	"encoding/json"
	"fmt"

	"github.com/offramp/offramp/translators"
)

// FromDescription returns a description's wire form. minors are the minor
// versions of the contract that the plugin understands.
func FromDescription(d translators.Description, minors ...uint32) (*DescribeResponse, error) {
	schema, err := json.Marshal(d.Settings)
	if err != nil {
		return nil, fmt.Errorf("encode settings schema: %w", err)
	}
	features := make(map[string]*Fidelity, len(d.Features))
	for feature, f := range d.Features {
		features[string(feature)] = &Fidelity{Level: Level(f.Level), Note: f.Note}
	}
	return &DescribeResponse{
		Name:         d.Name,
		Version:      d.Version,
		ApiMinor:     minors,
		ConfigSchema: schema,
		Features:     features,
		Limits:       fromLimits(d.Limits),
		Ordering:     Ordering(d.Ordering),
		Guarantee:    Guarantee(d.Guarantee),
		Echo:         EchoControl(d.Echo),
	}, nil
}

// ToDescription is the inverse of FromDescription. Values that this side does
// not know become the weakest promise of their kind.
func ToDescription(r *DescribeResponse) (translators.Description, error) {
	var schema translators.Schema
	if err := json.Unmarshal(r.GetConfigSchema(), &schema); err != nil {
		return translators.Description{}, fmt.Errorf("decode settings schema: %w", err)
	}
	features := make(map[translators.Feature]translators.Fidelity, len(r.GetFeatures()))
	for feature, f := range r.GetFeatures() {
		features[translators.Feature(feature)] = translators.Fidelity{
			Level: known(translators.Level(f.GetLevel()), translators.Exact), Note: f.GetNote(),
		}
	}
	return translators.Description{
		Name:      r.GetName(),
		Version:   r.GetVersion(),
		Settings:  schema,
		Features:  features,
		Limits:    toLimits(r.GetLimits()),
		Ordering:  known(translators.Ordering(r.GetOrdering()), translators.OrderPerChannel),
		Guarantee: known(translators.Guarantee(r.GetGuarantee()), translators.EffectivelyOnce),
		Echo:      known(translators.Echo(r.GetEcho()), translators.EchoNative),
	}, nil
}

// known returns v if it is at most the last value there is, and zero else.
func known[E ~uint8](v, last E) E {
	if v > last {
		return 0
	}
	return v
}

// FromLimits returns the wire form of limits.
func FromLimits(l translators.Limits) *Limits { return fromLimits(l) }

// ToLimits is the inverse of FromLimits; nil for none.
func ToLimits(l *Limits) *translators.Limits {
	if l == nil {
		return nil
	}
	limits := toLimits(l)
	return &limits
}

func fromLimits(l translators.Limits) *Limits {
	return &Limits{
		PayloadBytes:        count(l.PayloadBytes),
		ChannelNameBytes:    count(l.ChannelNameBytes),
		EventNameBytes:      count(l.EventNameBytes),
		Channels:            count(l.Channels),
		PublishesPerSecond:  l.PublishesPerSecond,
		PerChannelPerSecond: l.PerChannelPerSecond,
		PresenceMembers:     count(l.PresenceMembers),
	}
}

func toLimits(l *Limits) translators.Limits {
	return translators.Limits{
		PayloadBytes:        int(l.GetPayloadBytes()),
		ChannelNameBytes:    int(l.GetChannelNameBytes()),
		EventNameBytes:      int(l.GetEventNameBytes()),
		Channels:            int(l.GetChannels()),
		PublishesPerSecond:  l.GetPublishesPerSecond(),
		PerChannelPerSecond: l.GetPerChannelPerSecond(),
		PresenceMembers:     int(l.GetPresenceMembers()),
	}
}

// count keeps a bound within the wire's 32 bits.
func count(n int) uint32 { return uint32(min(max(n, 0), 1<<31-1)) }
