package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// PeersSettings are what Peers are made of.
type PeersSettings struct {
	// Name is what people call this node.
	Name string
	// Answer answers the questions of other nodes. One is answered at a time;
	// an error is told to the node that asks. Nil: none can be answered.
	Answer func(ctx context.Context, question string) ([]byte, error)
	// Noticed is called with each notice of another node's, and must not wait.
	// Nil: they are of no interest.
	Noticed func(text string)
	Log     zerolog.Logger
}

// Peers pass notices to all nodes, and ask all of them questions. A notice may
// be lost: it is a hint to look at what is known to be elsewhere. An answer
// that is not there is reported as missing.
type Peers struct {
	settings PeersSettings
	client   client
	keys     keys
	ledger   *Ledger

	questions chan question // full: the question is dropped, and asked again
}

// Peers returns the node's way to talk to the others. Run has to run.
func (b *Backend) Peers(s PeersSettings) *Peers {
	return &Peers{
		settings: s, client: b.client, keys: b.Ledger.keys, ledger: b.Ledger, questions: make(chan question, 8),
	}
}

// Answer is what one node says to a question.
type Answer struct {
	Node string // what people call it
	Body []byte
	Err  error // why there is no body
}

// ErrNoAnswer is the Err of an Answer of a node that lives and says nothing:
// it is cut off, paused, or of a version that knows no questions.
var ErrNoAnswer = errors.New("redis: no answer")

// Bounds of what nodes say to each other.
const (
	maxNotice   = 1 << 10
	answerChunk = 256 << 10
	maxChunks   = 256 // 64 MiB
	answerKept  = time.Minute
	askAgain    = time.Second
	askLook     = 20 * time.Millisecond
	nameEvery   = 10 * time.Second
	maxNodes    = 1024
)

// question is one of another node's.
type question struct{ id, text string }

// The first byte of what is published says what it is.
const (
	aNotice   = "n"
	aQuestion = "q"
)

// Run hears the other nodes and answers them until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { p.answer(ctx) })
	listening := p.client.listen(ctx, p.keys.notices())
	defer func() { _ = listening.Close() }()
	heard := listening.Channel()
	naming := time.NewTicker(nameEvery)
	defer naming.Stop()
	p.introduce(ctx)
	var last []string // questions that are being answered
	for {
		select {
		case m := <-heard:
			last = p.hear(m.Payload, last)
		case <-naming.C:
			p.introduce(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// hear takes what another node has published.
func (p *Peers) hear(text string, last []string) []string {
	if len(text) == 0 || len(text) > maxNotice {
		return last
	}
	kind, text := text[:1], text[1:]
	from, text, _ := strings.Cut(text, " ")
	switch {
	case from == p.node():
	case kind == aNotice && p.settings.Noticed != nil:
		p.settings.Noticed(text)
	case kind == aQuestion:
		id, text, _ := strings.Cut(text, " ")
		if len(id) > 64 || slices.Contains(last, id) {
			return last
		}
		select {
		case p.questions <- question{id, text}:
			last = append(last, id)
			last = last[max(len(last)-cap(p.questions), 0):]
		default:
		}
	}
	return last
}

func (p *Peers) node() string { return strconv.FormatUint(p.ledger.settings.Node, 16) }

// introduce tells the others what this node is called.
func (p *Peers) introduce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Without a name it is called by its number; it is told again anyway.
	_ = p.client.HSet(ctx, p.keys.names(), p.node(), p.settings.Name).Err()
}

// Notify tells all other nodes something short. That nobody has heard is no
// error.
func (p *Peers) Notify(ctx context.Context, text string) error {
	return p.say(ctx, aNotice+p.node()+" "+text)
}

func (p *Peers) say(ctx context.Context, text string) error {
	if len(text) > maxNotice {
		return fmt.Errorf("redis: a notice has %d bytes, %d are allowed", len(text), maxNotice)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := p.client.tell(ctx, p.keys.notices(), text); err != nil {
		return fmt.Errorf("redis: tell the other nodes: %w", err)
	}
	return nil
}

// Ask asks every other node that lives, and returns an answer of each, by
// name: those that have given none within patience have ErrNoAnswer. An error
// says that nobody knows who is there.
func (p *Peers) Ask(ctx context.Context, text string, patience time.Duration) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+3*timeout)
	defer cancel()
	others, err := p.others(ctx)
	if err != nil || len(others) == 0 {
		return nil, err
	}
	id := p.node() + "." + strconv.FormatInt(time.Now().UnixNano(), 16)
	answers := make([]Answer, 0, len(others))
	for began, asked := time.Now(), (time.Time{}); len(others) > 0 && time.Since(began) < patience; {
		if time.Since(asked) > askAgain {
			if err := p.say(ctx, aQuestion+p.node()+" "+id+" "+text); err != nil {
				return nil, err
			}
			asked = time.Now()
		}
		for node, name := range others {
			answer, there, err := p.collect(ctx, id, node)
			if err != nil {
				return nil, err
			}
			if there {
				answer.Node = name
				answers = append(answers, answer)
				delete(others, node)
			}
		}
		if len(others) > 0 {
			select {
			case <-time.After(askLook):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	for _, name := range others {
		answers = append(answers, Answer{Node: name, Err: ErrNoAnswer})
	}
	slices.SortFunc(answers, func(a, b Answer) int { return strings.Compare(a.Node, b.Node) })
	return answers, nil
}

// others returns the other nodes that have a lease, and their names.
func (p *Peers) others(ctx context.Context) (map[string]string, error) {
	if err := p.ledger.Healthy(); err != nil {
		return nil, fmt.Errorf("find the other nodes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now, err := p.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("redis: find the other nodes: %w", err)
	}
	leases, err := p.client.ZRangeByScore(ctx, p.keys.leases(), &redis.ZRangeBy{
		Min: strconv.FormatInt(now.UnixMilli(), 10), Max: "+inf", Count: maxNodes,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("redis: find the other nodes: %w", err)
	}
	others := make(map[string]string)
	for _, lease := range leases {
		if node, _, _ := strings.Cut(lease, "."); node != p.node() {
			others[node] = "node " + node
		}
	}
	for node := range others {
		name, err := p.client.HGet(ctx, p.keys.names(), node).Result()
		switch {
		case err == nil:
			others[node] = name[:min(len(name), maxNotice)]
		case !errors.Is(err, redis.Nil):
			return nil, fmt.Errorf("redis: find the names of the other nodes: %w", err)
		}
	}
	return others, nil
}

// answer answers questions until ctx ends.
func (p *Peers) answer(ctx context.Context) {
	for {
		select {
		case q := <-p.questions:
			if err := p.reply(ctx, q); err != nil && ctx.Err() == nil {
				p.settings.Log.Warn().Err(err).Msg("another node has no answer from this one")
			}
		case <-ctx.Done():
			return
		}
	}
}

// An answer lies in chunks; the one with number 0 is written last and says
// how many there are, or why there is none.
const (
	aBody    = "+"
	aRefusal = "-"
)

// reply puts the answer to a question where its asker looks for it.
func (p *Peers) reply(ctx context.Context, q question) error {
	body, err := []byte(nil), errors.New("this node answers no questions")
	if p.settings.Answer != nil {
		body, err = p.settings.Answer(ctx, q.text)
	}
	if err == nil && len(body) > maxChunks*answerChunk {
		err = fmt.Errorf("the answer has %d bytes, %d are allowed", len(body), maxChunks*answerChunk)
	}
	head := ""
	if err != nil {
		head = aRefusal + err.Error()
		head = head[:min(len(head), maxNotice)]
	} else {
		n := 0
		for chunk := range slices.Chunk(body, answerChunk) {
			n++
			if err := p.put(ctx, q.id, n, chunk); err != nil {
				return err
			}
		}
		head = aBody + strconv.Itoa(n)
	}
	return p.put(ctx, q.id, 0, []byte(head))
}

func (p *Peers) put(ctx context.Context, id string, number int, chunk []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := p.client.Set(ctx, p.keys.answer(id, p.node(), number), chunk, answerKept).Err(); err != nil {
		return fmt.Errorf("redis: answer another node: %w", err)
	}
	return nil
}

// collect returns a node's answer if it is there.
func (p *Peers) collect(ctx context.Context, id, node string) (a Answer, there bool, err error) {
	head, err := p.get(ctx, id, node, 0)
	switch {
	case errors.Is(err, redis.Nil):
		return a, false, nil
	case err != nil:
		return a, false, err
	case len(head) > maxNotice:
		return Answer{Err: errors.New("redis: an answer that is none")}, true, nil
	}
	text, is := strings.CutPrefix(string(head), aBody)
	if !is {
		return Answer{Err: errors.New(strings.TrimPrefix(text, aRefusal))}, true, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxChunks {
		return Answer{Err: errors.New("redis: an answer that is none")}, true, nil
	}
	for i := 1; i <= n; i++ {
		chunk, err := p.get(ctx, id, node, i)
		if err != nil {
			return a, false, err
		}
		if len(chunk) > answerChunk {
			return Answer{Err: errors.New("redis: an answer that is too long")}, true, nil
		}
		a.Body = append(a.Body, chunk...)
	}
	return a, true, nil
}

func (p *Peers) get(ctx context.Context, id, node string, number int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	chunk, err := p.client.Get(ctx, p.keys.answer(id, node, number)).Bytes()
	if err != nil {
		return nil, fmt.Errorf("redis: read another node's answer: %w", err)
	}
	return chunk, nil
}

// listen subscribes to a pub/sub channel of the gateway's own.
func (c client) listen(ctx context.Context, channel string) *redis.PubSub {
	if c.cluster == nil {
		return c.Subscribe(ctx, channel)
	}
	return c.SSubscribe(ctx, channel)
}

// tell publishes on such a channel.
func (c client) tell(ctx context.Context, channel, text string) error {
	if c.cluster == nil {
		return c.Publish(ctx, channel, text).Err()
	}
	return c.SPublish(ctx, channel, text).Err()
}

// notices is the pub/sub channel on which nodes talk to each other.
func (k keys) notices() string { return k.prefix + "{nodes}notices" }

// names is the hash of what nodes are called.
func (k keys) names() string { return k.prefix + "{nodes}names" }

// answer is the key of a part of a node's answer to a question.
func (k keys) answer(id, node string, number int) string {
	return k.prefix + "{" + id + "}answer:" + node + ":" + strconv.Itoa(number)
}
