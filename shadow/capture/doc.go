// Package capture keeps a stretch of traffic in a file: every record that the
// gateway made, in order. A capture can be compared again, offline, as often
// as wished, and gives the same evidence each time; and its publishes can be
// sent through a gateway once more, to see what another backend makes of
// them.
//
// The file is gzip over lines of JSON: a header, then a line per record. In a
// redacted capture payloads, user ids and addresses are replaced by keyed
// hashes, so that equal stays equal and nothing can be read. Names of channels
// and events stay, because reports are about them.
package capture
