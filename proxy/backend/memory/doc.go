// Package memory is the backend of a gateway of one node: Broker and Presence
// without anything outside the process. It has no goroutines of its own and
// keeps nothing across a restart.
package memory
