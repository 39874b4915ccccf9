package world

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/testport"
)

// listener is an upstream that takes connections.
func listener(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func codes(findings []adminapi.Finding) []string {
	var list []string
	for _, f := range findings {
		list = append(list, f.Code+": "+f.Message)
	}
	return list
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	up, unix := listener(t, "tcp", "127.0.0.1:0").Addr().String(), filepath.Join(dir, "s")
	listener(t, "unix", unix)
	down := fmt.Sprintf("127.0.0.1:%d", testport.Free(t))
	missing := filepath.Join(dir, "missing")
	raw := fmt.Sprintf(`{
		"sites": {
			"10": {"name": "Ten", "routes": [{"handle": [{"handler": "vars", "root": %[1]q}, {"handler": "file_server"}]}]},
			"2": {"routes": [{"handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "file_server", "root": %[1]q}]}]}]},
				{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %[2]q}, {"dial": %[3]q}, {"dial": %[4]q}]}]}]},
			"3": {"routes": [{"handle": [{"handler": "vars", "iis_upstream": %[3]q}, {"handler": "reverse_proxy", "upstreams": [{"dial": %[3]q}]}]}]},
			"4": {"routes": [{"handle": [{"handler": "vars", "root": %[5]q}, {"handler": "file_server", "root": "{http.vars.folder}"}, {"handler": "file_server", "root": %[6]q}]}]}
		},
		"templates": {"php": {"routes": [{"handle": [{"handler": "vars", "root": "C:\\\\inetpub"}]}]}},
		"defaults": {"routes": [{"handle": [{"handler": "file_server", "root": "relative"}]}]}
	}`, missing, up, down, "unix/"+unix, dir, file)
	found, err := Find([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	parts := found.Parts()
	want := []string{
		CodeRootMissing + ": root " + missing + ` (site 2 and 1 more) does not exist: what is asked for there is not found`,
		CodeRootMissing + ": root " + file + ` (site 4) is no folder`,
		CodeRootForeign + `: root C:\\inetpub (template "php") is a path of Windows, and this is ` + runtime.GOOS,
		CodeUpstreamRefuses + ": upstream " + down + " (site 2 and 1 more) takes no connections: connection refused: visitors get status 502",
	}
	got := Look(t.Context(), parts, Options{})
	if runtime.GOOS != "windows" && !slices.Equal(codes(got), want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(codes(got), "\n"), strings.Join(want, "\n"))
	}
	for _, f := range got {
		if f.Severity != adminapi.SeverityWarning || f.Fix == "" {
			t.Errorf("%+v", f)
		}
	}
	if list := codes(Look(t.Context(), parts, Options{Relative: true})); !slices.Contains(list, CodeRootMissing+": root relative (defaults) does not exist: what is asked for there is not found") {
		t.Errorf("relative: %q", list)
	}
	if _, err := Find([]byte("[]")); err == nil {
		t.Error("a list is taken for an app")
	}
}

// nameServer answers from a list of names; it does not answer for others that begin
// with silent.
func nameServer(t *testing.T, names map[string]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			q := m.Questions[0]
			name := strings.TrimSuffix(q.Name.String(), ".")
			m.Response, m.Additionals = true, nil
			ip, known := names[name]
			switch {
			case strings.HasPrefix(name, "failing"):
				m.RCode = dnsmessage.RCodeServerFailure
			case !known:
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestDNS(t *testing.T) {
	resolver := nameServer(t, map[string]string{"here.example": "192.0.2.1", "balancer.example": "192.0.2.2", "elsewhere.example": "198.51.100.9"})
	var hosts Hosts
	for i, host := range []string{"here.example", "balancer.example", "elsewhere.example", "ELSEWHERE.example", "nobody.example", "failing.example", "*.example", "", "10.0.0.5", "[::1]"} {
		hosts.Add(uint32(i+1), fmt.Sprintf("site %d", i+1), host)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := hosts.DNS(ctx, resolver, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")})
	want := []string{
		CodeOtherAddress + ": elsewhere.example (site 3 and 1 more) has the address 198.51.100.9 in DNS, which is none of this machine's",
		CodeNoAddress + ": nobody.example (site 5) has no address in DNS: nobody can find it",
		CodeNotLooked + ": no name server has answered for 1 of 5 hosts, such as failing.example",
	}
	if !slices.Equal(codes(got), want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(codes(got), "\n"), strings.Join(want, "\n"))
	}
	own, err := Addresses()
	if err != nil || !slices.Contains(own, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("this machine's addresses: %v, %v", own, err)
	}
}

// TestVariables: what sites and rows have in the place of variables counts for each of them,
// and what depends on a request for nobody.
func TestVariables(t *testing.T) {
	found, err := Find([]byte(`{
		"sites": {
			"1": {"name": "One", "template": "files", "vars": {"root": "/one", "upstream": "127.0.0.1:1"}},
			"2": {"template": "files", "vars": {"root": "/two"}},
			"3": {"vars": {"root": "/three"}},
			"4": {"template": "gone"},
			"5": {},
			"6": {"routes": [{}]}
		},
		"templates": {"files": {"routes": [{"handle": [{"handler": "vars", "root": "{iis.vars.root}/{iis.site.id}"}, {"handler": "file_server", "root": "/all"},
			{"handler": "reverse_proxy", "upstreams": [{"dial": "{iis.vars.upstream}"}, {"dial": "{http.request.host}:80"}]}]}]}},
		"defaults": {"site_vars": {"root": {"default": "/default"}, "odd": null}, "routes": [{"handle": [{"handler": "vars", "root": "{iis.vars.root}"}]}]}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	rows := `{"id": 7, "name": "Row", "template": "files", "vars": {"root": "/row", "upstream": "127.0.0.1:1"}}
{"id": 8, "routes": [{"handle": [{"handler": "file_server", "root": "/own/{iis.site.name}"}]}], "name": "eight"}`
	if err := found.Rows(strings.NewReader(rows)); err != nil {
		t.Fatal(err)
	}
	if err := found.Rows(strings.NewReader(`[1]`)); err == nil {
		t.Error("a list is taken for a site")
	}
	var got []string
	for _, p := range slices.Concat(found.Parts().Roots, found.Parts().Upstreams) {
		got = append(got, p.Value+" of "+p.owners())
	}
	want := []string{
		`/one/1 of site 1 "One"`, "/two/2 of site 2", "/three of site 3", "/default of site 5", `/all of template "files"`, `/row/7 of site 7 "Row"`, `/own/eight of site 8 "eight"`,
		`127.0.0.1:1 of site 1 "One" and 1 more`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzIn(f *testing.F) {
	f.Add(`{"sites":{"1":{"routes":[{"handle":[{"handler":"vars","root":"/x"},{"handler":"reverse_proxy","upstreams":[{"dial":"a:1"}]}]}]}}}`)
	f.Add(`{"sites":{"x":null},"defaults":7,"templates":{"":[]}}`)
	f.Fuzz(func(t *testing.T, raw string) {
		found, err := Find([]byte(raw))
		if err != nil {
			return
		}
		parts := found.Parts()
		for _, p := range slices.Concat(parts.Roots, parts.Upstreams) {
			if p.Value == "" || p.Owner == "" || p.More < 0 {
				t.Errorf("%q: %+v, %v", raw, p, err)
			}
		}
	})
}

// TestAbsent: a machine has its interfaces' addresses, and all of 127.0.0.0/8, and not
// those for documentation.
func TestAbsent(t *testing.T) {
	own, err := Addresses()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}
	absent, here := Absent(slices.Concat(own, elsewhere))
	if !slices.Equal(absent, elsewhere) || !slices.Equal(here, own) {
		t.Errorf("absent %v, here %v; want %v, %v", absent, here, elsewhere, own)
	}
	if runtime.GOOS == "linux" {
		if absent, _ := Absent([]netip.Addr{netip.MustParseAddr("127.1.2.3")}); len(absent) > 0 {
			t.Errorf("%v is not here", absent)
		}
	}
}
