// Package plugins is the boundary between the gateway and a translator's
// process. An author's main function is one line:
//
//	func main() { os.Exit(plugins.Serve(mybackend.New())) }
//
// Serve speaks hashicorp/go-plugin's handshake and gRPC with mutual TLS to the
// gateway that started the process, and gives the translator a synchronous
// life: it sorts items into lanes, gathers slices, retries what failed for
// now, answers once per item, grants credit, drains, and ends the process when
// the gateway is gone. Package plugins/host is the other side.
package plugins
