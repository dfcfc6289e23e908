package httpapi

import "sync"

const (
	// maxAgent bounds what is kept of a User-Agent, in bytes.
	maxAgent = 100
	// maxPublishers bounds the names that are kept for use again.
	maxPublishers = 1024
)

// publishers names who publishes, by key and client library. A name is made
// once and then used for all events of the publisher.
type publishers struct {
	mu    sync.RWMutex
	known map[string]string
}

// of names the publisher of a request that was authenticated; it is empty when
// there are too many.
func (p *publishers) of(r *request) string {
	key, _ := r.auth.param("auth_key")
	agent := r.ctx.Request.Header.UserAgent()
	var scratch [2 * maxAgent]byte
	name := append(append(scratch[:0], key...), ' ')
	name = append(name, agent[:min(len(agent), maxAgent)]...)
	p.mu.RLock()
	known, ok := p.known[string(name)]
	p.mu.RUnlock()
	if ok {
		return known
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxPublishers {
		return ""
	}
	if p.known == nil {
		p.known = make(map[string]string)
	}
	known = string(name)
	p.known[known] = known
	return known
}
