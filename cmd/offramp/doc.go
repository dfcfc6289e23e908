// Command offramp is the migration gateway for Pusher Channels: the gateway
// itself (serve), the demonstration (demo), and the tools around them.
//
// main.go maps errors to exit codes, root.go gathers the commands, wire.go
// calls every constructor, and each command has a file of its own.
package main
