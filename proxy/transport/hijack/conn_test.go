package hijack

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// short is a listener that has no descriptors left a few times.
type short struct {
	net.Listener
	times int
	final error
}

func (s *short) Accept() (net.Conn, error) {
	if s.times > 0 {
		s.times--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	if s.final != nil {
		return nil, s.final
	}
	a, _ := net.Pipe()
	return a, nil
}

func (s *short) Close() error { return nil }

func TestAcceptOutlivesAShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		conn, err := Listen(&short{times: 12}, nil).Accept()
		if err != nil {
			t.Fatalf("Accept returned %v, want a connection", err)
		}
		_ = conn.Close()
		if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
			t.Errorf("12 failures were waited out in %v, want some seconds", waited)
		}
	})
}

func TestCloseEndsTheWaitForAShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen(&short{times: 1 << 30}, nil)
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		time.Sleep(time.Minute + time.Millisecond)
		began := time.Now()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returned %v, want net.ErrClosed", err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("Accept ended %v after Close", waited)
		}
	})
}

func TestAcceptEndsWithItsListener(t *testing.T) {
	closed := &net.OpError{Op: "accept", Err: net.ErrClosed}
	if _, err := Listen(&short{final: closed}, nil).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v, want net.ErrClosed", err)
	}
}
