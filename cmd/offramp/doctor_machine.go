package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// What a gateway with many connections wants of its machine.
const (
	wantedFiles   = 65_536
	wantedBacklog = 4096
)

// examineMachine looks at the limits of the machine that the doctor runs on.
func examineMachine() []finding {
	var limit syscall.Rlimit
	var found []finding
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		found = append(found, judgeFiles(limit.Max))
	}
	if text, err := os.ReadFile("/proc/sys/net/core/somaxconn"); err == nil {
		found = append(found, judgeBacklog(strings.TrimSpace(string(text))))
	}
	return found
}

// judgeFiles: every connection is an open file. The Go runtime raises the soft
// limit to the hard one by itself.
func judgeFiles(most uint64) finding {
	const check = "open files"
	if most < wantedFiles {
		return finding{check, watch, fmt.Sprintf("a process may have %d, and each connection is one", most), "systemd: LimitNOFILE=1048576; shell: ulimit -Hn; container: --ulimit nofile=1048576"}
	}
	return finding{check, healthy, fmt.Sprintf("a process may have %d", most), ""}
}

func judgeBacklog(text string) finding {
	const check = "accept queue"
	n, err := strconv.Atoi(text)
	if err != nil || n < wantedBacklog {
		return finding{check, watch, "the system lets " + text + " connections wait: a storm of reconnecting clients overflows that", "sysctl net.core.somaxconn=4096 or more"}
	}
	return finding{check, healthy, fmt.Sprintf("the system lets %d connections wait", n), ""}
}
