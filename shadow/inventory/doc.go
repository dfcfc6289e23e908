// Package inventory learns from an app's traffic what the app uses: its
// channels by pattern, events, clients by SDK, features, sizes, rates, and
// the messages that the vendor bills. Everything in it was seen; nothing is
// asked of anybody.
package inventory
