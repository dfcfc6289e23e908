// Package hijack takes connections over from the HTTP server: whole, with
// nothing of the HTTP server kept alive, and without the HTTP server's
// clean-up closing them.
package hijack
