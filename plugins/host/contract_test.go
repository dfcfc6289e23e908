package host_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
)

// TestContracts starts plugins of other majors of the contract. There has only
// been one so far, so that a gateway that serves two is one that serves the
// same under two numbers.
func TestContracts(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	one := plugins.Served()
	two := plugins.Contracts{1: one[1], 2: one[1]}
	for name, tc := range map[string]struct {
		plugin string
		served plugins.Contracts
		agreed int
		want   string // in the error
	}{
		"the same major":                         {plugin: "speaks-1", agreed: 1},
		"the older of two":                       {plugin: "speaks-1", served: two, agreed: 1},
		"the newer of two":                       {plugin: "speaks-2", served: two, agreed: 2},
		"a plugin that speaks more than this":    {plugin: "speaks-1-2", agreed: 1},
		"two on both sides: the newest":          {plugin: "speaks-1-2", served: two, agreed: 2},
		"a plugin that is one ahead of a change": {plugin: "speaks-2-3", served: two, agreed: 2},
		"a plugin from before": {plugin: "speaks-0", want: "start plugin: the plugin speaks contract version 0, this gateway 1: " +
			"rebuild the plugin with github.com/offramp/offramp of the gateway's release"},
		"a plugin from after": {plugin: "speaks-2", want: "the plugin speaks contract version 2, this gateway 1: upgrade the gateway, " +
			"or rebuild the plugin with"},
		"a plugin too old for a gateway of two": {plugin: "speaks-0", served: two, want: "version 0, this gateway 1 and 2: rebuild"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := host.Launch(context.Background(), host.Command{
				Path: executable, Args: []string{"plugin", "serve", tc.plugin}, Contracts: tc.served, Log: zerolog.Nop(),
			})
			if tc.want != "" {
				if _, ok := errors.AsType[*plugins.ContractError](err); !ok || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("Launch: %v, want %q in it", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Stop()
			d, err := p.Client.Describe(context.Background())
			if err != nil || p.Contract() != tc.agreed || d.Name != "v"+string(rune('0'+tc.agreed)) {
				t.Errorf("they agreed on %d, and the plugin is %q (%v), want %d", p.Contract(), d.Name, err, tc.agreed)
			}
		})
	}
}
