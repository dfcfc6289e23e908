package upstream

import (
	"sync"

	"github.com/offramp/offramp/proxy"
)

// rooms are the channels that relayed clients are on. Each client is told of
// a presence channel's joins and leaves; here they become one each.
type rooms struct {
	mu  sync.Mutex
	all map[proxy.Topic]*room
}

type room struct {
	sockets int             // relayed clients that the vendor has subscribed
	doubles int             // of them in the engine
	members map[string]bool // by user: their arrival has been told
}

// change edits a channel's room, which is there only while somebody is.
func (rs *rooms) change(t proxy.Topic, edit func(*room)) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all == nil {
		rs.all = make(map[proxy.Topic]*room)
	}
	rm := rs.all[t]
	if rm == nil {
		rm = &room{}
		rs.all[t] = rm
	}
	edit(rm)
	if rm.sockets <= 0 && rm.doubles <= 0 {
		delete(rs.all, t)
	}
}

// join adds a client and the members that it was told of. It returns the
// number of clients, and the members whose arrival is news. Of a channel that
// nobody was watching yet only the client itself is, for the others were
// there before; each of them is news once it turns out to be relayed as well.
func (rs *rooms) join(t proxy.Topic, self string, members []string) (sockets int, arrived []string) {
	rs.change(t, func(rm *room) {
		watched := rm.sockets > 0
		rm.sockets++
		sockets = rm.sockets
		if rm.members == nil && len(members) > 0 {
			rm.members = make(map[string]bool, len(members))
		}
		for _, id := range members {
			told, known := rm.members[id]
			news := id == self && !told || watched && !known
			rm.members[id] = told || news
			if news {
				arrived = append(arrived, id)
			}
		}
	})
	return sockets, arrived
}

// leave takes a client away and returns how many are left.
func (rs *rooms) leave(t proxy.Topic) (sockets int) {
	rs.change(t, func(rm *room) {
		rm.sockets--
		sockets = rm.sockets
	})
	return sockets
}

// double adds n doubles and returns how many there are.
func (rs *rooms) double(t proxy.Topic, n int) (doubles int) {
	rs.change(t, func(rm *room) {
		rm.doubles += n
		doubles = rm.doubles
	})
	return doubles
}

// arrive notes a member and reports whether it is news.
func (rs *rooms) arrive(t proxy.Topic, id string) (news bool) {
	rs.change(t, func(rm *room) {
		if rm.members == nil {
			rm.members = make(map[string]bool)
		}
		_, known := rm.members[id]
		rm.members[id] = true
		news = !known
	})
	return news
}

// depart forgets a member and reports whether it is news.
func (rs *rooms) depart(t proxy.Topic, id string) (news bool) {
	rs.change(t, func(rm *room) {
		_, news = rm.members[id]
		delete(rm.members, id)
	})
	return news
}
