package fanout

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// drained returns an outbox whose peer reads all the time.
func drained(b *testing.B) *Outbox {
	ours, theirs := net.Conn(nil), net.Conn(nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, theirs)
	b.Cleanup(func() { theirs.Close() })
	o := NewOutbox(ours, new(Traffic), func() {})
	o.Uncork()
	b.Cleanup(o.Shut)
	return o
}

// BenchmarkSend is one frame to one peer: the kernel's share of it is nearly all.
func BenchmarkSend(b *testing.B) {
	o := drained(b)
	frame := One(make([]byte, 190))
	b.ReportAllocs()
	for b.Loop() {
		for !o.Send(frame, 0) {
			b.Fatal("the peer does not keep up")
		}
	}
}

// nowhere is an Outlet that costs nothing.
type nowhere struct{}

func (nowhere) Send(*Batch, int) bool { return true }

// BenchmarkFlush is what a publish costs beside the writes.
func BenchmarkFlush(b *testing.B) {
	for _, members := range []int{1, 100, 1000, 10000} {
		for _, frames := range []int{1, 8} {
			b.Run(fmt.Sprintf("subs=%d/frames=%d", members, frames), func(b *testing.B) {
				f := NewFlusher(nil)
				var g Group
				for range members {
					g.Join(&Member{Outlet: nowhere{}}, nil)
				}
				payload := make([]byte, 190)
				var spare []*Group
				b.ReportAllocs()
				for b.Loop() {
					for range frames {
						g.Append(f, payload, nil, nil)
					}
					for _, w := range f.workers {
						spare = w.drain(spare, nil, nil)
					}
				}
			})
		}
	}
}

// BenchmarkDeliver is one frame at a time to a socket for each member, with
// nothing to gather.
func BenchmarkDeliver(b *testing.B) {
	for _, members := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("subs=%d", members), func(b *testing.B) {
			delivered := make(chan struct{}, 1)
			f := NewFlusher(func(any, int, time.Time) { delivered <- struct{}{} })
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- f.Run(ctx) }()
			var g Group
			for range members {
				g.Join(&Member{Outlet: drained(b)}, nil)
			}
			payload := make([]byte, 190)
			b.ReportAllocs()
			for b.Loop() {
				g.Append(f, payload, nil, delivered)
				<-delivered
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
			stop()
			<-done
		})
	}
}
