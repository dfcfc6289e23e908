// Package memory is the backend of a gateway of one node: Broker, with
// what cache channels keep, and Presence, without anything outside the
// process. It keeps nothing across a restart.
package memory
