// Package browser tests the fallback transports where they are used: pusher-js
// in headless Chromium, on a page of another origin than the gateway's.
package browser
