//go:build !linux || !(amd64 || arm64)

package fanout

// Elsewhere every write goes through the queue and the writer.
const canWriteDirect = false

func writeDirect(int, []byte) (int, error) { return 0, nil }
