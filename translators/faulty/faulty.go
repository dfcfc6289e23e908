package faulty

import (
	"context"
	"maps"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// setting is the key that the wrapped translator's settings gain.
const setting = "faults"

// Wrap returns a translator that is t, with one more setting: "faults", a
// Spec as Parse reads it.
func Wrap(t translators.Translator) translators.Translator { return translator{t} }

type translator struct{ translators.Translator }

// Describe implements translators.Translator.
func (t translator) Describe() translators.Description {
	d := t.Translator.Describe()
	d.Settings.Properties = maps.Clone(d.Settings.Properties)
	d.Settings.Properties[setting] = translators.Property{
		Type:        "string",
		Description: "For rehearsals only: faults to inject into observed deliveries, such as `" + example + "`.",
	}
	return d
}

// Open implements translators.Translator.
func (t translator) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	text, _ := b.Settings[setting].(string)
	spec, err := Parse(text)
	if err != nil {
		return nil, translators.Problems{{Path: setting, What: err.Error()}}
	}
	b.Settings = maps.Clone(b.Settings)
	delete(b.Settings, setting)
	inner, err := t.Translator.Open(ctx, b)
	if err != nil || spec.IsZero() {
		return inner, err
	}
	subscriber, ok := translators.Find[translators.Subscriber](inner)
	if !ok {
		return nil, translators.Problems{{Path: setting, What: "this backend shows no deliveries to inject faults into"}}
	}
	b.Log.Warn().Stringer("faults", spec).Msg("faults are being injected into observed deliveries")
	return &session{Session: inner, subscriber: subscriber, injector: NewInjector(spec)}, nil
}

// session is a session whose observers are shown faults.
type session struct {
	translators.Session
	subscriber translators.Subscriber
	injector   *Injector
}

var (
	_ translators.Subscriber = (*session)(nil)
	_ translators.Reporter   = (*session)(nil)
)

// Unwrap gives access to what else the session can do.
func (s *session) Unwrap() translators.Session { return s.Session }

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(ctx context.Context, name protocol.ChannelName, o translators.Observer) (func(), error) {
	c := s.injector.Channel(o)
	stop, err := s.subscriber.Subscribe(ctx, name, c)
	if err != nil {
		return nil, err
	}
	return func() {
		stop()
		c.stop()
	}, nil
}

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	report := translators.Report{Healthy: true}
	if inner, ok := translators.Find[translators.Reporter](s.Session); ok {
		report = inner.Report()
	}
	counters := maps.Clone(report.Counters)
	if counters == nil {
		counters = map[string]uint64{}
	}
	maps.Copy(counters, s.injector.Counters())
	report.Counters = counters
	return report
}
