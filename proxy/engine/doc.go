// Package engine serves the channels of one node: subscriptions and their
// authorisation, presence, cache channels, client events, signed-in users,
// and the fan-out of what is published to those who are subscribed.
//
// # What is where
//
//   - Engine (engine.go): the apps' connections and channels, and Run.
//   - Conn (conn.go, handle.go, handle_*.go): one connection and its commands.
//   - tenant (tenant.go): one app's share of the node, in shards.
//   - channel (channel.go, join.go): one channel of one app, who joins and leaves.
//   - roster (presence.go), kept events (cache.go), counts (counts.go), signed-in
//     users and watchlists (account.go): what only some channels have.
//   - seats (seats.go): the connections that an app's limit is about.
//   - Publish, deliver (publish.go, deliver.go): an event's way from acceptance
//     through the broker to the channel's fanout.Group.
//
// # Several nodes
//
// Nodes share nothing but a Broker, a Presence and an Occupancy (cluster.go).
// What one has to tell the others, such as that a member has come, travels as
// an event (publish.go, news). Whoever makes the change that is the first or
// the last of its kind on all nodes records it, so that a webhook is sent
// once. What a cache channel keeps is the Broker's; a node follows it
// while it has subscribers.
//
// # Locks, in the order in which they are taken
//
//  1. Conn.turn: the commands of a connection, and its end, one at a time.
//  2. channel.turn: joins and leaves of one channel, one at a time. Records of
//     a channel are offered under it, so that they cannot swap. Beside Conn.turn,
//     and seats.exchange for connections, it is the only lock held across calls
//     of Presence, Occupancy and Broker, which may be remote: a slow one holds up its own channel's joins and leaves, and nothing
//     else. Delivery does not take it.
//  3. a Broker's own, which puts the events of a topic in order.
//  4. rare.mu: of presence and cache channels; held across calls of the group.
//  5. a fanout.Group's own.
//  6. leaves, held for a few instructions: a shard's mu, Conn.mu, schedule's mu.
//
// No lock is held across a write to a client: outlets queue.
package engine
