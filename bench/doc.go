// Package bench is Offramp's load generator: one thread on raw epoll that
// drives any Pusher-compatible server, checks that nothing is lost, doubled
// or reordered, and prints one line of JSON for each test.
//
// It shares no code with the gateway on purpose. A generator that framed,
// signed or parsed with the server's own functions would agree with the
// server's mistakes.
//
// The road of one event: a pump takes the next message number from the
// ledger, writes it into the payload and hands the payload to a dialect,
// which makes an HTTP request or a client event of it. A client finds the
// number again by scanning the bytes that arrive, and the ledger answers
// from its table who sent it, when, and whether it was due.
package bench
