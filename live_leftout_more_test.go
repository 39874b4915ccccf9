package caddyiis_test

import (
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// giver is the site that gives its address and port a certificate.
func (l *live) giver(tls string) string {
	return fmt.Sprintf(`{"name":"Giver","bindings":[{"protocol":"https","binding":"*:%d:giver.test","certificate":"wild.test"%s}]}`, l.secure, tls)
}

// clientAuthentication is the field of a binding that asks clients for certificates.
func clientAuthentication(t *testing.T) string {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t, "clients").cert.Raw}))
	return fmt.Sprintf(`,"tls":{"client_authentication":{"mode":"require_and_verify","ca":{"provider":"file","pem_files":[%q]}}}`, ca)
}

// TestLiveLeftOutAsksForCertificates: a site that requires client certificates is no reason
// to keep the one that gave it a certificate and authorities. Nobody can connect to its
// binding then, and it serves again with them.
func TestLiveLeftOutAsksForCertificates(t *testing.T) {
	tls := clientAuthentication(t)
	l := startLive(t, "", "")
	if err := l.Load(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.giver(tls))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test", `"require_client_certificate":true`))
	l.refused(422, "PUT", "sites/10", l.giver(""), "site 11")
	if status := l.ask("DELETE", "sites/10", "", nil); status != 200 && status != 204 {
		t.Fatalf("deleted with status %d", status)
	}
	l.gets503("b.test")
	if err := l.Restart(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.gets503("b.test")
	if got := l.leftOut(); !slices.Equal(got, []uint32{11}) {
		t.Errorf("findings about %v", got)
	}
	l.refused(422, "PUT", "sites/10", l.giver(""), "require_client_certificate")
	l.want(201, "PUT", "sites/10", l.giver(tls))
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "b.test"}); err == nil && answer.Status == 200 {
		t.Errorf("without a client certificate: %v", answer)
	}
	if got := l.leftOut(); len(got) != 0 {
		t.Errorf("findings about %v", got)
	}
}

// TestLiveGiverGoes: a row that has lent others what their demands need can be deleted
// where an endpoint gives their bindings a certificate. They are not served open, and what
// was deleted is not served on.
func TestLiveGiverGoes(t *testing.T) {
	tls := clientAuthentication(t)
	l := startLive(t, "", "")
	l.giverGoes(tls, func() {
		if status := l.ask("DELETE", "sites/10", "", nil); status != 200 && status != 204 {
			t.Fatalf("deleted with status %d", status)
		}
	})
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.gets("b.test", 503, "Service Unavailable", "wild.test", 11)
	l.want(201, "PUT", "sites/10", l.giver(tls))
	l.want(200, "PATCH", "sites/11", `{"name":"Other"}`) // it serves again
}

// giverGoes deletes the row that has lent another one what its demands need.
func (l *live) giverGoes(tls string, remove func()) {
	l.t.Helper()
	l.want(201, "PUT", "sites/10", l.giver(tls))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test", `"require_client_certificate":true`))
	remove()
	waitFor(l.t, "the deleted site is not served", func() bool { return l.ask("GET", "sites/10", "", new(adminapi.Site)) == 404 })
	waitFor(l.t, "the other one is held back", func() bool {
		var site adminapi.Site
		l.ask("GET", "sites/11", "", &site)
		return site.State == adminapi.StateHeldBack && strings.Contains(site.Reason, "require_client_certificate")
	})
	l.gets("b.test", 503, "Service Unavailable", "wild.test", 11)
}

// TestLiveLeftOutPartly: a load that gives some bindings their certificates back is taken,
// and one that takes others away is refused, and names them.
func TestLiveLeftOutPartly(t *testing.T) {
	other := ts.FreePort(t)
	l := startLive(t, "", fmt.Sprintf("site 2 Other {\nbinding https *:%d:other.test {\nsni\ncertificate other.test\n}\nrespond other\n}", other))
	second := fmt.Sprintf("\nendpoint *:%d {\ncertificate wild.test\n}\n", other)
	both := l.config(second)
	if err := l.Load(both); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"name":"A","server_bindings":[":%d:a.test"],"bindings":[{"protocol":"https","binding":"*:%d:a.test"},{"protocol":"https","binding":"*:%d:a.test"}]}`, l.plain, l.secure, other))
	if err := l.Restart(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.gets503("a.test")
	if err := l.Load(l.config("")); err != nil {
		t.Fatal("one of two is given back:", err)
	}
	l.serves("a.test", "default 10")
	refusedLoad(t, l.Server, "the other one instead", l.withoutEndpoint(), fmt.Sprintf("*:%d:a.test", l.secure))
	if err := l.Load(both); err != nil {
		t.Fatal(err)
	}
	refusedLoad(t, l.Server, "the second is taken", l.config(""), fmt.Sprintf("*:%d:a.test", other))
	if got := l.leftOut(); len(got) != 0 {
		t.Errorf("findings about %v", got)
	}
}

// TestLiveLeftOutStops: a site of which a binding is left out can be stopped, and a load may
// take the certificate of a site that is stopped.
func TestLiveLeftOutStops(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	if err := l.Restart(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "sites/10", `{"autostart":false}`)
	l.refused(422, "PATCH", "sites/10", `{"autostart":true}`, "no certificate")
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(l.withoutEndpoint()); err != nil {
		t.Error("the site is stopped:", err)
	}
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "sites/10", `{"autostart":true}`)
	l.serves("a.test", "default 10")
}

// TestLiveLeftOutConnections: a connection that a handler has taken over ends with the
// certificate of its binding, while that over its other one lives.
func TestLiveLeftOutConnections(t *testing.T) {
	l := startLive(t, "", "")
	proxied := func(config string) string {
		return strings.Replace(config, `respond "default {iis.site.id}"`, "reverse_proxy "+backend(t), 1)
	}
	if err := l.Load(proxied(l.withoutEndpoint())); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.giver(""))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	conn, err := ts.DialTLS(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "b.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	webSocket := upgrade(t, conn, "b.test", "websocket")
	plain := upgradePlain(t, l.plain, "b.test")
	l.ask("DELETE", "sites/10", "", nil)
	webSocket.ends(t, "its binding has no certificate any more")
	plain.echo(t, "the other binding serves")
	var sources adminapi.Page[adminapi.Source]
	if l.ask("GET", "sources", "", &sources); sources.Items[0].HeldBack != 1 {
		t.Errorf("got %+v", sources.Items)
	}
}
