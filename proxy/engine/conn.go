package engine

import "github.com/offramp/offramp/proxy/protocol"

// Conn is one client connection.
type Conn struct {
	id protocol.SocketID
}

// SocketID returns the connection's id.
func (c *Conn) SocketID() protocol.SocketID { return c.id }

// Handle carries out one text frame from the client. Frames of a connection
// are handled one after the other. The engine keeps nothing of raw.
func (c *Conn) Handle(raw []byte) {}

// Close takes the connection out of the engine once it has ended: it leaves
// its channels and signs out. code and reason say how it ended, for watchers;
// code 0 stands for unknown. Only the first call has an effect. It must not
// be called from within Outlet's methods.
func (c *Conn) Close(code int, reason string) {}
