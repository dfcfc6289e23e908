package plugins

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

// pending is a batch on its way through the lanes.
type pending struct {
	batch   uint64
	results []*wire.Result // each written by one lane
	left    atomic.Int64   // items without a result
}

// Publish implements wire.BackendServer.
func (s *server) Publish(stream grpc.BidiStreamingServer[wire.PublishBatch, wire.PublishAck]) error {
	if _, err := s.opened(); err != nil {
		return err
	}
	acks := make(chan *pending, creditWindow)
	received := make(chan error, 1)
	var taken atomic.Int64 // batches taken and not answered, plus one while receiving
	taken.Store(1)
	done := make(chan struct{})
	finish := func() {
		if taken.Add(-1) == 0 {
			close(done)
		}
	}
	go func() {
		defer finish()
		received <- s.takeBatches(stream, acks, &taken)
	}()
	for {
		select {
		case p := <-acks:
			if box := s.box.Load(); box != nil {
				box.calm(stream.Context())
			}
			ack := &wire.PublishAck{Batch: p.batch, Results: p.results, Credit: uint32(s.lanes.credit())}
			if err := stream.Send(ack); err != nil {
				return err
			}
			finish()
		case <-done:
			return <-received
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// takeBatches puts what arrives into the lanes until the stream ends. acks
// has room for every batch that the credit allows.
func (s *server) takeBatches(
	stream grpc.BidiStreamingServer[wire.PublishBatch, wire.PublishAck], acks chan<- *pending, taken *atomic.Int64,
) error {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return ended(err)
		}
		if len(batch.GetItems()) == 0 {
			return status.Error(codes.InvalidArgument, "a batch without items")
		}
		taken.Add(1)
		p := &pending{batch: batch.GetBatch(), results: make([]*wire.Result, len(batch.GetItems()))}
		p.left.Store(int64(len(p.results)))
		for i, item := range batch.GetItems() {
			done := func(r translators.Result) {
				p.results[i] = wire.FromResult(r)
				if p.left.Add(-1) == 0 {
					acks <- p
				}
			}
			if !s.lanes.put(task{item: wire.ToEnvelope(item), done: done}) {
				return status.Errorf(codes.ResourceExhausted, "more than %d items outstanding", creditWindow)
			}
		}
	}
}
