// Package pusher translates to anything that speaks Pusher's protocol: the
// vendor, another gateway, or a compatible server.
//
// Channels and events keep their names, and data its bytes. Events are
// published over the HTTP API in batches (publish.go, api.go) and observed by
// WebSocket connections of the translator's own, called taps, which sign their
// subscriptions themselves (tap.go, frame.go). A bridge excludes its tap from
// what it publishes, so that its own events do not come back.
//
// Pusher's frames have no room for a mirror id or an origin: what is observed
// has neither.
package pusher
