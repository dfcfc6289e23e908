package redis

import (
	"fmt"
	"testing"

	"github.com/offramp/offramp/proxy/backend/backendtest"
)

// suite runs the contract of backends with some nodes.
func suite(t *testing.T, s Server, size int) {
	t.Helper()
	backendtest.Run(t, func(t *testing.T) []backendtest.Node {
		nodes := make([]backendtest.Node, size)
		for i := range nodes {
			n := startNodeAt(t, s, uint64(i+1), DefaultLease)
			nodes[i] = backendtest.Node{Broker: n.Broker, Presence: n.Ledger, Occupancy: n.Ledger}
		}
		return nodes
	})
}

func TestBackend(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) { suite(t, startServer(t).at(), size) })
	}
}

func TestBackendOnSentinel(t *testing.T) { suite(t, startSentinel(t).at(), 3) }

func TestBackendOnCluster(t *testing.T) { suite(t, startCluster(t), 3) }

// With an authority of its own, certificates for clients, and a user that may
// do what the documentation says and nothing else.
func TestBackendOnTLSWithLeastRights(t *testing.T) {
	ca := newAuthority(t)
	args := append(ca.serverArgs(t), "--aclfile", aclFile(t))
	suite(t, ca.at(startTLSServer(t, args...)), 3)
}
