// Package translatortest is the conformance kit of translator plugins: one
// suite per rule of the contract, run against a plugin's executable, or
// against a translator in the test's own process behind the same streams.
//
// In a Go test:
//
//	func TestConformance(t *testing.T) {
//		translatortest.Run(t, translatortest.Options{
//			Translator: mybackend.New(), Settings: translators.Settings{"url": url},
//		})
//	}
//
// On the command line: offramp plugin test PATH --settings FILE.
//
// The kit observes with a session other than the one that publishes, so what
// it finds went through the backend. What a translator does not declare is
// skipped and listed as such; what it declares must hold.
package translatortest
