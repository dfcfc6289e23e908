package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc (USER_HZ is 100 on Linux).
const tick = 10 * time.Millisecond

type machine struct {
	busy   time.Duration // all CPUs since boot
	server time.Duration // the server's process
}

func machineUsage(pid int) (machine, error) {
	var m machine
	all, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, fmt.Errorf("read the machine's usage: %w", err)
	}
	first, _, _ := strings.Cut(string(all), "\n")
	const user, nice, system, irq, softirq, steal = 1, 2, 3, 6, 7, 8
	if m.busy, err = sum(strings.Fields(first), user, nice, system, irq, softirq, steal); err != nil {
		return m, err
	}
	own, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return m, fmt.Errorf("read the server's usage: %w", err)
	}
	const utime, stime = 11, 12 // counted from behind the name in parentheses
	m.server, err = sum(strings.Fields(string(own[bytes.LastIndexByte(own, ')')+1:])), utime, stime)
	return m, err
}

func sum(fields []string, columns ...int) (time.Duration, error) {
	var total time.Duration
	for _, i := range columns {
		if i >= len(fields) {
			return 0, fmt.Errorf("read usage: only %d fields", len(fields))
		}
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read usage: %w", err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}
