package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// clockTicks is USER_HZ, which Linux fixes at 100 for user space.
const clockTicks = 100

// usage is what a process has used and holds.
type usage struct {
	cpuSeconds  float64 // user and system since its start
	rssBytes    int64
	descriptors int
}

// readUsage asks /proc. A PID of 0 gives zeroes.
func readUsage(pid int) (usage, error) {
	var u usage
	if pid == 0 {
		return u, nil
	}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, fmt.Errorf("read the server's usage: %w", err)
	}
	// The name in parentheses may hold anything; the fields count from behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return u, fmt.Errorf("read the server's usage: %d fields in %s/stat", len(fields), dir)
	}
	const utime, stime, rss = 11, 12, 21
	ticks := 0.0
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return u, fmt.Errorf("read the server's usage: %w", err)
		}
		ticks += n
	}
	pages, err := strconv.ParseInt(fields[rss], 10, 64)
	if err != nil {
		return u, fmt.Errorf("read the server's usage: %w", err)
	}
	open, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return u, fmt.Errorf("read the server's usage: %w", err)
	}
	return usage{cpuSeconds: ticks / clockTicks, rssBytes: pages * int64(os.Getpagesize()), descriptors: len(open)}, nil
}
