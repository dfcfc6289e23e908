package configs

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/proxy"
)

// What must hold between settings, once each has been read.

// config reads a whole document into cfg.
func (r *reader) config(cfg *Config, root *yaml.Node) {
	r.places[""] = place{root.Line, root.Column}
	var drafts []*appDraft
	r.mapping("", root, r.root(cfg, &drafts))
	if !filepath.IsAbs(cfg.Data) {
		cfg.Data = r.resolve(cfg.Data)
	}
	if r.given("apps") && len(drafts) == 0 && len(r.problems) == 0 {
		r.problem("apps", "There are no apps", "Add one: apps: [{id: …, key: …, secret: …}]")
	}
	for _, d := range drafts {
		cfg.Apps = append(cfg.Apps, r.app(d))
	}
	r.listeners(cfg)
	r.tls(cfg.TLS)
	r.redis(cfg.Cluster.Redis)
	r.unique(drafts)
	for _, d := range drafts {
		r.exposed(cfg, d)
		r.loop(cfg, d)
	}
}

// listeners: two ports, and a token wherever strangers can reach admin.
func (r *reader) listeners(cfg *Config) {
	if overlap(cfg.Listen, cfg.Admin.Listen) {
		at := "admin.listen"
		if !r.given(at) {
			at = "listen"
		}
		r.problem(at, "listen and admin.listen are the same port, "+port(cfg.Listen), "Give each a port of its own")
	}
	if !Loopback(cfg.Admin.Listen) && cfg.Admin.Token.IsZero() && !r.given("admin.token") {
		r.problem("admin.token", "The admin listener "+cfg.Admin.Listen+" can be reached from other machines and has no token",
			"Add admin.token, such as {env: OFFRAMP_ADMIN_TOKEN}, or listen on 127.0.0.1")
	}
}

// overlap reports whether two listeners cannot both be opened.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func port(listen string) string {
	_, port, _ := net.SplitHostPort(listen)
	return port
}

// tls: files or ACME, and files that fit each other.
func (r *reader) tls(t *TLS) {
	if t == nil {
		return
	}
	cert, key, acme := r.given("tls.cert"), r.given("tls.key"), r.given("tls.acme")
	switch {
	case acme && (cert || key):
		r.problem("tls", "Both certificate files and ACME are given", "Keep cert and key, or acme")
	case acme:
		if t.ACME != nil && len(t.ACME.Domains) == 0 && r.given("tls.acme.domains") && !r.troubled("tls.acme.domains") {
			r.problem("tls.acme.domains", "There is no host name to order a certificate for", "Name at least one, such as ws.example.com")
		}
	case !cert && !key:
		r.problem("tls", "There is no certificate", "Add cert and key, or acme with domains and email")
	case !cert:
		r.problem("tls.cert", "There is a key without its certificate", "Add cert: the PEM file of the certificate and its chain")
	case !key:
		r.problem("tls.key", "There is a certificate without its key", "Add key: the PEM file of the private key")
	case t.Cert != "" && t.Key != "":
		r.keyPair(t)
	}
}

func (r *reader) keyPair(t *TLS) {
	for _, f := range [...]struct{ path, name string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}} {
		if _, err := readBounded(f.name, maxFileBytes); err != nil {
			r.problem(f.path, fileProblem(err)+" ("+clip(f.name)+")", "Give the path of a PEM file that this user can read")
			return
		}
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		r.problem("tls", "Certificate and key cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "), "Give a PEM certificate and the unencrypted PEM key that belongs to it")
	}
}

// unique: ids tell apps apart in the HTTP API, keys in the WebSocket URL.
func (r *reader) unique(drafts []*appDraft) {
	ids, keys := map[string]string{}, map[string]string{}
	for _, d := range drafts {
		r.first(ids, d.ID, d.path+".id", "app id")
		r.first(keys, d.key, d.path+".key", "key")
		for i, c := range d.moreKeys {
			r.first(keys, c.Key, fmt.Sprintf("%s.more_keys[%d].key", d.path, i), "key")
		}
	}
}

func (r *reader) first(seen map[string]string, value, path, what string) {
	if value == "" {
		return
	}
	if before, taken := seen[value]; taken {
		r.problem(path, "The "+what+" "+value+" is already used by "+before, "Give each its own")
		return
	}
	seen[value] = path
}

// exposed: credentials that everybody knows stay on this machine.
func (r *reader) exposed(cfg *Config, d *appDraft) {
	if Loopback(cfg.Listen) {
		return
	}
	const problem = "The development secret is public knowledge, and "
	const fix = "Use a secret of your own, such as {env: PUSHER_APP_SECRET}, or listen on 127.0.0.1"
	if d.secret.Reveal() == DevelopmentSecret {
		r.problem(d.path+".secret", problem+cfg.Listen+" can be reached from other machines", fix)
	}
	for i, c := range d.moreKeys {
		if c.Secret.Reveal() == DevelopmentSecret {
			r.problem(fmt.Sprintf("%s.more_keys[%d].secret", d.path, i), problem+cfg.Listen+" can be reached from other machines", fix)
		}
	}
}

// loop: an upstream that is this gateway would relay to itself for ever.
func (r *reader) loop(cfg *Config, d *appDraft) {
	if d.Upstream == nil {
		return
	}
	for _, a := range [...]struct{ key, url string }{{"websocket", d.Upstream.WebSocket}, {"api", d.Upstream.API}} {
		if u, err := url.Parse(a.url); err == nil && u.Host != "" && u.Host == cfg.Listen {
			r.problem(d.path+".upstream."+a.key, "The upstream is this gateway itself", "Give the address of the service that is being left")
		}
	}
}

// app finishes one app from its draft.
func (r *reader) app(d *appDraft) *proxy.App {
	d.Credentials = append([]proxy.Credential{{Key: d.key, Secret: d.secret}}, d.moreKeys...)
	r.upstream(d)
	r.share(d.path, d.Stage, false)
	if d.Stage == proxy.StageCanary && r.given(d.path+".percent") {
		d.Rules = append(d.Rules, proxy.Rule{Channels: "*", Stage: proxy.StageCanary, Percent: d.percent, By: d.by})
	}
	names := map[string]string{}
	for i, b := range d.Backends {
		r.first(names, b.Name, fmt.Sprintf("%s.backends[%d].name", d.path, i), "backend name")
	}
	r.ignoreRules(d)
	app := d.App
	return &app
}

// ignoreRules: the file is there. What is in it is read for each report.
func (r *reader) ignoreRules(d *appDraft) {
	if d.IgnoreRules == "" {
		return
	}
	if info, err := os.Stat(d.IgnoreRules); err != nil || info.IsDir() {
		problem := "This is a directory"
		if err != nil {
			problem = fileProblem(err)
		}
		r.problem(d.path+".ignore_rules", problem+" ("+clip(d.IgnoreRules)+")", "Give the path of a file of ignore rules, relative to this file")
	}
}

// upstream: a cluster's name or both addresses, and one of them wherever a
// stage needs the vendor.
func (r *reader) upstream(d *appDraft) {
	path := d.path + ".upstream"
	if d.Upstream != nil {
		cluster, ws, api := r.given(path+".cluster"), r.given(path+".websocket"), r.given(path+".api")
		const fix = "Give cluster alone, or websocket and api together"
		switch {
		case cluster && (ws || api):
			r.problem(path, "Both a cluster and addresses are given", fix)
		case !cluster && !ws && !api:
			r.problem(path, "There is no address to reach the upstream at", fix)
		case !cluster && !ws:
			r.problem(path+".websocket", "This setting is missing", fix)
		case !cluster && !api:
			r.problem(path+".api", "This setting is missing", fix)
		case d.cluster != "":
			at := vendorCluster(d.cluster)
			d.Upstream.WebSocket, d.Upstream.API = at.WebSocket, at.API
		}
		return
	}
	if r.given(path) {
		return // it was a problem already
	}
	if d.Stage != proxy.StageExited {
		r.problem(d.path+".stage", "The stage "+d.Stage.String()+" needs the service that is being left", "Add upstream, or set stage: exited")
	}
	for i, rule := range d.Rules {
		if rule.Stage != proxy.StageExited && rule.Stage != 0 {
			r.problem(fmt.Sprintf("%s.rules[%d].stage", d.path, i), "The stage "+rule.Stage.String()+" needs the service that is being left", "Add upstream to the app, or set stage: exited")
		}
	}
}

// rule: a share is taken in the canary stage and in no other.
func (r *reader) rule(path string, rule *proxy.Rule) { r.share(path, rule.Stage, true) }

func (r *reader) share(path string, stage proxy.Stage, needed bool) {
	if stage == proxy.StageCanary {
		if needed && !r.given(path+".percent") {
			r.problem(path+".percent", "A canary rule needs the share that it moves", "Add percent: 0 to 100")
		}
		return
	}
	for _, key := range [...]string{".percent", ".by"} {
		if r.given(path + key) {
			r.problem(path+key, "A share is taken in the canary stage only", "Remove it, or set stage: canary")
		}
	}
}

// webhook: no receiver inside the cloud's metadata service by accident.
func (r *reader) webhook(path string, w *proxy.Webhook) {
	u, err := url.Parse(w.URL)
	if err != nil || w.AllowPrivate {
		return
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLinkLocalUnicast() {
		r.problem(path+".url", "The receiver is a link-local address, where clouds keep credentials", "Use another address, or set allow_private: true")
	}
}

// backend: a plugin that is there.
func (r *reader) backend(path string, b *proxy.Backend) {
	if len(b.Channels) == 0 && r.given(path+".channels") && !r.troubled(path+".channels") {
		r.problem(path+".channels", "The list is empty: the backend would receive nothing", `Write ["*"] for every channel`)
	}
	switch {
	case b.Plugin == "":
	case strings.ContainsAny(b.Plugin, `/\`):
		b.Plugin = r.resolve(b.Plugin)
		r.executable(path+".plugin", b.Plugin)
	case len(r.plugins) > 0 && !slices.Contains(r.plugins, b.Plugin):
		fix := "Use one of " + strings.Join(r.plugins, ", ") + ", or a path such as ./" + clip(b.Plugin)
		if near := nearest(b.Plugin, r.plugins); near != "" {
			fix = "Did you mean " + near + "?"
		}
		r.problem(path+".plugin", "There is no built-in plugin "+clip(b.Plugin), fix)
	}
}

func (r *reader) executable(path, name string) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		r.problem(path, fileProblem(err)+" ("+clip(name)+")", "Give the path of the plugin's executable, relative to this file")
	case info.IsDir() || info.Mode()&0o111 == 0:
		r.problem(path, "The file cannot be executed ("+clip(name)+")", "Build the plugin, or make it executable with chmod +x")
	}
}

// troubled reports whether a setting, or something in it, is a problem already.
func (r *reader) troubled(path string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return strings.HasPrefix(p.Path, path) })
}
