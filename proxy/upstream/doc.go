// Package upstream is everything that is said to the Pusher-compatible
// service an app is leaving, here called the vendor.
//
// While an app is at stage observe or shadow its clients are served by raw
// relay: one connection to the vendor per client, and every byte that one
// says goes to the other as it is. The client has the vendor's own socket id,
// so what the customer's servers sign stays valid, and control frames, close
// codes and sub-protocols are the vendor's. Calls of the HTTP API are
// forwarded with the caller's signature, and the vendor's answer is the
// caller's answer.
//
// What passes is also read, and offered as records. Nobody who watches can
// hold a byte up: a relayed connection hands copies of its frames to its
// watcher over a bounded queue, and what does not fit is a gap in the
// evidence.
//
//   - Relay (relay.go): settings, which connections are relayed, the end
//   - dial.go, handshake.go: the way to the vendor
//   - link.go, frames.go: one relayed client; its frames as they pass
//   - watcher.go, client_frames.go, vendor_frames.go: what they mean
//   - rooms.go: what all relayed clients of a channel know together
//   - virtual.go: the relayed client's double in the engine, at stage shadow
//   - forward.go, publish.go: the HTTP API
package upstream
