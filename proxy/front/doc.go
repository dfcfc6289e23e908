// Package front is the public listener: WebSocket clients, HTTP fallback
// clients and the HTTP API on one port, told apart by their path.
package front
