package binding

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzParse: whatever is accepted is in canonical form, and both texts of it are
// read as the same binding again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		":80:", "*:443:www.example.com", "10.0.0.5:443:*.example.com", "[::1]:443:host", "[::]:80:", "[fe80::1%eth0]:80:",
		"[::ffff:10.0.0.5]:80:", "0.0.0.0:80:", ":443", "[2001:db8::1]:443", "*:80:B\u00fccher.example", ":8080:*", "::", ":", "1.1.1.1.1:80:a", "*:161902:a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, info string) {
		for _, p := range []Protocol{HTTP, HTTPS} {
			b, err := Parse(p.String(), info)
			if err != nil {
				if b != (Binding{}) {
					t.Fatalf("Parse(%q) returns %v beside the error", info, b)
				}
				continue
			}
			switch {
			case b.Protocol != p || b.Port == 0:
				t.Fatalf("Parse(%q) = %+v", info, b)
			case b.IP.Is4In6() || b.IP == netip.IPv4Unspecified():
				t.Fatalf("Parse(%q): address %v is not in canonical form", info, b.IP)
			case b.Host != "" && checkHost(b.Host) != "":
				t.Fatalf("Parse(%q): host %q %s", info, b.Host, checkHost(b.Host))
			}
			for _, text := range []string{b.String(), b.SecureString()} {
				again, err := Parse(p.String(), text)
				if err != nil || again != b {
					t.Fatalf("Parse(%q) = %+v, which writes %q, which reads %+v, %v", info, b, text, again, err)
				}
			}
			if _, _, err := Compile([]Site{{ID: 1, Stopped: true, Bindings: []SiteBinding{{Binding: b}}}}, nil, Options{}); err != nil {
				t.Fatalf("Parse(%q) = %+v, which does not compile: %v", info, b, err)
			}
		}
	})
}

// FuzzHost: a valid host is in canonical form, and reading it again changes
// nothing.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"", "www.example.com", "WWW.Example.COM:8080", "127.0.0.1:443", "[::1]:80", "[::ABC]", "[::1", "a.", "a..b", ":80", "a:", "a@b", "a b", "xn--c1yn36f", "my_host", "*",
	} {
		f.Add(seed)
	}
	tables, _, err := Compile([]Site{site(1, "http *:80:"), site(2, "http *:80:www.example.com"), site(3, "http *:80:*.example.com")}, nil, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		h, ok := Host(header)
		m := tables.Site(local("10.0.0.1:80"), HTTP, h)
		if !ok {
			if h != (HostName{}) || m.Site != nil || m.Rule != D2_0 {
				t.Fatalf("Host(%q) = %q, not ok, but %v answers", header, h, m.Rule)
			}
			return
		}
		name := h.String()
		if name != strings.ToLower(name) || len(name) > len(header) || strings.ContainsAny(name, " /\\@*%\x00\t\r\n") || strings.HasSuffix(name, ".") {
			t.Fatalf("Host(%q) = %q", header, name)
		}
		again, ok := Host(name)
		if !ok || again != h {
			t.Fatalf("Host(%q) = %q, which reads as %q, %v", header, h, again, ok)
		}
		want := D2_7
		switch {
		case name == "www.example.com":
			want = D2_3
		case strings.HasSuffix(name, ".example.com") && strings.Count(name, ".") == 2:
			want = D2_5
		}
		if m.Rule != want {
			t.Fatalf("Host(%q) is answered by %v, want %v", header, m.Rule, want)
		}
	})
}
