package websocket

import "sync/atomic"

// crew is the goroutines that give resting connections their turns. A turn is
// short and its stack deep, so a goroutine that has done one waits for the
// next instead of growing a new stack each time.
type crew struct {
	next    chan *conn    // to one that waits
	waiting atomic.Int32  // at most maxWaiting
	ended   chan struct{} // they need not wait any more
}

// maxWaiting bounds the goroutines that wait for work, not those at work.
const maxWaiting = 64

func newCrew() *crew { return &crew{next: make(chan *conn), ended: make(chan struct{})} }

// give has a connection's turn done, by one who waits or else by a new one.
func (w *crew) give(c *conn) {
	select {
	case w.next <- c:
	default:
		go w.work(c)
	}
}

func (w *crew) work(c *conn) {
	for {
		c.turn()
		if w.waiting.Add(1) > maxWaiting {
			w.waiting.Add(-1)
			return
		}
		select {
		case c = <-w.next:
			w.waiting.Add(-1)
		case <-w.ended:
			return
		}
	}
}
