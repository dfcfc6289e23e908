// Package judges lets the SDKs that customers already use judge the gateway:
// pusher-js of three majors, Laravel Echo, and Pusher's libraries for Node,
// Python, Java and Go, client and server, unmodified; pusher-js also in headless
// Chromium, with each of its transports. Each rig is a small program in its
// SDK's language. It prints one JSON line per check, and the tests here turn
// each line into a subtest.
package judges
