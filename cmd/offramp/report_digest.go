package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/offramp/offramp/proxy"
)

// comparedConfig is what of an app's configuration decides what its report
// compares. No secret is in it, nor a backend's settings, which may hold some.
type comparedConfig struct {
	App      string
	Stage    proxy.Stage
	Upstream string
	Rules    []proxy.Rule
	Backends []comparedBackend
}

type comparedBackend struct {
	Name, Plugin string
	Role         proxy.Role
	Channels     []string
	Sample       float64
}

// configDigest names the configuration that a report was made with, so that
// two reports can be told to be of the same one.
func configDigest(app *proxy.App) string {
	if app == nil {
		return ""
	}
	c := comparedConfig{App: app.ID, Stage: app.Stage, Rules: app.Rules}
	if app.Upstream != nil {
		c.Upstream = app.Upstream.WebSocket
	}
	for i := range app.Backends {
		b := &app.Backends[i]
		c.Backends = append(c.Backends, comparedBackend{b.Name, b.Plugin, b.Role, b.Channels, b.Sample})
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "" // a report without it says less, and nothing wrong
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
