//go:build tools

// Package server pins the Centrifugo that tests run against. It is a module of
// its own, so that its dependencies are none of the gateway's.
package server

import _ "github.com/centrifugal/centrifugo/v5"
