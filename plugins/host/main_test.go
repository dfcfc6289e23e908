package host_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/faulty"
	"github.com/offramp/offramp/translators/nats"
)

// TestMain makes the test binary a plugin, as the gateway's own binary is, when
// it is run as "BINARY plugin serve NAME", and a host when run as "BINARY host".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && slices.Equal(os.Args[1:3], []string{"plugin", "serve"}) {
		if err := plugins.Serve(servable(os.Args[3])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "host" {
		if err := runHost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func servable(name string) translators.Translator {
	switch name {
	case "nats":
		return faulty.Wrap(nats.New())
	case "panics":
		panic("a translator that cannot even be made")
	default:
		return scripted{name: name}
	}
}
