package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// attackers is how many times each attack is made.
var attackers = flag.Int("campaign.attacks", 60, "how many times each attack is made")

// fortress has sites that attackers are after: one that anybody may see, one that
// asks for client certificates, one that demands them, and one that redirects.
type fortress struct {
	http, https uint16
	people      people
}

const (
	openSite, optionalSite, demandSite, strictSite = "open.wild.test", "optional.wild.test", "demand.wild.test", "strict.wild.test"
	plainSite, redirSite                           = "plain.test", "redir.test"
)

func startFortress(t *testing.T) *fortress {
	t.Helper()
	f := &fortress{http: uint16(ts.FreePort(t)), https: uint16(ts.FreePort(t)), people: make(people)}
	own, ownClient := clientAuthority(t, "own")
	_, f.people["other"] = clientAuthority(t, "other")
	f.people["own"] = ownClient
	certFile, keyFile := ts.PEM(t, "wild", "*.wild.test", redirSite)
	var b strings.Builder
	fmt.Fprintf(&b, "{\niis {\nservers {\nlistener_wrappers {\nhttp_redirect\ntls\nproxy_protocol\n}\ntimeouts {\nread_body_idle 1s\n}\n}\nsni_unmatched reject\ncertificate wild %q %q\n", certFile, keyFile)
	asks := func(mode string) string {
		return fmt.Sprintf("client_auth {\nmode %s\ntrust_pool file %q\n}\n", mode, own)
	}
	for i, s := range []struct{ host, tls, words string }{
		{openSite, "", ""},
		{optionalSite, asks("verify_if_given"), ""},
		{demandSite, asks("verify_if_given"), "require_client_certificate"},
		{strictSite, asks("require_and_verify"), ""},
		{"nohttp2.wild.test", "disable_http2\n", ""},
	} {
		fmt.Fprintf(&b, "site %d {\nbinding https *:%d:%s {\nsni\ncertificate wild\n%s}\n%s\nrespond %q\n}\n", i+1, f.https, s.host, s.tls, s.words, "content of "+s.host)
	}
	fmt.Fprintf(&b, "site 8 {\nbinding http *:%[1]d:%[3]s\nrespond plain\n}\nsite 9 {\nbinding http *:%[1]d:%[4]s\nbinding https *:%[2]d:%[4]s {\nsni\ncertificate wild\n}\nrequire_ssl redirect\nrespond secure\n}\n}\n}\n", f.http, f.https, plainSite, redirSite)
	ts.Start(t, b.String())
	return f
}

func (f *fortress) at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// each makes an attack many times, some at once.
func each(n int, attack func(rng *rand.Rand, i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, 16) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for i := range next {
				attack(rng, i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// TestCampaignOfAttacks makes the attacks that were found to work once. None does.
func TestCampaignOfAttacks(t *testing.T) {
	f := startFortress(t)
	t.Run("slow bodies", f.slowBodies)
	t.Run("challenges", f.challenges)
	t.Run("HTTP/2 without ALPN", f.prefaces)
	t.Run("request targets", f.targets)
	t.Run("connections for others", f.connectionsForOthers)
}

// slowBodies: a client that sends a byte of its body now and then, to a host that is
// there, is not there or is none, is cut off.
func (f *fortress) slowBodies(t *testing.T) {
	hosts := []string{plainSite, "unknown.test", "unknown.test.", "a..b", "*.test", redirSite}
	var wg sync.WaitGroup
	for i := range *attackers {
		wg.Go(func() {
			host := hosts[i%len(hosts)]
			conn, err := ts.Dial(f.at(f.http).String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 200000\r\n\r\n", host); err != nil {
				t.Error(err)
				return
			}
			ended := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				close(ended)
			}()
			// Below read_body_idle, which each byte begins anew, and above it.
			tick := time.NewTicker([]time.Duration{200 * time.Millisecond, 3 * time.Second}[i/len(hosts)%2])
			defer tick.Stop()
			limit := time.NewTimer(25 * time.Second)
			defer limit.Stop()
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
					_, _ = conn.Write([]byte("x"))
				case <-limit.C:
					t.Errorf("host %q: the connection is still open", host)
					return
				}
			}
		})
	}
	wg.Wait()
}

// challenges: a handshake of TLS-ALPN-01 resumes nothing and carries no request.
func (f *fortress) challenges(t *testing.T) {
	names := []string{openSite, optionalSite, demandSite, "unknown.test", ""}
	each(*attackers, func(rng *rand.Rand, i int) {
		o := &offer{hello: hello{f.at(f.https), openSite}, http: 1, tls13: i%2 == 0}
		first, err := f.people.connect(o)
		if err != nil {
			t.Errorf("the open site: %v", err)
			return
		}
		status, body, _, err := first.send(t.Context(), openSite)
		first.close()
		if status != 200 || body != "content of "+openSite || err != nil {
			t.Errorf("the open site: %d %q, %v", status, body, err)
			return
		}
		came := first.session.takeAll()
		if len(came) == 0 {
			t.Errorf("no session came, TLS 1.3 %v", o.tls13)
			return
		}
		config := f.people.config(o, &session{offered: &ticket{state: came[0]}})
		config.ServerName, config.NextProtos = names[i%len(names)], []string{"acme-tls/1"}
		ctx, cancel := context.WithTimeout(t.Context(), campaignPatience)
		defer cancel()
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", o.local.String())
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(campaignPatience))
		host := pick(rng, []string{openSite, demandSite, redirSite})
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		answer, _ := io.ReadAll(conn)
		if resumed := conn.(*tls.Conn).ConnectionState().DidResume; resumed || strings.Contains(string(answer), "content of") || strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("a challenge for %q is served: resumed %v, %q", config.ServerName, resumed, answer)
		}
	})
}

// prefaces: behind a wrapper, the preface of HTTP/2 on a connection without ALPN gets
// nothing where disable_http2 is.
func (f *fortress) prefaces(t *testing.T) {
	ask := func(host string) string {
		conn, err := ts.DialTLS(ts.Request{Addr: f.at(f.https).String(), SNI: host, TLS: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{}}})
		if err != nil {
			t.Error(err)
			return ""
		}
		defer conn.Close()
		field := func(name, value string) string { // a literal of HPACK, not indexed
			return "\x00" + string([]byte{byte(len(name))}) + name + string([]byte{byte(len(value))}) + value
		}
		headers := field(":method", "GET") + field(":scheme", "https") + field(":path", "/") + field(":authority", host)
		if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
			string([]byte{0, 0, byte(len(headers)), 1, 5, 0, 0, 0, 1})+headers); err != nil {
			return ""
		}
		_ = conn.SetReadDeadline(time.Now().Add(campaignPatience))
		var answer []byte
		buffer := make([]byte, 4096)
		// The page of 421 or the content of the site, else the end of the connection.
		for !strings.Contains(string(answer), "content of") && !strings.Contains(string(answer), "</html>") {
			n, err := conn.Read(buffer)
			answer = append(answer, buffer[:n]...)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the preface of HTTP/2 has no answer", host)
			}
			if err != nil {
				break
			}
		}
		return string(answer)
	}
	if answer := ask(openSite); !strings.Contains(answer, "content of "+openSite) {
		t.Errorf("the open site: %q", answer)
	}
	each(*attackers, func(_ *rand.Rand, i int) {
		if answer := ask("nohttp2.wild.test"); strings.Contains(answer, "content of") {
			t.Errorf("%d: the preface of HTTP/2 gets %q", i, answer)
		}
	})
}

// targets: no redirect leads to a host that the client has not asked for, whatever the
// request target is.
func (f *fortress) targets(t *testing.T) {
	schemes := []string{"", "x:", "http:", "https:", "http://", "HTTP://", "ftp://", "//", "http:///", "javascript:"}
	users := []string{"", "@", "user@", "user:pass@", "%40", redirSite + "@"}
	hosts := []string{"evil.test", redirSite, redirSite + ".evil.test", "evil.test:80", "[::1]", "", "evil.test\\@" + redirSite}
	paths := []string{"", "/", "/a", "//evil.test", "/\\evil.test", "?@evil.test", "#@evil.test", "/%2f/evil.test"}
	each(*attackers*10, func(rng *rand.Rand, _ int) {
		target := pick(rng, schemes) + pick(rng, users) + pick(rng, hosts) + pick(rng, paths)
		method := pick(rng, []string{"GET", "POST", "OPTIONS", "CONNECT"})
		answer, err := ts.Raw(f.at(f.http).String(), method+" "+target+" HTTP/1.1\r\nHost: "+redirSite+"\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Errorf("%s %s: %v", method, target, err)
			return
		}
		for line := range strings.Lines(answer) {
			location, ok := strings.CutPrefix(strings.TrimSpace(line), "Location: ")
			if !ok {
				continue
			}
			rest, ok := strings.CutPrefix(location, "https://"+net.JoinHostPort(redirSite, strconv.Itoa(int(f.https))))
			if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' {
				t.Errorf("%s %s is redirected to %q", method, target, location)
			}
		}
		if !strings.HasPrefix(answer, "HTTP/1.1 3") && !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s %s: %.100q", method, target, answer)
		}
	})
}

// connectionsForOthers: a connection that was made for one site, by whatever protocol,
// session and certificate, does not get what another one protects.
func (f *fortress) connectionsForOthers(t *testing.T) {
	var sessions jar
	sites := []string{openSite, optionalSite, demandSite, strictSite}
	each(*attackers*4, func(rng *rand.Rand, _ int) {
		o := &offer{hello: hello{f.at(f.https), pick(rng, sites)}, http: 1 + rng.IntN(3), client: pick(rng, []string{"", "own", "other"}), tls13: true}
		o.tls13 = o.http == 3 || chance(rng, 2)
		o.ticket = sessions.take(rng, o)
		conn, err := f.people.connect(o)
		if err != nil {
			if o.client != "other" && (o.client != "" || o.name != strictSite) {
				t.Errorf("%s: %v", o, err)
			}
			return
		}
		// Who the client is to this server.
		client := ""
		switch {
		case conn.resumed:
			client = o.ticket.client
		case o.name != openSite:
			client = o.client
		}
		for range 4 {
			host := pick(rng, sites)
			ctx, cancel := context.WithTimeout(t.Context(), campaignPatience)
			status, body, closed, err := conn.send(ctx, host)
			cancel()
			got := err == nil && status == 200 && body == "content of "+host
			allowed := host == openSite || client == "own" || host == optionalSite && client == "" && o.name != openSite
			// Their own site and the open one are for all whom the handshake has let in.
			if got && !allowed || !got && allowed && err == nil && host == o.name {
				t.Errorf("%s, resumed %v as %q: a request for %s gets %d %.60q, %v", o, conn.resumed, client, host, status, body, err)
			}
			if err != nil || closed {
				break
			}
		}
		conn.close()
		for _, state := range conn.session.takeAll() {
			sessions.add(rng, &ticket{state: state, from: o, key: endpointKey{port: f.https, name: o.name}, tls13: o.tls13, client: client})
		}
	})
}
