// Package admin is the operator's side of the gateway: health for load
// balancers, metrics for Prometheus, the JSON API that the command line uses,
// and a dashboard with a debug console for people.
//
// It knows nothing of the parts it shows. What it reads and asks for stands in
// sources.go as small interfaces; the program passes adapters in.
//
// The listener is meant for operators. On loopback it is open but refuses what
// a web page in the operator's browser could send (foreign Host and Origin
// headers); anywhere else it needs a bearer token.
package admin
