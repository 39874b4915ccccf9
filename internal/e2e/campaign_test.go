package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var (
	campaignHandshakes = flag.Int("campaign.handshakes", 2000, "handshakes of the mixed campaign")
	campaignLoads      = flag.Int("campaign.every", 60, "handshakes between two loads of a configuration in the mixed campaign")
	campaignSeed       = flag.Uint64("campaign.seed", 0, "seed of the campaigns, 0: another one each time")
	campaignTime       = flag.Duration("campaign.time", 0, "when a campaign ends though it has not made all its handshakes, 0: never")
)

const (
	campaignWorkers = 6
	maxFailures     = 12
)

// campaign runs clients against configurations that change, and compares all that
// they get with the oracle.
type campaign struct {
	t        *testing.T
	server   *ts.Server
	universe *universe
	people   people
	jar      jar
	seed     uint64

	mu     sync.Mutex
	worlds []*world

	begun, done atomic.Int64 // worlds whose load has begun, and is over
	handshakes  atomic.Int64
	deadline    time.Time

	counts sync.Map // of *atomic.Int64 by what is counted
	failed atomic.Int64
}

func (c *campaign) count(what string) {
	n, _ := c.counts.LoadOrStore(what, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (c *campaign) counted(what string) int64 {
	if n, ok := c.counts.Load(what); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

// failure reports what the oracle does not allow.
func (c *campaign) failure(from, to int64, format string, args ...any) {
	if c.failed.Add(1) > maxFailures {
		return
	}
	message := fmt.Sprintf(format, args...)
	if c.failed.Load() <= 3 {
		message += "\nCONFIG\n" + c.universe.caddyfile(c.between(to, to)[0])
	}
	c.t.Errorf("seed %d, worlds %d to %d: %s", c.seed, from, to, message)
}

// between returns the worlds from one to another.
func (c *campaign) between(from, to int64) []*world {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.worlds[from : to+1]
}

// over reports whether enough is done.
func (c *campaign) over() bool {
	return c.failed.Load() >= maxFailures || c.handshakes.Load() >= int64(*campaignHandshakes) ||
		!c.deadline.IsZero() && time.Now().After(c.deadline)
}

func (c *campaign) load(w *world) {
	c.mu.Lock()
	c.worlds = append(c.worlds, w)
	c.mu.Unlock()
	config := c.universe.caddyfile(w)
	c.begun.Store(int64(w.seq))
	if err := c.server.Load(config); err != nil {
		c.t.Errorf("seed %d, world %d is refused: %v\n%s", c.seed, w.seq, err, config)
		c.failed.Add(maxFailures)
	}
	c.done.Store(int64(w.seq))
	ts.Logs.Reset()
}

// TestCampaign is the mixed run: names of all kinds at several addresses and ports, by
// all protocols, with sessions that are offered everywhere, while certificates, sites
// and client authentication move. Each handshake and request gets what tables D1 and
// D2 say, and no session leaves its place.
func TestCampaign(t *testing.T) {
	seed := *campaignSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	c := &campaign{t: t, seed: seed}
	c.universe, c.people = newUniverse(t)
	if *campaignTime > 0 {
		c.deadline = time.Now().Add(*campaignTime)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	first := c.universe.newWorld(rng, 0)
	c.worlds = append(c.worlds, first)
	start := time.Now()
	c.server = ts.Start(t, c.universe.caddyfile(first))
	var workers sync.WaitGroup
	for i := range campaignWorkers {
		workers.Go(func() { c.work(rand.New(rand.NewPCG(seed, uint64(i)+1))) })
	}
	for seq := 1; !c.over(); seq++ {
		for next := int64(seq * *campaignLoads); c.handshakes.Load() < next && !c.over(); {
			time.Sleep(time.Millisecond)
		}
		c.load(c.universe.newWorld(rng, seq))
	}
	workers.Wait()
	c.report(time.Since(start))
}

// report logs the figures, and fails if something that was to be tried never was.
func (c *campaign) report(took time.Duration) {
	var kinds, missed []string
	for _, kind := range nameKinds {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind.what, c.counted("name: "+kind.what)))
		if c.counted("name: "+kind.what) == 0 {
			missed = append(missed, kind.what)
		}
	}
	c.t.Logf("seed %d: %d handshakes over %d loads in %s", c.seed, c.handshakes.Load(), c.done.Load(), took.Round(time.Millisecond))
	for _, what := range []string{
		"full", "resumed", "refused", "not resumed elsewhere", "alert", "client refused", "no HTTP/3", "h1", "h2", "h3", "TLS 1.2", "TLS 1.3", "certificate on the wire",
		"200", "400", "403", "404", "421", "503", "plain", "on a kept connection", "while loading",
	} {
		c.t.Logf("%s: %d", what, c.counted(what))
		if c.counted(what) == 0 && (what != "403" || c.handshakes.Load() >= 20000) { // it is rare
			missed = append(missed, what)
		}
	}
	c.t.Logf("names of %d kinds: %s", len(nameKinds), strings.Join(kinds, ", "))
	if len(missed) > 0 && c.handshakes.Load() >= 2000 {
		c.t.Errorf("never seen: %s", strings.Join(missed, ", "))
	}
}

// work is one client's life.
func (c *campaign) work(rng *rand.Rand) {
	var kept []*live
	defer func() {
		for _, conn := range kept {
			conn.close()
		}
	}()
	for !c.over() {
		if chance(rng, 12) {
			c.plain(rng)
		}
		if len(kept) > 0 && chance(rng, 4) {
			i := rng.IntN(len(kept))
			conn := kept[i]
			c.count("on a kept connection")
			if len(kept) > 3 || chance(rng, 4) || !c.request(rng, conn) {
				c.leave(rng, conn)
				kept = append(kept[:i], kept[i+1:]...)
			}
			continue
		}
		conn := c.handshake(rng)
		if conn == nil {
			continue
		}
		alive := true
		for range 1 + rng.IntN(3) {
			if alive = alive && c.request(rng, conn); !alive {
				break
			}
		}
		if alive && chance(rng, 15) {
			kept = append(kept, conn)
			continue
		}
		c.leave(rng, conn)
	}
}

// leave closes a connection and keeps its sessions, unless the configuration changed
// meanwhile such that it is not known what they are for.
func (c *campaign) leave(rng *rand.Rand, conn *live) {
	conn.close()
	first := conn.possible[0]
	for _, p := range conn.possible {
		if p.key != first.key || p.client != first.client {
			return
		}
	}
	for _, state := range conn.session.takeAll() {
		c.jar.add(rng, &ticket{state: state, from: conn.offer, key: first.key, tls13: conn.tls13, client: first.client})
	}
}

// live is a connection that stands, with the ways in which it can have come about.
type live struct {
	*connected
	possible []outcome
	used     bool
}

// outcome is what a handshake comes to in one configuration.
type outcome struct {
	world  *world
	result string // served, client, refused, no HTTP/3, alert
	made
	cert    string
	key     endpointKey
	resumed bool
}

// expect asks the oracle for the outcome of a handshake.
func (w *world) expect(o *offer) (out outcome) {
	out = outcome{world: w, result: "refused"}
	rec, cert := w.certificate(o.hello)
	switch {
	case strings.HasSuffix(o.name, "."):
		out.result = "alert" // crypto/tls takes no such name
		return out
	case rec == nil:
		return out
	case o.http == 3 && (rec.set.noQUIC || rec.set.only12):
		out.result = "no HTTP/3"
		return out
	}
	out.cert, out.key = cert, endpointKey{rec.ip, rec.port, rec.set, cert, lower(o.name)}
	out.made = made{hello: o.hello, http: o.http, tls13: o.tls13, set: rec.set}
	if o.http == 2 && rec.set.noHTTP2 && o.fallback {
		out.http = 1
	}
	out.resumed = o.ticket != nil && o.ticket.key == out.key
	// QUIC is TLS 1.3 whatever is off over TCP.
	if o.http != 3 && !rec.set.has(out.made) {
		out.result = "alert"
		return out
	}
	out.result = "served"
	switch {
	case out.resumed:
		out.client = o.ticket.client
	case o.wire == "" && !rec.set.satisfied(o.client):
		out.result = "client"
	case rec.set.auth != "":
		out.client = o.client
	}
	return out
}

// newOffer makes up a client.
func (c *campaign) newOffer(rng *rand.Rand) *offer {
	if t := c.jar.any(rng); t != nil && chance(rng, 4) { // somebody comes again
		again := *t.from
		again.ticket = t
		return &again
	}
	now := c.done.Load()
	at := &target{local: netip.AddrPortFrom(pick(rng, loopbacks), pick(rng, c.universe.https)), now: c.between(now, now)[0]}
	at.before = c.between(max(0, now-1), now)[0]
	kind := pick(rng, nameKinds)
	c.count("name: " + kind.what)
	o := &offer{hello: hello{local: at.local, name: kind.make(rng, at)}, http: 1 + rng.IntN(2), tls13: !chance(rng, 3), client: pick(rng, []string{"", "", "own", "other"})}
	if chance(rng, 5) {
		o.http, o.tls13 = 3, true
	}
	o.fallback = o.http == 2 && chance(rng, 2)
	if kind.onWire {
		o.wire, o.http, o.tls13, o.fallback = o.name, 1, false, false
		return o
	}
	if !chance(rng, 5) {
		o.ticket = c.jar.take(rng, o)
	}
	return o
}

// handshake makes one and judges it. It returns the connection if it stands.
func (c *campaign) handshake(rng *rand.Rand) *live {
	o := c.newOffer(rng)
	from := c.done.Load()
	conn, err := c.people.connect(o)
	to := c.begun.Load()
	c.handshakes.Add(1)
	if to > from {
		c.count("while loading")
	}
	var possible, all []outcome
	for _, w := range c.between(from, to) {
		out := w.expect(o)
		all = append(all, out)
		if conn != nil && out.allows(conn, err) {
			possible = append(possible, out)
		}
	}
	if len(possible) == 0 {
		got := "failed"
		if err == nil {
			got = fmt.Sprintf("certificate %s, resumed %v", conn.cert, conn.resumed)
			if conn.close != nil {
				conn.close()
			}
		}
		c.failure(from, to, "%s: %s, %v; want %s", o, got, err, describe(all))
		return nil
	}
	c.tally(o, conn, possible[0], err)
	if err != nil || o.wire != "" {
		return nil
	}
	return &live{connected: conn, possible: possible}
}

func (c *campaign) tally(o *offer, conn *connected, out outcome, err error) {
	c.count([]string{"h1", "h2", "h3"}[o.http-1])
	if o.tls13 {
		c.count("TLS 1.3")
	} else {
		c.count("TLS 1.2")
	}
	switch {
	case o.wire != "" && err == nil:
		c.count("certificate on the wire")
	case err != nil:
		c.count(map[string]string{"client": "client refused"}[out.result])
		c.count(out.result)
	case conn.resumed:
		c.count("resumed")
	default:
		c.count("full")
		if o.ticket != nil {
			c.count("not resumed elsewhere")
		}
	}
}

func describe(all []outcome) string {
	var texts []string
	for _, out := range all {
		texts = append(texts, fmt.Sprintf("%s with %q of %+v, resumed %v", out.result, out.cert, out.key, out.resumed))
	}
	return strings.Join(texts, ", or ")
}

// allows reports whether a handshake ended as the outcome says.
func (out *outcome) allows(conn *connected, err error) bool {
	same := err == nil && conn.cert == out.cert && conn.resumed == out.resumed && (conn.wire != "" || conn.protocol == out.http)
	switch out.result {
	case "served":
		return same
	case "client": // with TLS 1.3 the client hears of it later
		return err != nil && alerted(err) || same && out.tls13
	case "refused":
		return err != nil && refusedHandshake(conn.offer, err)
	case "no HTTP/3":
		alert, ok := quicAlert(err)
		return ok && alert == noApplicationProtocol
	}
	return err != nil && alerted(err)
}

// host makes up the Host of a request.
func (c *campaign) host(rng *rand.Rand, conn *live) string {
	now := c.done.Load()
	at := &target{local: conn.local, now: c.between(now, now)[0]}
	at.before = c.between(max(0, now-1), now)[0]
	for {
		host := conn.name
		switch rng.IntN(5) {
		case 0:
			host = pick(rng, nameKinds).make(rng, at)
		case 1:
			host = at.exact(rng)
		case 2:
			host = "child." + at.below(rng)
		}
		if chance(rng, 8) {
			host += ":8443"
		}
		// Not all of them are sent by Go's client of HTTP/2 and HTTP/3.
		if conn.protocol == 1 || host != "" && strings.Trim(lower(host), "abcdefghijklmnopqrstuvwxyz0123456789._-:") == "" && !strings.Contains(host, "::") {
			return host
		}
	}
}

// request makes one and judges it. It reports whether the connection still stands.
func (c *campaign) request(rng *rand.Rand, conn *live) bool {
	host := c.host(rng, conn)
	from := c.done.Load()
	ctx, cancel := context.WithTimeout(context.Background(), campaignPatience)
	defer cancel()
	status, body, closed, err := conn.send(ctx, host)
	to := c.begun.Load()
	var still []outcome
	var wants []string
	for _, out := range conn.possible {
		if out.result == "client" {
			// Its alert may be lost: what the client writes meets a closed connection.
			if err != nil && !conn.used {
				c.count("client refused")
				return false
			}
			continue
		}
		ok := false
		for _, w := range c.between(from, to) {
			wantStatus, site := w.answer(out.made, host)
			wants = append(wants, fmt.Sprintf("%d of site %d (made under %+v)", wantStatus, site, out.made))
			if err == nil && status == wantStatus && (status != 200 || body == fmt.Sprintf("site %d of world %d", site, w.seq)) {
				ok = true
			}
		}
		if ok {
			still = append(still, out)
		}
	}
	conn.used = true
	if len(still) == 0 {
		c.failure(from, to, "%s: a request for %q by HTTP/%d: %d %.80q, %v; want %s", conn.offer, host, conn.protocol, status, body, err, strings.Join(wants, " or "))
		return false
	}
	conn.possible = still
	c.count(fmt.Sprint(status))
	return !closed
}

// plain makes a request over http.
func (c *campaign) plain(rng *rand.Rand) {
	now := c.done.Load()
	at := &target{local: netip.AddrPortFrom(pick(rng, loopbacks), c.universe.http), now: c.between(now, now)[0], before: c.between(now, now)[0]}
	host := pick(rng, nameKinds).make(rng, at)
	from := c.done.Load()
	answer, err := ts.Raw(at.local.String(), "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	to := c.begun.Load()
	var wants []string
	for _, w := range c.between(from, to) {
		status, site := w.answer(made{hello: hello{local: at.local}, http: 1}, host)
		want := fmt.Sprintf("site %d of world %d", site, w.seq)
		if status != 200 {
			want = ""
		}
		wants = append(wants, fmt.Sprintf("%d %s", status, want))
		if err == nil && strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) && strings.HasSuffix(answer, want) {
			c.count("plain")
			c.count(fmt.Sprint(status))
			return
		}
	}
	c.failure(from, to, "%s over http, host %q: %.300q, %v; want %s", at.local, host, answer, err, strings.Join(wants, " or "))
}

// newUniverse makes what all configurations of a campaign share.
func newUniverse(t *testing.T) (*universe, people) {
	u := &universe{certs: make(map[string][2]string), trust: make(map[string]string), store: t.TempDir(), http: uint16(ts.FreePort(t))}
	for range 3 {
		u.https = append(u.https, uint16(ts.FreePort(t)))
	}
	for i := range 8 {
		name := fmt.Sprintf("cert-%d", i)
		certFile, keyFile := ts.PEM(t, name, "*.contoso.test", "*.fabrikam.test", "*.test")
		u.certs[name] = [2]string{certFile, keyFile}
	}
	for host, name := range storeFiles {
		certFile, keyFile := ts.PEM(t, name, host)
		var content []byte
		for _, file := range []string{certFile, keyFile} {
			part, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content = append(content, part...)
		}
		if err := os.WriteFile(filepath.Join(u.store, strings.Replace(host, "*", "_", 1)+".pem"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := make(people)
	for _, name := range []string{"own", "other"} {
		u.trust[name], p[name] = clientAuthority(t, name)
	}
	return u, p
}

// clientAuthority makes an authority and a client certificate of it.
func clientAuthority(t *testing.T, name string) (file string, client tls.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
		der, err := x509.CreateCertificate(crand.Reader, template, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, caKey := issue(ca, ca, nil)
	file = filepath.Join(t.TempDir(), name+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf, key := issue(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client of " + name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	return file, tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}
