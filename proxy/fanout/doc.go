// Package fanout is the outbound path: how one published frame becomes many
// writes, as few of them as can be.
//
// A Group holds the members of one channel on this node. Append encodes a
// frame once, behind the frames that wait already, and returns; a flusher
// goroutine takes all that has gathered as one immutable Batch and hands it
// to every member's Outlet, where it becomes one write. Frames that are
// appended during that walk catch up with it: the members ahead get them in
// the same write, those behind in a second round. No timer delays anything: a
// lone frame is flushed as soon as the goroutines that are ready to run have
// had their turn.
//
// An Outbox is the Outlet of a WebSocket connection: one non-blocking write
// where the kernel takes it, a bounded queue of references where it does not.
//
// Invariants, each held by a test:
//
//   - Frames of a group reach each member in the order of Append.
//   - A member gets no frame appended before its Join, nor after its Leave
//     has returned and the flush under way has passed it.
//   - A Batch is never changed once an Outlet has seen it; all members share it.
//   - A walk passes each member twice at most, so that no group holds a flusher.
//   - No lock of a group is held while an Outlet is called.
//   - A group is only ever flushed by one goroutine at a time.
package fanout
