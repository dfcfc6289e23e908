// Package backendtest is the contract of proxy.Broker, proxy.Presence and
// proxy.Occupancy as tests. Every backend runs it, with one node and, if it can, with several.
package backendtest
