// Package redis joins several nodes to one gateway through a Redis or Valkey
// server (version 6.2 or later): a Broker that carries events and
// keeps what cache channels keep, and a Ledger that is the nodes' Presence and
// Occupancy.
//
// # What is where
//
//   - Backend (backend.go): the connection, and both parts over it.
//   - client (client.go): what differs between one server, Sentinel and a Cluster.
//   - Broker (broker.go, link.go, receive.go): pub/sub. One link per node receives,
//     with a connection to each master; every event comes back to its publisher
//     through it, so that all nodes see one order. cache.go: what is kept.
//   - Ledger (ledger.go, presence.go, occupancy.go): scripts on the server, and
//     beside them what this node has told Redis, to say it again when Redis
//     was away.
//   - lease.go, recover.go, reap.go: a node's lease, what it does after Redis was
//     away, and how the entries of dead nodes are removed.
//   - rates.go, departures.go, moves.go: what else nodes share, without a lease.
//   - keys.go, frame.go: names of keys, and events as they travel.
//
// # Leases
//
// Every entry belongs to a node's lease, which the node renews every tenth of
// its time. When it has run out, another node first declares the lease dead,
// which makes Redis refuse the node's writes from then on, and then removes
// its entries one by one: who takes away a user's last socket tells of it.
// A node that learns that it was declared dead calls Fenced, and begins a new
// lease with nothing. After Redis was away, a node tells everything again
// under a new lease, waits until the others have, and has the old one removed
// in the same way: so each true change is told once whatever Redis has kept.
package redis
