// Package tap shows what happens in the gateway to everything that watches:
// webhooks, translators, inventory, shadow comparison, the debug console. The
// hot path offers each record once and waits for nobody; a watcher that
// cannot keep up loses records, and the loss is counted where it happens.
package tap
