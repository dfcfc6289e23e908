package bench

import "errors"

var (
	errNone   = errors.New("none")
	errClosed = errors.New("bench: connection closed by the server")

	// ErrRefused is wrapped by the error of a run in which the server refused
	// the generator's connections, subscriptions or publishes.
	ErrRefused = errors.New("bench: refused by the server")
)
