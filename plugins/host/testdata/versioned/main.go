// Command versioned is the NATS translator as an executable of its own, in as
// many versions as a test builds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
)

// Set by the linker. What follows a dash is how this version is defective.
var version = "0.0.0"

func main() {
	if err := plugins.Serve(versioned{nats.New()}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type versioned struct{ nats.Translator }

func (v versioned) Describe() translators.Description {
	d := v.Translator.Describe()
	d.Version = version
	return d
}

func (v versioned) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	s, err := v.Translator.Open(ctx, b)
	if err == nil && strings.HasSuffix(version, "-blind") {
		return blind{Session: s}, nil
	}
	if err == nil && strings.HasSuffix(version, "-fragile") {
		return fragile{Session: s}, nil
	}
	return s, err
}

// fragile passes every check that a new version has to, and dies of its first
// event.
type fragile struct{ translators.Session }

func (fragile) Publish(context.Context, []translators.Envelope) []translators.Result {
	panic("this version cannot publish")
}

func (f fragile) Unwrap() translators.Session { return f.Session }

// blind cannot observe anything.
type blind struct{ translators.Session }

func (blind) Subscribe(context.Context, protocol.ChannelName, translators.Observer) (func(), error) {
	return nil, errors.New("this version forgot how to subscribe")
}
