// Package protocol is Pusher's wire vocabulary: channel and socket names,
// frames in both directions, error and close codes with their texts, and the
// two kinds of signature. Functions are pure: no I/O, no clocks, no state.
//
// What the frames look like, and why, is the vendor's documentation together
// with captured traffic; the comments name the rule that each piece follows.
package protocol
