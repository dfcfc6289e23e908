package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// sentinels are a master with one replica, and a Sentinel that watches them.
type sentinels struct {
	master, replica, sentinel *server
}

func startSentinel(t *testing.T) *sentinels {
	t.Helper()
	s := &sentinels{master: startServer(t)}
	s.replica = startServer(t, "--replicaof", "127.0.0.1", fmt.Sprint(s.master.port), "--repl-diskless-sync-delay", "0")
	replica := s.replica.client()
	eventually(t, "the replica follows", func() bool {
		info, err := replica.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	port := freePort(t)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %d 1\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n", port, s.master.port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.sentinel = &server{t: t, port: port, args: []string{config, "--sentinel"}}
	s.sentinel.start()
	t.Cleanup(s.sentinel.kill)
	sentinel := s.sentinel.client()
	eventually(t, "the Sentinel knows the replica", func() bool {
		info, err := sentinel.Info(t.Context(), "sentinel").Result()
		return err == nil && strings.Contains(info, "slaves=1")
	})
	return s
}

func (s *sentinels) at() Server {
	return Server{URL: proxy.NewSecret("redis://" + s.sentinel.address() + "/0"), Sentinel: &Sentinel{Master: "main"}}
}

func startCluster(t *testing.T) Server { return clusterOf(startMasters(t)) }

func clusterOf(masters []*server) Server {
	return Server{URL: proxy.NewSecret("redis://" + masters[0].address()), Addresses: []string{masters[1].address()}, Sharded: true}
}

// startMasters starts a Redis Cluster of three masters.
func startMasters(t *testing.T) []*server {
	t.Helper()
	var nodes []*server
	for range 3 {
		nodes = append(nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(freePort(t)), "--cluster-node-timeout", "2000"))
	}
	const slots = 16384
	for i, n := range nodes {
		c := n.client()
		for _, args := range [][]any{
			{"CLUSTER", "ADDSLOTSRANGE", i * slots / 3, (i+1)*slots/3 - 1},
			{"CLUSTER", "SET-CONFIG-EPOCH", i + 1},
			{"CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].args[len(nodes[0].args)-3]},
		} {
			if err := c.Do(t.Context(), args...).Err(); err != nil {
				t.Fatalf("%v: %v", args, err)
			}
		}
	}
	for _, n := range nodes {
		c := n.client()
		eventually(t, "the cluster is whole", func() bool {
			info, err := c.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return nodes
}

// authority is a certificate authority that nobody else knows.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, newKey(t)
	der := a.sign(template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue writes a certificate and its key.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	k := newKey(a.t)
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, k)
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", raw)
}

func (a *authority) serverArgs(t *testing.T) []string {
	t.Helper()
	cert, key := a.issue("server")
	return []string{"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", filepath.Join(a.dir, "ca.pem"), "--tls-auth-clients", "yes"}
}

// startTLSServer starts a server that takes TLS only.
func startTLSServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freePort(t), dir: t.TempDir()}
	s.args = append([]string{"--port", "0", "--tls-port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--save", "", "--dir", s.dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (a *authority) at(s *server) Server {
	a.t.Helper()
	cert, key := a.issue("client")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return Server{
		URL: proxy.NewSecret("rediss://offramp:secret@" + s.address()),
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
}

// documentedUser is the line of the user that the documentation describes.
func documentedUser(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\nuser offramp ")
	line, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatal("docs/operations.md does not say what the user of Redis needs")
	}
	return "user offramp " + strings.ReplaceAll(strings.ReplaceAll(line, "\\\n", ""), "PASSWORD", "secret")
}

// What a script does in a rare case only has to be allowed as well.
func TestScriptsDoNothingThatTheUserMayNot(t *testing.T) {
	rights := strings.Fields(documentedUser(t))
	files, err := filepath.Glob("scripts/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	command := regexp.MustCompile(`redis\.call\('([A-Z]+)'`)
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range command.FindAllStringSubmatch(string(script), -1) {
			if !slices.Contains(rights, "+"+strings.ToLower(found[1])) {
				t.Errorf("%s calls %s, which docs/operations.md does not allow", file, found[1])
			}
		}
	}
}

// aclFile has that user, and no other.
func aclFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(path, []byte("user default off\n"+documentedUser(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Who does not know the authority, or has no certificate, does not get in.
func TestTLSIsChecked(t *testing.T) {
	ca := newAuthority(t)
	s := ca.at(startTLSServer(t, ca.serverArgs(t)...))
	s.URL = proxy.NewSecret(strings.Replace(s.URL.Reveal(), "offramp:secret@", "", 1))
	anonymous, stranger := s, s
	anonymous.TLS = &tls.Config{RootCAs: s.TLS.RootCAs, MinVersion: tls.VersionTLS12}
	stranger.TLS = nil
	for name, tc := range map[string]struct {
		at   Server
		want bool
	}{
		"with both":             {s, true},
		"without a certificate": {anonymous, false},
		"without the authority": {stranger, false},
	} {
		c, err := newClient(tc.at)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = c.identity(ctx)
		cancel()
		if (err == nil) != tc.want {
			t.Errorf("%s: %v; want that it works: %t", name, err, tc.want)
		}
		_ = c.Close()
	}
}
