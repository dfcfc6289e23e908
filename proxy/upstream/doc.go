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
// From stage mirror on the gateway speaks to clients for itself, and each of a
// client's channels is the engine's or the vendor's. As long as either side
// has clients or publishers of its own, a bridge makes one population of both:
// what is published reaches everybody once, and presence channels have the
// same members. It ends when the last client has gone to one side.
//
//   - Relay (relay.go): settings, which connections are relayed, the end
//   - dial.go, vendor.go: the way to the vendor, for a client and for ourselves
//   - link.go, frames.go: one raw relayed client; its frames as they pass
//   - stream.go: one relayed client of the HTTP fallback
//   - watcher.go, client_frames.go, vendor_frames.go: what frames mean
//   - rooms.go: what all relayed clients of a channel know together
//   - virtual.go: the relayed client's double in the engine, at stage shadow
//   - forward.go, publish.go, queries.go: the HTTP API
//   - hooks.go, census.go, ids.go: the vendor's own webhooks, and who is there
//   - vendor_first.go: publishes on channels that are the vendor's
//   - health.go: what is wrong with the vendor, and standing in for it
//   - terminated.go: a client whose channels are on either side
//   - feed.go, bridge.go, tap.go, echoes.go: what is published, both ways
//   - spool.go, spool_log.go, resend.go: copies for the vendor that outlive the
//     process
//   - doubt.go: copies of which it is not known whether the vendor has them
//   - cached.go: what cache channels keep
//   - via.go, breaker.go, circles.go: gateways that lead to each other
//   - tripwire.go: who is still at the vendor after the exit
//   - people.go, ghosts.go: presence, both ways
package upstream
