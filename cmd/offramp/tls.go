package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/offramp/offramp/configs"
)

// newTLS returns the public listener's TLS settings; nil when it has none.
func newTLS(config *configs.Config) (*tls.Config, error) {
	switch t := config.TLS; {
	case t == nil:
		return nil, nil
	case t.ACME != nil:
		return newACME(t.ACME, config.Data), nil
	default:
		pair := &pemPair{cert: t.Cert, key: t.Key}
		if _, err := pair.load(nil); err != nil {
			return nil, err
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: pair.load}, nil
	}
}

// newACME orders certificates when they are first asked for, proving the name
// on the TLS port itself (RFC 8737), and keeps them in the data directory.
func newACME(a *configs.ACME, data string) *tls.Config {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(a.Domains...),
		Email:      a.Email,
		Cache:      autocert.DirCache(filepath.Join(data, "acme")),
	}
	if a.Directory != "" {
		manager.Client = &acme.Client{DirectoryURL: a.Directory}
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1", acme.ALPNProto},
		GetCertificate: manager.GetCertificate,
	}
}

// pemPair is a certificate and its key: a pair of PEM files that is read again when it has changed,
// so that a renewed certificate needs no restart.
type pemPair struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	read    time.Time // when the files' age was last looked at
	changed time.Time // newest modification time of the pair in use
}

// recheck is how often the files are looked at, at most.
const recheck = 10 * time.Second

func (c *pemPair) load(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.read) < recheck {
		return c.current, nil
	}
	c.read = time.Now()
	changed, err := newest(c.cert, c.key)
	if err == nil && c.current != nil && changed.Equal(c.changed) {
		return c.current, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	switch {
	case err == nil:
		c.current, c.changed = &pair, changed
	case c.current == nil:
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	// A pair that is half written, or broken, leaves the one before in use.
	return c.current, nil
}

func newest(paths ...string) (at time.Time, err error) {
	for _, path := range paths {
		info, statErr := os.Stat(path)
		if statErr != nil {
			err = errors.Join(err, statErr)
			continue
		}
		if info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at, err
}
