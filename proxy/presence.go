package proxy

import (
	"context"
	"errors"

	"github.com/offramp/offramp/proxy/protocol"
)

// Member is one user of a presence channel.
type Member = protocol.Member

// ErrChannelFull is returned by Presence.Join when the channel already has as
// many distinct users as allowed and the joining user is not one of them.
var ErrChannelFull = errors.New("proxy: presence channel is full")

// Presence is the cluster-wide truth about who is on a presence channel. A
// user is there from the first join of any of its sockets to the last leave;
// the Info of that first join is kept until then (protocol.md 3.7).
type Presence interface {
	// Join adds a socket of m.UserID and returns the channel's members in
	// order of arrival, the joiner included. first reports whether this was
	// the user's first socket there. limit is the number of distinct users
	// allowed; a join beyond it returns ErrChannelFull and changes nothing.
	Join(ctx context.Context, t Topic, m Member, id protocol.SocketID, limit int) (members []Member, first bool, err error)
	// Leave removes a socket. last reports whether the user is now gone.
	Leave(ctx context.Context, t Topic, userID string, id protocol.SocketID) (last bool, err error)
	// Members returns the channel's users in order of arrival.
	Members(ctx context.Context, t Topic) ([]Member, error)
}
