// Package route says where an app's traffic belongs: with the vendor, with
// this gateway, or a share of it with each.
//
// The configuration gives every app a stage and rules for channels. Moves,
// made while the gateway runs, lie on top of it: they are journalled with who
// and why, checked by gates, undone in one step, and survive a restart. Where
// the configuration and a move disagree the later of them holds, so editing
// the configured stage of something that was moved takes the move back.
//
//   - Position (position.go): where an app's channels are, immutable
//   - Move, Gate, Refused (move.go): a change, and what may stand against it
//   - Router (router.go): the positions of all apps, swapped whole
//   - journal.go: what was done, on disk
//   - Shared (shared.go, record.go): what was done on any of several nodes
//
// Several nodes share moves through a Shared. Each keeps a copy on disk, by
// which it goes while the others cannot be asked; then nothing can be moved. A
// move is added only to what its node knew, so that of two at once one is
// refused. Notes stay with the node that made them.
package route
