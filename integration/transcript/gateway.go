package transcript

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Gateway is a target that is reached over the network.
type Gateway struct {
	Addr string // host:port of clients and the HTTP API
	// More has the addresses of further nodes: connections and requests go to
	// one after the other. Barrier returns once what one node has told by then
	// has reached all of them.
	More               []string
	Barrier            func()
	AppID, Key, Secret string
	Change             func(func(*proxy.App) error) error // changes the app's settings; nil: it cannot be changed
	Drainer            func() error                       // nil: it cannot be drained

	mu      sync.Mutex
	clients []*gatewayClient
	turn    int // counts connections and requests
}

// next returns the address of the node whose turn it is.
func (g *Gateway) next() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn++
	if i := g.turn % (1 + len(g.More)); i > 0 {
		return g.More[i-1]
	}
	return g.Addr
}

var _ Target = (*Gateway)(nil)

// patience is how long the network may take.
const patience = 5 * time.Second

// Configure implements Target.
func (g *Gateway) Configure(settings string) error {
	if g.Change == nil {
		return errors.New("the app of this target cannot be changed")
	}
	return g.Change(func(app *proxy.App) error { return configureAll(app, settings) })
}

// Connect implements Target.
func (g *Gateway) Connect(query string) (Client, error) {
	if query == "" {
		query = "protocol=7&client=js&version=8.6.0&flash=false"
	}
	path := "/app/" + g.Key
	if strings.HasPrefix(query, "/") { // another path altogether
		path, query, _ = strings.Cut(query, "?")
	}
	ws, answer, err := websocket.DefaultDialer.Dial("ws://"+g.next()+path+"?"+query, nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	c := newGatewayClient(ws)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients = append(g.clients, c)
	return c, nil
}

// Publish implements Target.
func (g *Gateway) Publish(channels []string, event, data, except string) error {
	body := map[string]any{"name": event, "data": data, "channels": channels}
	if except != "" {
		body["socket_id"] = except
	}
	return g.post("events", body)
}

// Terminate implements Target.
func (g *Gateway) Terminate(userID string) error {
	return g.post("users/"+userID+"/terminate_connections", map[string]any{})
}

func (g *Gateway) post(path string, body map[string]any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	status, answer, err := g.Request("POST", "/apps/"+g.AppID+"/"+path, string(text))
	if err == nil && (status != http.StatusOK || answer != "{}") {
		err = fmt.Errorf("POST %s: %d %s", path, status, answer)
	}
	return err
}

// Request implements Target.
func (g *Gateway) Request(method, pathAndQuery, body string) (status int, answer string, err error) {
	path, query, _ := strings.Cut(pathAndQuery, "?")
	signed := []string{"auth_key=" + g.Key, "auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10), "auth_version=1.0"}
	if body != "" {
		signed = append(signed, "body_md5="+protocol.BodyMD5([]byte(body)))
	}
	if query != "" {
		signed = append(signed, query)
	}
	query = strings.Join(signed, "&")
	signature := protocol.Sign(g.Secret, protocol.RequestString(method, path, protocol.ParseQuery(query)))
	request, err := http.NewRequest(method, "http://"+g.next()+path+"?"+query+"&auth_signature="+signature, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), errors.Join(err, response.Body.Close())
}

// Drain implements Target.
func (g *Gateway) Drain() error {
	if g.Drainer == nil {
		return errors.New("this target cannot be drained")
	}
	return g.Drainer()
}

// Settle implements Target. Over a network nobody can know that nothing is on
// its way. It takes for settled that every client has had a control ping
// answered, behind all that was sent before it, and nothing else has come.
func (g *Gateway) Settle() {
	g.mu.Lock()
	clients := slices.Clone(g.clients)
	g.mu.Unlock()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before := received(clients)
		for _, c := range clients {
			c.roundTrip()
		}
		if g.Barrier != nil {
			g.Barrier()
			for _, c := range clients {
				c.roundTrip()
			}
		}
		time.Sleep(time.Millisecond)
		if received(clients) == before {
			return
		}
	}
}

func received(clients []*gatewayClient) (frames int) {
	for _, c := range clients {
		c.mu.Lock()
		frames += c.received
		c.mu.Unlock()
	}
	return frames
}

// Sleep implements Target.
func (g *Gateway) Sleep(d time.Duration) { time.Sleep(d) }

// Credential implements Target.
func (g *Gateway) Credential() (key, secret string) { return g.Key, g.Secret }

// Close ends all connections.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		_ = c.ws.Close()
		<-c.ended
	}
}

// gatewayClient is a WebSocket connection.
type gatewayClient struct {
	ws      *websocket.Conn
	pongs   chan struct{} // a ping was answered
	arrived chan struct{} // something has come; capacity 1
	ended   chan struct{} // closed when reading has ended

	mu       sync.Mutex
	frames   []string
	received int
	code     int
	reason   string
}

func newGatewayClient(ws *websocket.Conn) *gatewayClient {
	c := &gatewayClient{ws: ws, pongs: make(chan struct{}, 1), arrived: make(chan struct{}, 1), ended: make(chan struct{})}
	ws.SetPongHandler(func(string) error {
		select {
		case c.pongs <- struct{}{}:
		default:
		}
		return nil
	})
	go c.read()
	return c
}

func (c *gatewayClient) read() {
	defer close(c.ended)
	for {
		_, frame, err := c.ws.ReadMessage()
		c.mu.Lock()
		var closing *websocket.CloseError
		switch {
		case err == nil:
			c.frames = append(c.frames, string(frame))
			c.received++
		case errors.As(err, &closing):
			c.code, c.reason = closing.Code, closing.Text
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case c.arrived <- struct{}{}:
		default:
		}
	}
}

// roundTrip waits until a ping has been answered.
func (c *gatewayClient) roundTrip() {
	select {
	case <-c.pongs: // of an earlier one
	default:
	}
	if c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)) != nil {
		return
	}
	select {
	case <-c.pongs:
	case <-c.ended:
	case <-time.After(patience):
	}
}

// Send implements Client.
func (c *gatewayClient) Send(frame string) error {
	return c.ws.WriteMessage(websocket.TextMessage, []byte(frame))
}

// Next implements Client.
func (c *gatewayClient) Next(wait bool) (frame string, ok bool) {
	for deadline := time.After(patience); ; {
		c.mu.Lock()
		if len(c.frames) > 0 {
			frame, c.frames = c.frames[0], c.frames[1:]
			c.mu.Unlock()
			return frame, true
		}
		c.mu.Unlock()
		if !wait {
			return "", false
		}
		select {
		case <-c.arrived:
		case <-c.ended:
			wait = false // but for what came with the end
		case <-deadline:
			return "", false
		}
	}
}

// Closed implements Client.
func (c *gatewayClient) Closed() (code int, reason string, closed bool) {
	select {
	case <-c.ended:
	case <-time.After(patience):
		return 0, "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason, true
}

// Close implements Client. It returns when the server has completed the
// closing handshake and has had a moment to let go of the connection.
func (c *gatewayClient) Close() error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := c.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(patience)); err != nil {
		return err
	}
	select {
	case <-c.ended:
		time.Sleep(20 * time.Millisecond)
		return nil
	case <-time.After(patience):
		return errors.New("the closing handshake was not completed")
	}
}
