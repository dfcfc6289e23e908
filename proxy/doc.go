// Package proxy is the vocabulary of Offramp: the values that travel through
// it and the seams between its parts. It holds no behaviour beyond what the
// values need to describe themselves, and imports only the wire vocabulary in
// proxy/protocol. Read it first; every other package is then recognisable.
//
//   - Topic, Event: what is published (event.go)
//   - App, Credential, Limits, Secret: whose traffic it is (app.go, secret.go)
//   - Stage, Rule, Leg: where it is served, and by whom (stage.go)
//   - Record, Sink: what watchers are shown (record.go)
//   - Broker, Cache, Presence, Occupancy, Rates: what nodes have in common
//     (broker.go, cache.go, presence.go, occupancy.go, rates.go)
package proxy
