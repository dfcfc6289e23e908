// Package centrifugo translates to a Centrifugo server, version 5 or 6.
//
// Events are published over the server's HTTP API, in batches, with the mirror
// id as idempotency key (api.go), and observed by client connections of the
// translator's own, each with as many channels as the server allows (watch.go).
// Names stay as they are but for "#", which means something else there; a
// message is the JSON form of package translators.
package centrifugo
