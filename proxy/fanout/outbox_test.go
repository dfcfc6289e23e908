package fanout

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

const patience = 10 * time.Second

// connected returns the two ends of a socket with small buffers, so that it
// does not take much until the kernel refuses.
func connected(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socketpair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { ends[i].Close() })
	}
	ends[1].SetReadDeadline(time.Now().Add(patience))
	if fd := descriptor(ends[0]); canWriteDirect && fd < 0 {
		t.Fatal("no direct writes to a socket")
	}
	return ends[0], ends[1]
}

// uncorked returns an outbox that writes at once.
func uncorked(conn net.Conn, traffic *Traffic) *Outbox {
	o := NewOutbox(conn, traffic, func() {})
	o.Uncork()
	return o
}

// wireFrame is a frame as the peer sees it.
type wireFrame struct {
	header  byte
	payload string
}

// parse splits what a peer received into whole frames.
func parse(t testing.TB, wire []byte) (frames []wireFrame) {
	t.Helper()
	for len(wire) > 0 {
		if len(wire) < 2 {
			t.Fatalf("the stream ends inside a frame's header, after %d frames", len(frames))
		}
		size, head := int(wire[1]), 2
		switch size {
		case len16:
			size, head = int(binary.BigEndian.Uint16(wire[2:])), 4
		case len64:
			size, head = int(binary.BigEndian.Uint64(wire[2:])), 10
		}
		if len(wire) < head+size {
			t.Fatalf("the stream ends inside a frame of %d bytes, after %d frames", size, len(frames))
		}
		if h := wire[0]; h != finalText && h != finalPing && h != finalPong && h != finalClose {
			t.Fatalf("after %d frames comes a byte %#x that begins none", len(frames), h)
		}
		frames = append(frames, wireFrame{wire[0], string(wire[head : head+size])})
		wire = wire[head+size:]
	}
	return frames
}

// The peer must see whole frames, each sender's in order, none lost or
// doubled, whatever the kernel takes at a time.
func TestOutboxUnderLoad(t *testing.T) {
	for name, connect := range map[string]func(testing.TB) (ours, theirs net.Conn){
		"a socket":     connected,
		"not a socket": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	} {
		t.Run(name, func(t *testing.T) {
			const senders, batches = 4, 200
			ours, theirs := connect(t)
			var traffic Traffic
			o := uncorked(ours, &traffic)
			received := make(chan []byte)
			go func() { received <- readSlowly(theirs) }()
			var wg sync.WaitGroup
			for s := range senders {
				wg.Go(func() {
					for n := 0; n < batches; {
						if o.backlog() > MaxQueuedBytes/2 {
							runtime.Gosched()
							continue
						}
						if !o.Send(numbered(s, n), n%2) { // the first frame of every second batch is not for us
							t.Error("Send failed")
							return
						}
						n++
					}
				})
			}
			wg.Go(func() {
				for range 100 {
					o.Ping()
					o.Pong([]byte("pong"))
					runtime.Gosched()
				}
			})
			wg.Wait()
			o.Close(1000, "done")
			wire := <-received
			o.Shut()
			frames := parse(t, wire)
			checkSenders(t, frames, senders, batches)
			if last := frames[len(frames)-1]; last.header != finalClose || last.payload[2:] != "done" {
				t.Errorf("the last frame is %v, want the close frame", last)
			}
			if got := traffic.Bytes.Load(); got != uint64(len(wire)) {
				t.Errorf("%d bytes were counted, %d came", got, len(wire))
			}
		})
	}
}

func (o *Outbox) backlog() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queue == nil {
		return 0
	}
	return o.queue.bytes
}

// numbered is a batch of two frames, one of them longer now and then.
func numbered(sender, n int) *Batch {
	b := One(fmt.Appendf(nil, "%d:%d:a", sender, n))
	b.add(fmt.Appendf(nil, "%d:%d:b%s", sender, n, strings.Repeat("x", n%7*300)))
	return b
}

// readSlowly reads to the close frame, in pieces of any size.
func readSlowly(c net.Conn) (wire []byte) {
	buf := make([]byte, 3000)
	for {
		n, err := c.Read(buf[:1+rand.IntN(len(buf))])
		wire = append(wire, buf[:n]...)
		if err != nil || bytes.HasSuffix(wire, []byte("done")) {
			return wire
		}
		if rand.IntN(20) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func checkSenders(t *testing.T, frames []wireFrame, senders, batches int) {
	t.Helper()
	next := make([]int, senders) // the number of a frame: two a batch
	pings, pongs := 0, 0
	for _, f := range frames {
		switch f.header {
		case finalPing:
			pings++
			continue
		case finalPong:
			pongs++
			continue
		case finalClose:
			continue
		}
		var s, n int
		var which byte
		if _, err := fmt.Sscanf(f.payload, "%d:%d:%c", &s, &n, &which); err != nil {
			t.Fatalf("a frame was damaged: %.80q", f.payload)
		}
		if next[s]%4 == 2 {
			next[s]++ // was left out
		}
		if want := next[s]; n*2+int(which-'a') != want {
			t.Fatalf("sender %d: got frame %d%c, want number %d", s, n, which, want)
		}
		next[s]++
	}
	for s, n := range next {
		if n != 2*batches {
			t.Errorf("sender %d: got %d frames, want %d", s, n, 2*batches)
		}
	}
	if pings != 100 || pongs != 100 {
		t.Errorf("got %d pings and %d pongs, want 100 each", pings, pongs)
	}
}

func TestOutboxOverflow(t *testing.T) {
	for name, payload := range map[string]int{
		"of bytes":  20000,
		"of writes": 10,
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := connected(t)
			var traffic Traffic
			var ended atomic.Bool
			o := NewOutbox(ours, &traffic, func() { ended.Store(true) })
			o.Uncork()
			sent := 0
			for o.Send(One(fmt.Appendf(nil, "%d %s", sent, strings.Repeat("x", payload))), 0) {
				if sent++; sent > 1e6 {
					t.Fatal("the queue has no end")
				}
			}
			if !ended.Load() {
				t.Error("the end of the outbox was not told")
			}
			if got := o.backlog(); got > MaxQueuedBytes/2 {
				t.Errorf("%d bytes are still kept", got)
			}
			if code, closed := o.Sent(); code != protocol.CodeOverCapacity || !closed {
				t.Errorf("Sent() = %d, %v, want %d", code, closed, protocol.CodeOverCapacity)
			}
			if o.Send(One(nil), 0) {
				t.Error("a closed outbox takes frames")
			}
			wire := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(theirs)
				wire <- all
			}()
			for o.backlog() > 0 {
				runtime.Gosched()
			}
			o.Shut()
			frames := parse(t, <-wire)
			for i, f := range frames[:len(frames)-1] {
				if !strings.HasPrefix(f.payload, fmt.Sprintf("%d ", i)) {
					t.Fatalf("frame %d is %.20q", i, f.payload)
				}
			}
			want := "\x10\x04" + protocol.ErrSlow.Message
			if last := frames[len(frames)-1]; last.header != finalClose || last.payload != want {
				t.Errorf("the last frame is %v, want close %q", last, want)
			}
			if got := traffic.Slow.Load(); got != 1 {
				t.Errorf("%d slow connections were counted, want 1", got)
			}
		})
	}
}

// A peer that takes nothing at all is given up.
func TestOutboxWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		var traffic Traffic
		var ended atomic.Bool
		o := NewOutbox(ours, &traffic, func() { ended.Store(true) })
		o.Uncork()
		o.Send(One([]byte("x")), 0)
		time.Sleep(WriteTimeout - time.Millisecond)
		synctest.Wait()
		if ended.Load() {
			t.Error("given up too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if code, closed := o.Sent(); !ended.Load() || !closed || code != protocol.CodeOverCapacity {
			t.Errorf("after %v: ended %v, Sent() = %d, %v", WriteTimeout, ended.Load(), code, closed)
		}
		if traffic.Slow.Load() != 1 {
			t.Error("not counted as slow")
		}
	})
}

func TestOutboxClose(t *testing.T) {
	long := strings.Repeat("é", 100)
	for name, tc := range map[string]struct {
		close func(o *Outbox)
		want  string
	}{
		"code and reason":                       {close: func(o *Outbox) { o.Close(4200, "again") }, want: "\x88\x07\x10\x68again"},
		"code alone":                            {close: func(o *Outbox) { o.Close(1000, "") }, want: "\x88\x02\x03\xe8"},
		"no code":                               {close: func(o *Outbox) { o.Close(0, "not sent") }, want: "\x88\x00"},
		"only the first":                        {close: func(o *Outbox) { o.Close(4200, ""); o.Close(4009, "") }, want: "\x88\x02\x10\x68"},
		"nothing behind it":                     {close: func(o *Outbox) { o.Close(1000, ""); o.Ping(); o.Send(One([]byte("x")), 0) }, want: "\x88\x02\x03\xe8"},
		"behind what was sent":                  {close: func(o *Outbox) { o.Send(One([]byte("x")), 0); o.Ping(); o.Close(1000, "") }, want: "\x81\x01x\x89\x00\x88\x02\x03\xe8"},
		"a long reason, cut between characters": {close: func(o *Outbox) { o.Close(4000, long) }, want: "\x88\x7c\x0f\xa0" + long[:122]},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := connected(t)
			o := uncorked(ours, new(Traffic))
			tc.close(o)
			o.Shut()
			got, err := io.ReadAll(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// After a close frame, reading is given a deadline.
func TestOutboxCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		o := uncorked(ours, new(Traffic))
		start := time.Now()
		o.Close(1000, "")
		_, err := ours.Read(make([]byte, 1))
		if d := time.Since(start); d != CloseTimeout || err == nil {
			t.Errorf("reading ended after %v with %v, want %v", d, err, CloseTimeout)
		}
		o.Shut()
	})
}

func TestOutboxCork(t *testing.T) {
	ours, theirs := connected(t)
	o := NewOutbox(ours, new(Traffic), func() {})
	o.Write([]byte("HTTP/1.1 101\r\n\r\n"))
	o.Send(One([]byte("greeting")), 0)
	theirs.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Fatalf("before Uncork %d bytes came, %v", n, err)
	}
	theirs.SetReadDeadline(time.Now().Add(patience))
	o.Uncork()
	o.Uncork()
	buf := make([]byte, 100)
	n, err := theirs.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf[:n]), "HTTP/1.1 101\r\n\r\n\x81\x08greeting"; got != want {
		t.Errorf("the first write was %q, want %q", got, want)
	}
	o.Shut()
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// The number of a closed descriptor is soon another connection's. Nothing of
// an outbox may end up there.
func TestOutboxLeavesDescriptorsAlone(t *testing.T) {
	for range 50 {
		ours, theirs := connected(t)
		o := uncorked(ours, new(Traffic))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for o.Send(One([]byte("stray")), 0) {
					runtime.Gosched()
				}
			})
		}
		wg.Go(func() { io.Copy(io.Discard, theirs) })
		o.Shut()
		later, laterPeer := connected(t) // most likely with the same number
		wg.Wait()
		later.Close()
		if got, err := io.ReadAll(laterPeer); err != nil || len(got) > 0 {
			t.Fatalf("another connection received %q, %v", got, err)
		}
	}
}

// Whoever is given the descriptor is never given one that is closed or, by
// then, another connection's.
func TestOutboxLendsAnOpenDescriptor(t *testing.T) {
	for range 50 {
		ours, _ := connected(t)
		o := uncorked(ours, new(Traffic))
		inode := func(fd int) (n uint64, err error) {
			var stat syscall.Stat_t
			err = syscall.Fstat(fd, &stat)
			return stat.Ino, err
		}
		mine, err := inode(o.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				err := o.Control(func(fd int) error {
					runtime.Gosched()
					if got, err := inode(fd); err != nil || got != mine {
						t.Errorf("lent descriptor %d of file %d (%v), want file %d", fd, got, err, mine)
					}
					return nil
				})
				if errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
		runtime.Gosched()
		o.Shut()
		connected(t) // most likely with the same number
		wg.Wait()
	}
	tls := NewOutbox(struct{ net.Conn }{}, new(Traffic), func() {})
	if err := tls.Control(func(int) error { return nil }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without direct writes: %v, want %v", err, errors.ErrUnsupported)
	}
}

// FuzzOutbox runs a program of sends and reads against a connection that takes
// little at a time, and compares what the peer sees with what was accepted.
func FuzzOutbox(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5})
	f.Add([]byte{3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 0, 0, 5, 1})
	f.Add(bytes.Repeat([]byte{3, 0, 2}, 40))
	f.Add(append(bytes.Repeat([]byte{3}, 200), 4, 0, 5))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 300 {
			program = program[:300]
		}
		ours, theirs := connected(t)
		o := uncorked(ours, new(Traffic))
		var want, got []byte
		buf := make([]byte, 5000)
		accept := func(accepted bool, wire []byte) {
			if accepted {
				want = append(want, wire...)
			}
		}
		open := true
		for i, op := range program {
			if _, closed := o.Sent(); closed {
				open = false
			}
			switch op % 6 {
			case 0:
				b := One(fmt.Append(nil, i))
				accept(o.Send(b, 0), b.Wire(0))
			case 1:
				b := numbered(i, int(op))
				accept(o.Send(b, 1), b.Wire(1))
			case 2:
				o.Ping()
				accept(open, []byte{finalPing, 0})
			case 3:
				b := One(make([]byte, 3000+int(op)))
				accept(o.Send(b, 0), b.Wire(0))
			case 4:
				o.Close(1000, "")
				accept(open, closeFrame(1000, ""))
			case 5:
				theirs.SetReadDeadline(time.Now().Add(time.Millisecond))
				n, _ := theirs.Read(buf)
				got = append(got, buf[:n]...)
			}
		}
		theirs.SetReadDeadline(time.Now().Add(patience))
		for len(got) < len(want) {
			n, err := theirs.Read(buf)
			if err != nil {
				t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
			}
			got = append(got, buf[:n]...)
		}
		o.Shut()
		if !bytes.Equal(got, want) {
			t.Fatalf("the peer saw %d bytes that differ from the %d accepted", len(got), len(want))
		}
		parse(t, got)
	})
}
