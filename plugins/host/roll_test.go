package host

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

func (r *roll) join(channel, user string, at time.Duration) {
	r.note(proxy.KindSubscribed, channel, user, at)
}
func (r *roll) leave(channel, user string, at time.Duration) {
	r.note(proxy.KindUnsubscribed, channel, user, at)
}

func (r *roll) note(kind proxy.Kind, channel, user string, at time.Duration) {
	r.take(proxy.Record{
		Kind: kind, Leg: proxy.LegEngine, UserID: user, Topic: proxy.Topic{App: "app", Channel: protocol.ChannelName(channel)},
	}, after(at))
}

func everything(protocol.ChannelName) bool { return true }

// calls returns what is told at a time, such as "presence-a[ann bob]".
func (r *roll) calls(at time.Duration) string {
	var all []string
	for {
		channel, _ := r.next(after(at))
		if channel == "" {
			sort.Strings(all)
			return strings.Join(all, " ")
		}
		var users []string
		for id := range r.users(channel) {
			users = append(users, id)
		}
		sort.Strings(users)
		all = append(all, fmt.Sprintf("%s%v", channel, users))
	}
}

func TestRoll(t *testing.T) {
	for name, test := range map[string]func(r *roll) (got, want string){
		"those who come at a time are told at once": func(r *roll) (string, string) {
			r.join("presence-a", "ann", 0)
			r.join("presence-a", "bob", 50*time.Millisecond)
			r.join("presence-b", "cid", 50*time.Millisecond)
			return r.calls(99*time.Millisecond) + "|" + r.calls(100*time.Millisecond) + "|" + r.calls(time.Second),
				"|presence-a[ann bob]|presence-b[cid]"
		},
		"somebody with two connections leaves with the last": func(r *roll) (string, string) {
			r.join("presence-a", "ann", 0)
			r.join("presence-a", "ann", 0)
			first := r.calls(time.Second)
			r.leave("presence-a", "ann", time.Second)
			second := r.calls(3 * time.Second)
			r.leave("presence-a", "ann", 3*time.Second)
			return first + "|" + second + "|" + r.calls(5*time.Second), "presence-a[ann]||presence-a[]"
		},
		"after a restart all are told again, also of a room that has emptied": func(r *roll) (string, string) {
			r.join("presence-a", "ann", 0)
			r.join("presence-b", "bob", 0)
			r.calls(time.Second)
			r.leave("presence-b", "bob", time.Second)
			r.again(after(2 * time.Second))
			return r.calls(2 * time.Second), "presence-a[ann] presence-b[]"
		},
		"a call that failed is made again, later": func(r *roll) (string, string) {
			r.join("presence-a", "ann", 0)
			r.calls(time.Second)
			r.told("presence-a", 0, errors.New("away"), after(time.Second))
			return r.calls(2*time.Second) + "|" + r.calls(3*time.Second), "|presence-a[ann]"
		},
		"channels that the backend is no longer to know of are told once more": func(r *roll) (string, string) {
			r.join("presence-a", "ann", 0)
			r.join("presence-b", "bob", 0)
			r.calls(time.Second)
			r.takes = func(c protocol.ChannelName) bool { return c == "presence-b" }
			r.rebind(everything, r.takes, after(2*time.Second))
			first := r.calls(2 * time.Second)
			r.leave("presence-a", "ann", 3*time.Second)
			return first + "|" + r.calls(4*time.Second), "presence-a[ann]|"
		},
		"other channels, and other servers' clients, have no members here": func(r *roll) (string, string) {
			r.join("private-a", "ann", 0)
			r.take(proxy.Record{Kind: proxy.KindSubscribed, Leg: proxy.LegVendor, UserID: "ann", Topic: proxy.Topic{Channel: "presence-a"}}, epoch)
			r.leave("presence-a", "bob", 0)
			return r.calls(time.Second), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoll(everything)
			if got, want := test(r); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}

func TestOnlyThisNodesMembersAreTold(t *testing.T) {
	l := &link{roll: newRoll(everything), binding: Binding{App: "app"}, about: translators.Description{Limits: translators.Limits{PresenceMembers: 2}}}
	l.rules.Store(&proxy.Backend{Channels: []string{"*"}, Sample: 1})
	l.settings.Members = func(_ context.Context, t proxy.Topic) (all []proxy.Member, _ error) {
		for _, id := range []string{"ann", "elsewhere", "bob", "cid"} {
			all = append(all, proxy.Member{UserID: id, Info: []byte(`"` + t.App + `"`)})
		}
		return all, nil
	}
	for _, id := range []string{"cid", "bob", "ann"} {
		l.roll.join("presence-a", id, 0)
	}
	want, cut, err := l.present(t.Context(), "presence-a")
	if err != nil || len(want) != 2 || want[0].UserID != "ann" || want[1].UserID != "bob" || string(want[0].Info) != `"app"` || cut != 1 {
		t.Errorf("%d members %v, %d cut, error %v; want ann and bob, and 1 cut", len(want), want, cut, err)
	}
}
