package redis

import (
	"fmt"
	"testing"

	"github.com/offramp/offramp/proxy/backend/backendtest"
)

func TestBackend(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			s := startServer(t)
			backendtest.Run(t, func(t *testing.T) []backendtest.Node {
				nodes := make([]backendtest.Node, size)
				for i := range nodes {
					n := startNode(t, s, uint64(i+1), DefaultLease)
					nodes[i] = backendtest.Node{Broker: n.Broker, Presence: n.Ledger, Occupancy: n.Ledger}
				}
				return nodes
			})
		})
	}
}
