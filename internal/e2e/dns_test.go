package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func init() {
	caddy.RegisterModule(Provider{})
}

// records holds the TXT records of all zones, by name with trailing dot.
var records = struct {
	sync.Mutex
	txt map[string][]string
}{txt: make(map[string][]string)}

// startDNS answers every question for an address with 127.0.0.1, for TXT
// records with those of Provider, and says that contoso.test is a zone.
func startDNS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ts.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{
		{Listener: ln, Handler: dns.HandlerFunc(answerDNS)},
		{PacketConn: pc, Handler: dns.HandlerFunc(answerDNS)},
	} {
		go func() { _ = server.ActivateAndServe() }()
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return ln.Addr().String()
}

func answerDNS(w dns.ResponseWriter, q *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(q)
	add := func(record string) {
		if rr, err := dns.NewRR(record); err == nil {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	for _, question := range q.Question {
		name := strings.ToLower(question.Name)
		switch question.Qtype {
		case dns.TypeA:
			add(name + " 1 IN A 127.0.0.1")
		case dns.TypeSOA:
			if name == "contoso.test." {
				add(name + " 1 IN SOA ns.contoso.test. hostmaster.contoso.test. 1 1 1 1 1")
			}
		case dns.TypeTXT:
			records.Lock()
			for _, text := range records.txt[name] {
				add(name + ` 1 IN TXT "` + text + `"`)
			}
			records.Unlock()
		}
	}
	_ = w.WriteMsg(answer)
}

// Provider is a stand-in for a DNS provider module of Caddy.
type Provider struct {
	Token string `json:"token,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "dns.providers.e2e", New: func() caddy.Module { return new(Provider) }}
}

// UnmarshalCaddyfile parses the token.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&p.Token) {
		return d.ArgErr()
	}
	return nil
}

// AppendRecords implements libdns.RecordAppender.
func (p *Provider) AppendRecords(_ context.Context, zone string, add []libdns.Record) ([]libdns.Record, error) {
	records.Lock()
	defer records.Unlock()
	for _, record := range add {
		rr := record.RR()
		name := strings.ToLower(libdns.AbsoluteName(rr.Name, zone))
		records.txt[name] = append(records.txt[name], rr.Data)
	}
	return add, nil
}

// DeleteRecords implements libdns.RecordDeleter.
func (p *Provider) DeleteRecords(_ context.Context, zone string, remove []libdns.Record) ([]libdns.Record, error) {
	records.Lock()
	defer records.Unlock()
	for _, record := range remove {
		delete(records.txt, strings.ToLower(libdns.AbsoluteName(record.RR().Name, zone)))
	}
	return remove, nil
}
