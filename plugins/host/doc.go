// Package host runs translators as processes and keeps the gateway safe from
// them. For each backend of each app it launches one process, feeds it the
// app's events over a stream, tells what became of each one, watches what the
// backend delivers, and restarts the process when it dies, hangs or stops
// answering, until it has died too often and is quarantined. When an executable
// is replaced, the new one is started beside the old one and takes over from it.
//
// A Host is a proxy.Sink. It takes published events and channel interest, and
// never makes its caller wait: what a slow backend cannot take is dropped,
// counted, and reported as a gap. What it finds out goes, as records of kinds
// KindMirrored, KindDelivered and KindGap, to another Sink.
//
//   - Host: routing of records to links (host.go)
//   - link: one backend's life: supervise, retire (link.go, supervise.go)
//   - tenant: one process's life (tenant.go); from one to the next (swap.go,
//     overlap.go)
//   - feed: events to the plugin, in batches, within its credit (feed.go, book.go)
//   - watch: what the backend delivers, and what could not be seen (watch.go,
//     interest.go)
//   - inlet: what a bridge brings to clients, and what ends its loops (inlet.go,
//     echoes.go, breaker.go)
//   - custody: which of several nodes brings it in (custody.go, share.go)
//   - roll: who is on presence channels (roll.go); asking who is (query.go)
//   - process: the executable and its surroundings (process.go, lock.go, log.go)
package host
