package proxy

import "context"

// Owners has one node of a gateway at a time speak for a channel of a backend,
// where several observe it. A claim holds until it is released, for as long as
// the node lives.
//
// Implementation: proxy/backend/redis.
type Owners interface {
	// Term names the time in which claims hold: one that was made in another
	// term is void. Empty: none holds now, as the others may take this node
	// for dead.
	Term() string
	// Claim makes this node the owner of a topic of a backend's, unless another
	// node that lives is; without inherit, not if another one was until now.
	Claim(ctx context.Context, t Topic, backend string, inherit bool) (Claim, error)
	// Release gives a claim up. It is not an error if there is none.
	Release(ctx context.Context, t Topic, backend string) error
}

// Claim is the answer to a claim.
type Claim int

// Answers to claims.
const (
	ClaimRefused   Claim = iota // another node is the owner, or was
	ClaimGranted                // nobody was, or this node already
	ClaimInherited              // another one was until now: what it did last may be on its way
)
