// Package ablytest is a stand-in for Ably: a server that speaks enough of its
// WebSocket and REST protocol, in JSON and in MessagePack, for Ably's own
// client libraries to work with it, with the limits that the vendor documents
// and with faults that a test switches on. It keeps everything in memory.
//
// It exists because no Ably server can run on a developer's machine. Whether
// it is faithful is judged by ably-go, in this package's tests, and by the npm
// package ably, in integration/judges.
//
//   - Server, Options: limits and faults (server.go)
//   - frames and messages in both encodings (wire.go)
//   - keys, tokens, capabilities (auth.go)
//   - connections: resuming, acknowledgements, attachments (connection.go)
//   - channels: delivery, history, rates, repeats (channel.go), presence (presence.go)
//   - the REST interface (rest.go)
package ablytest
