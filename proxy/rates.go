package proxy

import "context"

// Rates shares what an app may do per second among all nodes.
//
// Implementation: proxy/backend/redis. A gateway of one node needs none.
type Rates interface {
	// Take takes between least and want of an app's share: as many as there
	// are, or none if there are fewer than least. The share grows by perSecond
	// a second, up to burst.
	Take(ctx context.Context, app string, least, want, perSecond, burst int) (granted int, err error)
}
