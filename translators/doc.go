// Package translators is the contract between Offramp and the other systems
// that traffic can be copied to, in plain Go: it knows nothing of processes,
// streams or wire formats. Whoever adds a backend starts here.
//
// A Translator describes what its backend can carry and opens Sessions. A
// Session publishes slices of Envelopes, synchronously, and returns one Result
// for each. What only some backends can do is an interface of its own, which a
// Session implements or does not: Subscriber, Presencer, Querier, Previewer,
// Reporter. Batching, order lanes, retries, credits and the process boundary
// are the business of package plugins, whose Serve runs a Translator as a
// process.
//
//   - Translator, Session, Binding, the optional interfaces (translator.go)
//   - Envelope, Result: what is handed over, and the answer (envelope.go, result.go)
//   - Description: fidelity, limits, ordering, guarantee (description.go)
//   - Settings, Schema: what operators set, from struct tags (settings.go, schema.go)
package translators
