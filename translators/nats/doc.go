// Package nats translates to NATS, core or JetStream.
//
// A channel becomes a subject below a prefix and the app id; names that would
// not be legal subjects are escaped, reversibly (subject.go). Event name, ids
// and origin travel as headers; data is the message's payload, byte for byte
// (message.go). In core mode an item counts as accepted when the server has
// answered a ping sent after it; in JetStream mode, when the stream has stored
// it (publish.go).
package nats
