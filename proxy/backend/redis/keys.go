package redis

import (
	"hash/fnv"
	"strconv"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// keys names everything that a gateway has in Redis. Its prefix keeps
// gateways that share a server apart.
//
// The channels of an app are spread over buckets. What a script touches is
// all in one bucket, whose braces are Redis Cluster's hash tag:
//
//	<bucket>x:<node>     exists: the node was declared dead
//	<bucket>s:<node>     set of the node's sockets on presence channels (entry)
//	<bucket>c:<node>     hash of channel: the node's subscriptions
//	<bucket>t            hash of channel: all nodes' subscriptions
//	<bucket>o:<channel>  sorted set of users, by arrival
//	<bucket>i:<channel>  hash of user: information
//	<bucket>n:<channel>  hash of user: sockets on all nodes
//	<bucket>k:<channel>  the event that a cache channel keeps
//	<bucket>l            stream of the events of the last while
//	<bucket>z            hash: how much was added to it, and where it is cut
//	<bucket>v            hash of what the upstream says is there, and since when
//	<bucket>v:<entry>    when the upstream last spoke of it
//	<bucket>w            set of what webhook receivers were told to be there
//	<bucket>q:<call>     what was answered when that was changed
//	<bucket>r            when the app's share of publishes is whole again
//	<bucket>m            sorted set of the app's moves from stage to stage
//
// Pub/sub channels are named in the same way:
//
//	<bucket>e:<channel>  a channel's events
//	<bucket>b:<node>     events that only their publisher is to have
type keys struct{ prefix string }

// buckets is how many buckets an app has. All nodes of a gateway must agree.
const buckets = 16

func (k keys) leases() string          { return k.prefix + "{nodes}leases" }
func (k keys) dead(node string) string { return k.prefix + "{nodes}x:" + node }
func (k keys) apps(node string) string { return k.prefix + "{nodes}apps:" + node }

// owner is the key of the lease that owns a topic of a backend's. It is where
// the leases are, which say whether that one still holds. No backend's name
// has a colon in it.
func (k keys) owner(t proxy.Topic, backend string) string {
	return k.prefix + "{nodes}own:" + strconv.Itoa(len(t.App)) + ":" + t.App + ":" + backend + ":" + string(t.Channel)
}

// bucket returns what all keys of a bucket begin with.
func (k keys) bucket(app string, number int) string {
	return k.prefix + "{" + strconv.Itoa(len(app)) + ":" + app + ":" + strconv.Itoa(number) + "}"
}

func (k keys) bucketOf(t proxy.Topic) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Channel)) // never fails
	return k.bucket(t.App, int(h.Sum32()%buckets))
}

// presence returns the keys of the scripts join and leave.
func (k keys) presence(node string, t proxy.Topic) []string {
	b, channel := k.bucketOf(t), string(t.Channel)
	return []string{b + "x:" + node, b + "s:" + node, b + "o:" + channel, b + "i:" + channel, b + "n:" + channel}
}

// members returns the keys of the script members.
func (k keys) members(t proxy.Topic) []string { return k.presence("", t)[2:4] }

// counts returns the keys of the script count.
func (k keys) counts(node string, t proxy.Topic) []string {
	b := k.bucketOf(t)
	return []string{b + "x:" + node, b + "c:" + node, b + "t"}
}

// entry is a socket of a user on a channel, as a member of a node's set.
func entry(t proxy.Topic, id protocol.SocketID, userID string) string {
	return string(id) + " " + strconv.Itoa(len(t.Channel)) + " " + string(t.Channel) + userID
}

// kept is the key of what a cache channel keeps.
func (k keys) kept(t proxy.Topic) string { return k.bucketOf(t) + "k:" + string(t.Channel) }

// topicChannel is the pub/sub channel of a topic's events.
func (k keys) topicChannel(t proxy.Topic) string { return topicChannel(k.bucketOf(t), t) }

func topicChannel(bucket string, t proxy.Topic) string { return bucket + "e:" + string(t.Channel) }

// ownChannel is the pub/sub channel of a node's events on topics of a bucket
// that it has no subscription to.
func ownChannel(bucket string, node uint64) string {
	return bucket + "b:" + strconv.FormatUint(node, 16)
}

// logOf is the key of a bucket's log, logSize of what is noted beside it.
func logOf(bucket string) string   { return bucket + "l" }
func logSize(bucket string) string { return bucket + "z" }

// share is the key of what an app may still do in this second.
func (k keys) share(app string) string { return k.bucket(app, 0) + "r" }

// moves is the key of an app's moves.
func (k keys) moves(app string) string { return k.bucket(app, 0) + "m" }

// told is the key of what webhook receivers were told of a bucket.
func (k keys) told(t proxy.Topic) string { return k.bucketOf(t) + "w" }

// answered is the key of the answer to a call of Told's.
func (k keys) answered(t proxy.Topic, call string) string { return k.bucketOf(t) + "q:" + call }

// departed returns the first keys of the script depart.
func (k keys) departed(t proxy.Topic) []string {
	b := k.bucketOf(t)
	return []string{b + "w", b + "t", b + "n:" + string(t.Channel)}
}
