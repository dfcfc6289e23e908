// Package backendtest is the contract of proxy.Broker and proxy.Presence as
// tests. Every backend runs it, with one node and, if it can, with several.
package backendtest
