// Package shadow compares what two systems did with the same traffic. The
// Comparator watches the gateway's records, pairs each event that the
// reference leg (the vendor while clients are relayed, else the engine) gave
// its clients with what a candidate leg made of it, and keeps counts of
// matched, missing, duplicate, reordered and altered events, and of those it
// could not see.
//
// The rule behind every choice: a comparison that could not be made is
// unknown, never missing. A queue that overflowed, a plugin that restarted, a
// socket that had only just subscribed and a backend that refused an event
// are each counted under a name of their own.
//
// How it works, in the order of the files: records are queued (queue.go) and
// appended to their channel's window (window.go). A sweep pairs each leg's
// arrivals with the published events (match.go, align.go), finds what is out
// of order (order.go), decides what each pair of legs deserves (score.go), leaves
// out what gaps make doubtful (doubt.go) and adds it to cells of one minute (cell.go), which a Journal keeps across
// restarts. Beside the events are compared: who is on presence channels
// (presence.go), what both legs decided (decisions.go), what they tell by
// webhook (webhooks.go) and how their frames are built (frames.go); and findings
// are broken down by publisher and client library (groups.go). Package report
// turns the resulting Evidence into a verdict.
package shadow
