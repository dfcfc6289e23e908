// Package faulty makes a backend misbehave by known amounts, so that a reader
// of a comparison report can see that it finds what is there, and nothing
// else. It wraps a translator: publishes pass untouched and the real backend
// carries them; faults are injected into what the session shows of the
// backend's deliveries.
//
// Every fault hits a delivery of its own. Counts are exact and reported with
// the session's health, as faults_drop, faults_dup, faults_reorder and
// faults_corrupt.
package faulty
