// Package apps holds the apps that the gateway serves: one immutable set,
// looked up by id and by key, and replaced whole when the configuration is
// reloaded. A request that began with one set keeps the app it was given.
package apps
