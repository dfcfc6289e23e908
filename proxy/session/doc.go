// Package session is the part of a client connection that does not depend on
// what carries it: who may connect, what its frames go to, when a silent peer
// is given up, and what happens when handling a frame panics.
//
// A transport asks Server.Admit whether a request may become a connection,
// then Server.Open for the Session, to which it passes each inbound frame and
// at last how the connection ended. The session drives the transport through
// the Link interface.
package session
