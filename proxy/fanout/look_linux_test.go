package fanout

import (
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestLookFindsInputBeforeItsCallerGoesOn: with one processor, a goroutine
// whose input has arrived runs before the one that looked around. Every 61st
// turn the scheduler has another order; without a look it is never so.
func TestLookFindsInputBeforeItsCallerGoesOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[0]), "pair")
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	defer conn.Close()

	var seen atomic.Int32
	go func() {
		for buf := make([]byte, 1); ; {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			seen.Add(1)
		}
	}()
	time.Sleep(10 * time.Millisecond) // real input and output: let the reader wait for the network
	l := newLook()
	if l == nil {
		t.Fatal("an event descriptor cannot be made")
	}
	defer l.close()
	inTime := 0
	for i := range int32(100) {
		// A raw system call: the runtime does not notice that there is input.
		if _, err := writeDirect(pair[1], []byte{'x'}); err != nil {
			t.Fatal(err)
		}
		l.around()
		runtime.Gosched()
		if seen.Load() == i+1 {
			inTime++
		}
		for seen.Load() <= i {
			time.Sleep(time.Millisecond)
		}
	}
	if inTime < 80 {
		t.Errorf("%d of 100 inputs were handled before the caller went on", inTime)
	}
	if err := syscall.Close(pair[1]); err != nil {
		t.Fatal(err)
	}
}

func TestLookThatCannotBeMadeDoesNothing(t *testing.T) {
	var l *look
	l.around()
	l.close()
}

func BenchmarkLook(b *testing.B) {
	l := newLook()
	defer l.close()
	b.ReportAllocs()
	for b.Loop() {
		l.around()
	}
}
