// Package webhooks tells a customer's servers what happens on channels, as
// the vendor would (vendor documentation: webhooks), and loses nothing on the
// way: events are written to an outbox on disk before anything is sent.
//
// A record takes these steps, each in a file of its own:
//
//   - Outbox.Offer queues it in memory and returns at once (outbox.go)
//   - the committer decides what receivers have to be told (truth.go), turns
//     it into letters (body.go, letter.go), and writes a whole round of them
//     in one transaction (commit.go, store.go)
//   - each receiver sends its letters with its own workers, in order per
//     channel, and retries those that fail (receiver.go, lanes.go, send.go)
//   - what the upstream tells by webhook is passed on, or merged with what
//     happens here (merge.go, vendor.go)
//   - what cannot be delivered for five minutes becomes a dead letter, which
//     can be listed and replayed (admin.go)
//
// What receivers have been told is kept on disk together with the letters.
// A process that is killed while channels are occupied therefore knows when
// it starts again, and sends the channel_vacated and member_removed events
// that are then due, unless clients come back in time.
package webhooks
