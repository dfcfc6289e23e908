package apps_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

func app(id string, keys ...string) *proxy.App {
	a := proxy.Defaults()
	a.ID = id
	for _, k := range keys {
		a.Credentials = append(a.Credentials, proxy.Credential{Key: k, Secret: proxy.NewSecret("secret of " + k)})
	}
	return &a
}

func TestNewRefusesSetsThatContradictThemselves(t *testing.T) {
	tests := map[string]struct {
		apps []*proxy.App
		ok   bool
	}{
		"no app at all":                   {nil, true},
		"two apps, three keys":            {[]*proxy.App{app("1", "a"), app("2", "b", "c")}, true},
		"an app without an id":            {[]*proxy.App{app("", "a")}, false},
		"an id used twice":                {[]*proxy.App{app("1", "a"), app("1", "b")}, false},
		"an app without a credential":     {[]*proxy.App{app("1")}, false},
		"an empty key":                    {[]*proxy.App{app("1", "")}, false},
		"a key shared by two apps":        {[]*proxy.App{app("1", "a"), app("2", "a")}, false},
		"a key listed twice by one app":   {[]*proxy.App{app("1", "a", "a")}, false},
		"a key that equals another's id":  {[]*proxy.App{app("1", "2"), app("2", "1")}, true},
		"the second of an app's two keys": {[]*proxy.App{app("1", "a", "b"), app("2", "b")}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := apps.New(tc.apps)
			if (err == nil) != tc.ok {
				t.Fatalf("New error = %v, want success %v", err, tc.ok)
			}
			if err != nil && !errors.Is(err, apps.ErrInvalid) {
				t.Errorf("error %v does not wrap ErrInvalid", err)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	first, second := app("1", "old", "new"), app("2", "b")
	r, err := apps.New([]*proxy.App{first, second})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.ByID("2"); !ok || got != second {
		t.Errorf("ByID(2) = %v, %v", got, ok)
	}
	if _, ok := r.ByID("old"); ok {
		t.Error("ByID found an app by its key")
	}
	got, credential, ok := r.ByKey("new")
	if !ok || got != first || credential.Secret.Reveal() != "secret of new" {
		t.Errorf("ByKey(new) = %v, %v, %v", got, credential, ok)
	}
	if got, _, ok := r.ByKey("1"); ok || got != nil {
		t.Errorf("ByKey(1) = %v, %v: found an app by its id", got, ok)
	}
	if all := r.All(); len(all) != 2 || all[0] != first || all[1] != second {
		t.Errorf("All = %v, want the configured order", all)
	}
}

func TestSwap(t *testing.T) {
	r, err := apps.New([]*proxy.App{app("1", "a")})
	if err != nil {
		t.Fatal(err)
	}
	changed := r.Changed()
	if err := r.Swap([]*proxy.App{app("2", "b"), app("2", "c")}); !errors.Is(err, apps.ErrInvalid) {
		t.Fatalf("Swap of an invalid set: %v", err)
	}
	select {
	case <-changed:
		t.Fatal("told of a change that was refused")
	default:
	}
	if _, ok := r.ByID("1"); !ok {
		t.Fatal("a refused swap removed the old set")
	}
	if err := r.Swap([]*proxy.App{app("2", "b")}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, ok := r.ByID("1"); ok {
		t.Error("the old app is still there")
	}
	if _, _, ok := r.ByKey("b"); !ok {
		t.Error("the new app is not there")
	}
	select {
	case <-r.Changed():
		t.Error("the new generation says that it has changed")
	default:
	}
}

func TestConcurrentSwapsAndLookups(t *testing.T) {
	r, err := apps.New([]*proxy.App{app("1", "a")})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if err := r.Swap([]*proxy.App{app("1", "a"), app("x"+strconv.Itoa(i), "k")}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				if _, ok := r.ByID("1"); !ok {
					t.Error("an app of every generation was not found")
				}
				if app, credential, ok := r.ByKey("k"); ok && app.Credentials[0] != credential {
					t.Error("app and credential of different generations")
				}
			}
		})
	}
	wg.Wait()
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r, err := apps.New([]*proxy.App{app("1", "a")})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { r.ByID("1"); r.ByKey("a"); r.All(); r.Changed() }); n != 0 {
		t.Errorf("%v allocations per lookup, want 0", n)
	}
}

func BenchmarkByKey(b *testing.B) {
	r, err := apps.New([]*proxy.App{app("1", "a"), app("2", "b")})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.ByKey("b")
	}
}
