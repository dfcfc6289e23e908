// Package redis translates to Redis or Valkey, pub/sub or streams.
//
// In pubsub mode a channel is a Redis channel and a message a JSON envelope; it
// counts as accepted when the server has answered PUBLISH. In streams mode a
// channel is a stream and a message an entry whose fields hold the data byte
// for byte; repeats of a mirror id are recognised, and a reconnecting observer
// goes on where it was.
package redis
