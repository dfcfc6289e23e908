// Package httpapi is Pusher's HTTP API (protocol.md 6): what server SDKs
// publish through and ask.
//
// Every request goes the same way, in this order: path and method, size of
// the body, signature (auth.go), the app's own switches, the parameters, the
// effect. Nothing of a body is looked at before the signature has bound it,
// and nothing takes effect before all of a request is known to be valid.
//
//   - API (api.go): settings, the way of a request, answers
//   - routes.go: which resource a path means
//   - auth.go, tenant.go: signatures; what is kept per app
//   - events.go, batch_events.go, channels.go, channel.go, users.go,
//     terminate.go, legacy.go: a resource each
//   - publication.go, info.go: the parameters that several of them share
//   - refusal.go: the vendor's status codes and texts
package httpapi
