// Package plan turns what is known of an app into what to do about it: an
// assessment with blockers, a dated plan whose gates are looked at live, and
// the bill: the vendor's, what migrating adds to it, and one's own.
package plan
