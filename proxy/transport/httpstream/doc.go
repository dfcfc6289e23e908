// Package httpstream carries sessions over HTTP for clients that cannot open a
// WebSocket: the xhr_streaming and xhr transports of SockJS, on the paths and
// with the reading of them that pusher-js has.
//
// A client makes up a session name. It receives by POST to
// {server}/{session}/xhr_streaming or /xhr, whose answer is a run of frames,
// one a line, and sends by POST to /xhr_send.
package httpstream
