package websocket

// An idle client should cost as little as can be, and the stack of a waiting
// goroutine would be most of it. So a connection on which nothing happens
// rests: it has no goroutine. It is woken by input and by its outbox ending,
// and then has one until its input is used up. Where resting is not possible,
// such as with TLS, the goroutine stays.
//
// resting is true from when a goroutine decides to let go of the connection
// until somebody takes it over, which is whoever sets it to false. So there is
// never more than one goroutine in a connection's reading half.

// rest lets go of the connection. It reports false when the caller keeps it.
func (c *conn) rest() bool {
	p := c.server.poller.Load()
	if p == nil {
		return false
	}
	if c.poller == nil {
		if c.out.Control(func(fd int) error { return p.add(c, fd) }) != nil {
			return false
		}
		c.poller = p
	}
	c.resting.Store(true)
	// From here on another goroutine may have c. An outbox that ended just
	// before woke nobody.
	_, closing := c.out.Sent()
	if closing || c.out.Control(p.watch) != nil {
		return !c.resting.CompareAndSwap(true, false)
	}
	return true
}

// wake gives a resting connection a goroutine.
func (c *conn) wake() {
	if c.resting.CompareAndSwap(true, false) {
		c.server.give(c)
	}
}

// turn reads until the input is used up or the connection has ended.
func (c *conn) turn() {
	if !c.read() {
		c.finish()
		c.end()
	}
}

// read reports whether the connection rests. Then it is somebody else's.
func (c *conn) read() (rests bool) {
	defer c.session.Contain("read a connection")
	for c.step() {
		if c.reader.Buffered() == 0 && len(c.early) == 0 && c.rest() {
			return true
		}
	}
	return false
}
