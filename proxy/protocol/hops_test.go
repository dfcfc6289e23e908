package protocol

import "testing"

func TestHops(t *testing.T) {
	for via, want := range map[string]uint32{
		"":                          0,
		"cdn":                       1,
		"cdn, other;node=1":         2,
		Via("offramp-1", 3):         3,
		Via("", 1):                  1,
		Via("x;hops=9", 2):          2,
		"a;hops=2, b;hops=1":        3,
		"a;hops=x":                  1,
		"a;hops=65535,b;hops=65535": 65536,
	} {
		if got := Hops(via); got != want {
			t.Errorf("%q has %d hops, want %d", via, got, want)
		}
	}
	if via := Via("offramp-1", 0); via != "" {
		t.Errorf("no gateway has the trace %q", via)
	}
}
