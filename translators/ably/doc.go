// Package ably translates to Ably.
//
// A channel gets the name that Ably's own Pusher adapter would give it, so
// that a team may use that adapter on the same channels later (name.go). Event
// name and data are those of the Ably message, byte for byte; mirror id,
// origin and the rest travel in its extras (message.go). Events of one channel
// that are there at the same time become one publish, which keeps them below
// the 50 publishes per second that Ably allows on a channel (publish.go).
// Channels are spread over as many connections as it takes, since one carries
// 200 (pool.go), and are observed there (watch.go); members are entered on
// their behalf (presence.go).
package ably
