package protocol

import (
	"strconv"
	"strings"
)

// maxGatewayName bounds a gateway's name in a ViaHeader.
const maxGatewayName = 64

// Via returns the ViaHeader of an event that a gateway of that name has sent
// on, as the last of so many; it is empty for none.
func Via(gateway string, hops uint32) string {
	if hops == 0 {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`,;="\()`, r) {
			return r
		}
		return '_'
	}, gateway)
	name = name[:min(len(name), maxGatewayName)]
	if name == "" {
		name = "unknown"
	}
	return name + ";" + hopsParameter + strconv.FormatUint(uint64(hops), 10)
}

// hopsParameter is a parameter of ours: a gateway that knows only how many
// have been before it says so.
const hopsParameter = "hops="

// Hops returns how many gateways a ViaHeader tells of.
func Hops(via string) uint32 {
	if via == "" {
		return 0
	}
	var sum uint64
	for entry := range strings.SplitSeq(via, ",") {
		hops := uint64(1)
		for parameter := range strings.SplitSeq(entry, ";") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), hopsParameter); ok {
				if n, err := strconv.ParseUint(text, 10, 16); err == nil {
					hops = n
				}
			}
		}
		sum += hops
	}
	return uint32(min(sum, 1<<16))
}
