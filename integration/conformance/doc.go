// Package conformance notes which test shows which item of the conformance
// list (integration/testdata/conformance.tsv), so that the list can be
// published with the result of a run beside each item.
package conformance
