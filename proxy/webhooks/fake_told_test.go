package webhooks

import (
	"context"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
)

// memoryTold is what nodes share, in memory, and beside it what the engines
// of all nodes have.
type memoryTold struct {
	mu     sync.Mutex
	told   map[subject]bool
	engine map[subject]bool
	vendor map[subject]bool
	said   map[subject]heard
}

func newMemoryTold() *memoryTold {
	return &memoryTold{told: map[subject]bool{}, engine: map[subject]bool{}, vendor: map[subject]bool{}, said: map[subject]heard{}}
}

// happen is what an engine does, which Redis knows before anybody is told.
func (m *memoryTold) happen(r proxy.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := subjectOfRecord(r); ok {
		m.engine[s] = r.Kind == s.kind()
	}
}

func (m *memoryTold) Arrived(_ context.Context, t proxy.Topic, member bool, userID string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := subject{t, member, userID}
	news := !m.told[s]
	m.told[s] = true
	return news, nil
}

func (m *memoryTold) Departed(_ context.Context, t proxy.Topic, member bool, userID string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := subject{t, member, userID}
	if m.engine[s] || m.vendor[s] {
		return false, nil
	}
	news := m.told[s]
	delete(m.told, s)
	return news, nil
}

func (m *memoryTold) Upstream(_ context.Context, t proxy.Topic, member bool, userID string, there bool, said time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := subject{t, member, userID}
	if last, ok := m.said[s]; ok && said.Before(last.said) {
		return false, nil
	}
	m.said[s] = heard{said, time.Now()}
	m.put(s, there)
	return true, nil
}

func (m *memoryTold) UpstreamSeen(_ context.Context, t proxy.Topic, member bool, userID string, there bool, ago time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := subject{t, member, userID}
	if last, ok := m.said[s]; ok && time.Since(last.at) <= ago {
		return false, nil
	}
	m.put(s, there)
	return true, nil
}

func (m *memoryTold) put(s subject, there bool) {
	if there {
		m.vendor[s] = true
	} else {
		delete(m.vendor, s)
	}
}

func (m *memoryTold) AtUpstream(_ context.Context, app string, show func(t proxy.Topic, member bool, userID string)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.vendor {
		if s.topic.App == app {
			show(s.topic, s.member, s.userID)
		}
	}
	return nil
}
