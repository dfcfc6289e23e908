// Package report turns the comparator's evidence into a verdict, and writes
// it for people (terminal, HTML), for programs (JSON, by a published schema)
// and for build servers (JUnit, exit code). A report holds the cells that its
// verdict was computed from, so that Verify can compute it again.
package report
