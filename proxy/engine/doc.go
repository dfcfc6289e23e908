// Package engine serves the channels of one node: subscriptions and their
// authorisation, presence, cache channels, client events, signed-in users,
// and the fan-out of what is published to those who are subscribed.
//
// # What is where
//
//   - Engine (engine.go): the apps' connections and channels, and Run.
//   - Conn (conn.go, handle_*.go): one client connection and its commands.
//   - tenant (tenant.go): one app's share of the node: shards of channels,
//     the signed-in users, the counters.
//   - channel (channel.go): one channel of one app; who is subscribed.
//   - Publish (publish.go): an event's way from acceptance to the group.
//
// # Locks, in the order in which they are taken
//
//  1. Conn.turn: the commands of a connection, and its end, one at a time.
//  2. channel.turn: joins and leaves of one channel, one at a time; records of
//     a channel are offered under it, so that they cannot swap. It is the only
//     lock held across calls of Presence and Broker, which may be remote: a
//     slow one holds up its own channel's joins and leaves, nothing else.
//  3. a Broker's own ordering of one topic.
//  4. channel extras' mu, tenant shard mu, Conn.mu, schedule mu: leaves, held
//     for a few instructions; of these only extras' mu is held while a
//     fanout.Group is called.
//
// No lock is held across a write to a client: outlets queue.
package engine
