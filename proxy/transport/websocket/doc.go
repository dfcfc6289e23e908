// Package websocket carries sessions over WebSocket connections (RFC 6455).
//
// gorilla/websocket judges the handshake and reads frames. Everything that is
// written, gorilla's own answers included, goes through the connection's
// fanout.Outbox. Nothing of the HTTP server outlives the handshake, and an
// idle connection has no goroutine: it rests (rest.go), watched by a poller.
package websocket
