package webhooks

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// populations are the users of a presence room of which both sides have some,
// as a gateway and its bridge have it: while anybody is here, who is at the
// vendor is shown here by a ghost, and everybody here is shown there by one.
type populations struct {
	r           *rig
	here, there map[string]bool      // who really is
	engine      map[string]bool      // and ghosts
	vendor      map[string]bool      // and ghosts
	leaving     map[string]time.Time // at the vendor, which waits before it tells
}

const weekRoom = "presence-week"

func (p *populations) settle() {
	engine := maps.Clone(p.here)
	if len(engine) > 0 {
		maps.Copy(engine, p.there)
	}
	for user := range p.engine {
		if !engine[user] {
			p.r.offer(left("1", weekRoom, user))
		}
	}
	if len(p.engine) > 0 && len(engine) == 0 {
		p.r.offer(vacated("1", weekRoom))
	}
	if len(p.engine) == 0 && len(engine) > 0 {
		p.r.offer(occupied("1", weekRoom))
	}
	for user := range engine {
		if !p.engine[user] {
			p.r.offer(added("1", weekRoom, user))
		}
	}
	p.engine = engine
	time.Sleep(50 * time.Millisecond)
	vendor := maps.Clone(p.there)
	maps.Copy(vendor, p.here)
	wasThere := len(p.vendor) > 0 || len(p.leaving) > 0
	for user := range p.vendor {
		if !vendor[user] {
			p.leaving[user] = time.Now().Add(leaveDelay)
		}
	}
	if !wasThere && len(vendor) > 0 {
		p.r.merge(occupied("1", weekRoom))
	}
	for user := range vendor {
		_, waits := p.leaving[user]
		delete(p.leaving, user)
		if !p.vendor[user] && !waits {
			p.r.merge(added("1", weekRoom, user))
		}
	}
	p.vendor = vendor
}

// pass lets time go by, and the vendor tell who left.
func (p *populations) pass(d time.Duration) {
	for end := time.Now().Add(d); ; {
		user, at := "", end
		for u, due := range p.leaving {
			if !due.After(at) {
				user, at = u, due
			}
		}
		time.Sleep(time.Until(at))
		if user == "" {
			return
		}
		delete(p.leaving, user)
		p.r.merge(left("1", weekRoom, user))
		if len(p.vendor) == 0 && len(p.leaving) == 0 {
			p.r.merge(vacated("1", weekRoom))
		}
	}
}

// TestAWeekInARoomOfBothSides lets three users come, go and change sides at
// random for a week, with a restart a day: receivers are told of each true
// change once.
func TestAWeekInARoomOfBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		r := newRig(t, newApp("1", everything("http://app.example/hooks")))
		p := &populations{
			r: r, here: map[string]bool{}, there: map[string]bool{}, engine: map[string]bool{}, vendor: map[string]bool{}, leaving: map[string]time.Time{},
		}
		var want []string
		began, restarted := time.Now(), time.Now()
		for time.Since(began) < 7*24*time.Hour {
			user := fmt.Sprint(random.IntN(3))
			was := len(p.here)+len(p.there) > 0
			side, other := p.here, p.there
			if random.IntN(2) == 0 {
				side, other = other, side
			}
			switch {
			case side[user] && random.IntN(2) == 0: // away for a moment, and then on the other side
				delete(side, user)
				p.settle()
				p.pass(time.Duration(random.IntN(2000)) * time.Millisecond)
				other[user] = true
			case side[user]:
				delete(side, user)
				if !other[user] {
					want = append(want, "member_removed "+user)
				}
			default:
				if !other[user] {
					want = append(want, "member_added "+user)
				}
				side[user] = true
			}
			p.settle()
			switch is := len(p.here)+len(p.there) > 0; {
			case is && !was:
				want = append(want, "channel_occupied")
			case was && !is:
				want = append(want, "channel_vacated")
			}
			p.pass(10*time.Second + time.Duration(random.IntN(600))*time.Second)
			if time.Since(restarted) > 24*time.Hour {
				restarted = time.Now()
				r.restart()
				p.engine = map[string]bool{} // its clients come back
				p.settle()
			}
		}
		p.pass(time.Minute)
		var told []string
		for _, d := range r.got() {
			for _, e := range d.Events {
				text := e["name"].(string)
				if user, ok := e["user_id"].(string); ok {
					text += " " + user
				}
				told = append(told, text)
			}
		}
		slices.Sort(told)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("told of %d changes, want %d", len(told), len(want))
			count := map[string]int{}
			for _, what := range want {
				count[what]++
			}
			for _, what := range told {
				count[what]--
			}
			for what, n := range count {
				if n != 0 {
					t.Errorf("%s: told %d times too few", what, n)
				}
			}
		}
		t.Logf("%d true changes in a week", len(want))
		r.stop()
	})
}
