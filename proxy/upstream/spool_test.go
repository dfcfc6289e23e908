package upstream

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

func copyOf(seq uint64, channel, data string) *proxy.Event {
	return &proxy.Event{
		ID: proxy.EventID{Node: 7, Seq: seq}, At: time.Unix(1000, 5), Topic: proxy.Topic{Channel: protocol.ChannelName(channel)},
		Name: "e", Via: "offramp;node=9", Data: []byte(data), Publisher: proxy.ByServer, Origin: proxy.LegEngine,
	}
}

func openAt(t testing.TB, path string) (*spool, []string) {
	t.Helper()
	s, left, err := openSpool(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.file.Close() }) // some tests close it
	return s, datas(left)
}

func datas(events []*proxy.Event) (list []string) {
	for _, ev := range events {
		list = append(list, string(ev.Data))
	}
	return list
}

// TestSpoolOutlivesItsProcess opens a file again that was never closed.
func TestSpoolOutlivesItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.copies")
	first, left := openAt(t, path)
	if len(left) != 0 {
		t.Fatalf("a new file has %q", left)
	}
	events := []*proxy.Event{copyOf(1, "a", "one"), copyOf(2, "b", "two"), copyOf(3, "a", "three")}
	for _, ev := range events {
		first.add(ev)
	}
	first.settle(events[1])
	first.flush()
	first.add(copyOf(4, "a", "not flushed"))
	for range 2 { // what is left is left until it is settled
		var s *spool
		if s, left = openAt(t, path); !slices.Equal(left, []string{"one", "three"}) {
			t.Fatalf("left: %q", left)
		}
		if waiting, unkept := s.stats(); waiting != 2 || unkept != 0 {
			t.Errorf("%d wait, %d unkept", waiting, unkept)
		}
	}
	_, again, _ := openSpool(path, zerolog.Nop())
	if got, want := fmt.Sprintf("%+v", *again[0]), fmt.Sprintf("%+v", *events[0]); got != want {
		t.Errorf("left:\n%s, want\n%s", got, want)
	}
}

func TestSpoolGivesUpADamagedEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.copies")
	whole := appendCopy(appendCopy(nil, copyOf(1, "a", "one")), copyOf(2, "a", "two"))
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := cut / (len(whole) / 2) // both are of a length
		s, left := openAt(t, path)
		if len(left) != want {
			t.Fatalf("%d of %d bytes: %q, want %d", cut, len(whole), left, want)
		}
		s.add(copyOf(3, "a", "three"))
		s.flush()
		_ = s.file.Close()
		if _, left = openAt(t, path); len(left) != want+1 || left[want] != "three" {
			t.Fatalf("after %d bytes and a new one: %q", cut, left)
		}
	}
}

func TestSpoolHasBounds(t *testing.T) {
	s, _ := openAt(t, filepath.Join(t.TempDir(), "1.copies"))
	big := make([]byte, maxSpooled/4)
	for seq := range uint64(5) {
		s.add(copyOf(seq, "a", string(big)))
	}
	if waiting, unkept := s.stats(); waiting != 3 || unkept != 2 {
		t.Errorf("%d wait, %d unkept; want 3 and 2", waiting, unkept)
	}
	s.settle(copyOf(0, "a", ""))
	s.add(copyOf(9, "a", "fits again"))
	if waiting, unkept := s.stats(); waiting != 3 || unkept != 2 {
		t.Errorf("%d wait, %d unkept; want 3 and 2", waiting, unkept)
	}
}

// TestSpoolFileStaysSmall settles far more than a file holds, with one copy
// that waits all the time.
func TestSpoolFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.copies")
	s, _ := openAt(t, path)
	s.add(copyOf(1, "a", "waits"))
	data := string(make([]byte, 64<<10))
	for seq := uint64(2); seq < 2+4*rewriteOver>>16; seq++ {
		ev := copyOf(seq, "a", data)
		s.add(ev)
		s.flush()
		s.settle(ev)
	}
	s.flush()
	info, err := os.Stat(path)
	if err != nil || info.Size() > rewriteOver+1<<20 {
		t.Errorf("%v, %v", info.Size(), err)
	}
	if _, left := openAt(t, path); !slices.Equal(left, []string{"waits"}) {
		t.Errorf("left: %d", len(left))
	}
}

// TestSpoolThatCannotBeWritten counts what is not safe, and has it in the file
// once that can be written again.
func TestSpoolThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.copies")
	s, _ := openAt(t, path)
	_ = s.file.Close()
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(2) {
		s.add(copyOf(seq, "a", fmt.Sprint(seq)))
		s.flush()
	}
	if waiting, unkept := s.stats(); waiting != 2 || unkept != 2 {
		t.Errorf("%d wait, %d unkept; want 2 and 2", waiting, unkept)
	}
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	s.flush()
	if _, left := openAt(t, path); !slices.Equal(left, []string{"0", "1"}) {
		t.Errorf("left: %q", left)
	}
}

// TestWhatIsTooOldIsNotResent takes up an old copy and a new one.
func TestWhatIsTooOldIsNotResent(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1000, 5).Add(copyFor)
	s, _ := openAt(t, filepath.Join(dir, "1.copies"))
	older := copyOf(1, "a", "older")
	older.At = older.At.Add(-time.Nanosecond)
	s.add(older)
	s.add(copyOf(2, "a", "newer"))
	s.flush()
	feed := NewFeed(1)
	if err := feed.Keep(dir, []string{"1"}, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if n := feed.unsettled("1"); n != 2 {
		t.Errorf("%d are unsettled, want 2: a bridge is needed", n)
	}
	r := &Relay{settings: Settings{Feed: feed, Log: zerolog.Nop()}, metrics: newMetrics()}
	b := &bridge{relay: r, id: "1"}
	b.takeUp(now)
	if got := datas(b.left); !slices.Equal(got, []string{"newer"}) {
		t.Errorf("taken up: %q", got)
	}
	if lost := testutil.ToFloat64(r.metrics.lost); lost != 1 {
		t.Errorf("%v counted as lost, want 1", lost)
	}
	if n, _ := feed.spooled("1"); n != 1 || feed.unsettled("1") != 1 {
		t.Errorf("%d wait, %d are unsettled; want 1", n, feed.unsettled("1"))
	}
	if !b.echoes.take("a", "e", []byte("newer"), now) {
		t.Error("the echo of a call of the earlier process is not expected")
	}
}

func FuzzSpoolLog(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendSettled(appendCopy(appendCopy(nil, copyOf(1, "a", "one")), copyOf(2, "b", "")), proxy.EventID{Node: 7, Seq: 1}))
	f.Add(appendCopy(nil, copyOf(1, "a", "one"))[:30])
	f.Fuzz(func(t *testing.T, text []byte) {
		waiting, rest := readSpoolLog(text)
		if rest < 0 || rest > len(text) {
			t.Fatalf("%d of %d bytes left", rest, len(text))
		}
		var again []byte
		for _, ev := range waiting {
			again = appendCopy(again, ev)
		}
		same, rest := readSpoolLog(again)
		var twice []byte
		for _, ev := range same {
			twice = appendCopy(twice, ev)
		}
		if rest != 0 || !bytes.Equal(again, twice) {
			t.Fatalf("%q is read as %q, %d left", again, twice, rest)
		}
	})
}

// BenchmarkSpool is what a publish pays: to be added, and to be written before
// the answer.
func BenchmarkSpool(b *testing.B) {
	data := string(make([]byte, 300))
	s, _ := openAt(b, filepath.Join(b.TempDir(), "1.copies"))
	for seq := uint64(0); b.Loop(); seq++ {
		ev := copyOf(seq, "a", data)
		s.add(ev)
		s.flush()
		s.settle(ev)
	}
}
