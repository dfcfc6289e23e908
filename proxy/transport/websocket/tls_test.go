package websocket_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy/fanout"
)

// Over TLS every write goes by way of the queue, in the same order.
func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	g := startWith(t, "", &tls.Config{Certificates: certified.TLS.Certificates})
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	t.Cleanup(func() { secure.Close() })
	secure.SetDeadline(time.Now().Add(patience))
	p := &peer{t: t, Conn: secure, in: bufio.NewReader(secure)}
	p.write([]byte(upgradeRequest("/app/tls-only?protocol=7"))) // T016: over TLS it is served
	p.readResponse()
	p.wantFrame(text(greeting))
	for i := range 200 {
		g.outlets()[0].Send(fanout.One(bytes.Repeat([]byte{byte('a' + i%26)}, i*10)), 0)
		if i%10 == 0 {
			p.write(control(opPing, "").masked())
		}
	}
	pongs := 0
	for i := 0; i < 200; {
		f, err := p.readFrame()
		switch {
		case err != nil:
			t.Fatal(err)
		case f.opcode == opPong:
			pongs++
		case len(f.payload) != i*10 || i > 0 && f.payload[0] != byte('a'+i%26):
			t.Fatalf("got %v, want frame %d", f, i)
		default:
			i++
		}
	}
	p.write(text("close 4200").masked())
	for pongs < 20 {
		p.wantFrame(control(opPong, ""))
		pongs++
	}
	p.wantClose(4200)
	g.wantEnded(t, 4200)
}
