package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// vandal is a TCP proxy between a plugin and its server that spoils messages
// on their way to the plugin. It knows the servers' protocols and nothing of
// Offramp.
type vandal struct {
	addr  string
	parse parser

	mu    sync.Mutex
	rng   *rand.Rand
	rates mischief
	done  mischief // what was done, as counts
	held  int      // messages that wait to be overtaken
	open  []net.Conn
	seen  int
}

// mischief is a share of messages, or a number of them, per kind of fault.
type mischief struct{ drop, dup, swap, data, anywhere, delay float64 }

// parser reads one frame that a server sent.
type parser func(*bufio.Reader) (frame []byte, m message, err error)

// message is what a frame brings; without a topic it brings none.
type message struct {
	topic    string
	from, to int // where the body is in the frame
}

const vandalDelay = 300 * time.Millisecond

func startVandal(t *testing.T, target string, parse parser, seed uint64, rates mischief) *vandal {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &vandal{addr: listener.Addr().String(), parse: parse, rng: rand.New(rand.NewPCG(seed, 7)), rates: rates}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		v.cut()
		running.Wait()
	})
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			v.mu.Lock()
			v.open = append(v.open, near, far)
			v.mu.Unlock()
			running.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
			running.Go(func() { v.spoil(near, far); _ = near.Close() })
		}
	})
	return v
}

// calm ends the mischief.
func (v *vandal) calm() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rates = mischief{}
}

// cut breaks all connections; new ones are taken.
func (v *vandal) cut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, conn := range v.open {
		_ = conn.Close()
	}
	v.open = nil
}

// spoil passes on what the server sends, message by message.
func (v *vandal) spoil(to io.Writer, from io.Reader) {
	reader := bufio.NewReader(from)
	var held []byte // to be overtaken by the next message of its topic
	var of string
	for {
		frame, m, err := v.parse(reader)
		if err != nil {
			return
		}
		var out []byte
		switch {
		case m.topic == "":
			out = frame
		case held != nil && m.topic == of:
			v.count(1)
			out, held = append(bytes.Clone(frame), held...), nil
		case held != nil:
			v.count(0)
			out = frame
		default:
			out, held = v.tamper(frame, m)
			of = m.topic
		}
		if _, err := to.Write(out); err != nil {
			return
		}
	}
}

func (v *vandal) count(released int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen++
	v.held -= released
}

func (v *vandal) tamper(frame []byte, m message) (out, held []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen++
	r, x := v.rates, v.rng.Float64()
	chance := func(p float64) bool { x -= p; return x < 0 }
	switch {
	case chance(r.drop):
		v.done.drop++
		out = nil
	case chance(r.dup):
		v.done.dup++
		out = append(bytes.Clone(frame), frame...)
	case chance(r.swap):
		v.done.swap++
		v.held++
		held = frame
	case chance(r.data):
		v.done.data++
		at := bytes.Index(frame[m.from:m.to], []byte("n=")) + 2
		frame[m.from+at+v.rng.IntN(16)] ^= 1 // a digit becomes another one
		out = frame
	case chance(r.anywhere):
		v.done.anywhere++
		at := m.from + v.rng.IntN(m.to-m.from)
		frame[at] = 'a' + byte((int(frame[at])+1+v.rng.IntN(20))%26)
		out = frame
	case chance(r.delay):
		v.done.delay++
		time.Sleep(vandalDelay)
		return frame, nil
	default:
		return frame, nil
	}
	return out, held
}

// natsFrame reads one frame of the NATS client protocol.
func natsFrame(r *bufio.Reader) (frame []byte, m message, err error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, m, err
	}
	words := bytes.Fields(line)
	if len(words) < 4 || !bytes.Equal(words[0], []byte("MSG")) && !bytes.Equal(words[0], []byte("HMSG")) {
		return line, m, nil
	}
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil {
		return nil, m, err
	}
	frame = append(line, make([]byte, size+2)...)
	if _, err := io.ReadFull(r, frame[len(line):]); err != nil {
		return nil, m, err
	}
	m = message{string(words[1]), len(line), len(line) + size}
	if words[0][0] == 'H' { // headers are left alone
		head, err := strconv.Atoi(string(words[len(words)-2]))
		if err != nil {
			return nil, m, err
		}
		m.from += head
	}
	return frame, m, nil
}

// redisFrame reads one reply of the Redis protocol. The body is that of a
// message of a subscription.
func redisFrame(r *bufio.Reader) (frame []byte, m message, err error) {
	var texts [][2]int
	frame, err = redisValue(r, nil, &texts)
	if err == nil && len(texts) == 3 && string(frame[texts[0][0]:texts[0][1]]) == "message" {
		m = message{string(frame[texts[1][0]:texts[1][1]]), texts[2][0], texts[2][1]}
	}
	return frame, m, err
}

func redisValue(r *bufio.Reader, frame []byte, texts *[][2]int) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return frame, err
	}
	frame = append(frame, line...)
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return frame, nil
		}
		start := len(frame)
		*texts = append(*texts, [2]int{start, start + n})
		frame = append(frame, make([]byte, n+2)...)
		_, err = io.ReadFull(r, frame[start:])
		return frame, err
	case '*', '>', '~':
	case '%', '|':
		n *= 2
	default:
		return frame, nil
	}
	for range n {
		if frame, err = redisValue(r, frame, texts); err != nil {
			return frame, fmt.Errorf("read an element: %w", err)
		}
	}
	return frame, nil
}
