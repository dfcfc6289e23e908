// Package configs reads what an operator writes: one strict YAML file, or the
// PUSHER_APP_* environment of a deployment that is already there, or nothing
// at all (development mode).
//
// A file is read once, whole, and every mistake in it is reported together,
// each with its line, its path and the fix: see Check and Problem. What a
// setting is called, what it takes and what it is when absent is written down
// in one place, the tables of schema.go; reading, checking and the reference
// in docs/configuration.md follow them.
//
// Secrets may stand in the file as text, as {env: NAME} or as {file: PATH}.
// They are held as proxy.Secret and appear in no error text.
package configs
