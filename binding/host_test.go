package binding

import (
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for _, tc := range []struct {
		header, want string
		ip           bool
	}{
		{"", "", false},
		{"www.contoso.com", "www.contoso.com", false},
		{"WWW.Contoso.COM:8080", "www.contoso.com", false},
		{"localhost", "localhost", false},
		{"localHost:80", "localhost", false},
		{"f.eXample.com:443", "f.example.com", false},
		{"xn--c1yn36f:443", "xn--c1yn36f", false},
		{"my_host.example", "my_host.example", false},
		{"-a.b-", "-a.b-", false},
		{"12345", "12345", false},
		{"1.2.3.4a", "1.2.3.4a", false},
		{"example.com:", "example.com", false},
		{"example.com:00080", "example.com", false},
		{"example.com:65535", "example.com", false},
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1:443", "127.0.0.1", true},
		{"[::1]", "[::1]", true},
		{"[::1]:80", "[::1]", true},
		{"[::ABC]", "[::abc]", true},
		{"[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", true},
		{strings.Repeat("a", 63) + ".example", strings.Repeat("a", 63) + ".example", false},
		{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a", false},
	} {
		got, ok := Host(tc.header)
		if !ok || !got.IsValid() || got.String() != tc.want || got.IsIP() != tc.ip {
			t.Errorf("Host(%q) = %q (IP %v), %v; want %q (IP %v)", tc.header, got, got.IsIP(), ok, tc.want, tc.ip)
		}
	}
}

func TestHostInvalid(t *testing.T) {
	for _, header := range []string{
		"www.foo.com.", ".", "a..b", ".example.com", ".example.com:443", ".com:443",
		"http://www.contoso.com/x", "contoso.com/", "user@contoso.com", " ", "foo bar", " contoso.com", "contoso.com ",
		"a\x00b", "a\tb", "a\nb", "a\x7fb", "*", "*.contoso.com", "a*b", "bücher.example", "点看", "\xff",
		";", ";:80", ":80", ":", "a,b", "a;b", "a%20b", `a\b`, "a'b", `a"b`, "a#b", "a?b", "a+b", "a~b",
		"a:b", "a:80:80", "a:-1", "a:+80", "a:65536", "a:0", "a:99999999999999999999999", "a: 80",
		"::1", "[::1", "[::1:80", "::1]", "[]", "[::1]a", "[::1]:a", "[::1]:65536", "[127.0.0.1]", "[::1%eth0]", "[localhost]", "[v1.a]",
		"10.0.0.1.", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		got, ok := Host(header)
		if ok || got.IsValid() || got != (HostName{}) {
			t.Errorf("Host(%q) = %q, %v; want it to be invalid", header, got, ok)
		}
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"WWW.Example.com":      "www.example.com",
		" www.example.com ":    "www.example.com",
		"*.Example.com":        "*.example.com",
		"*.com":                "*.com",
		"Bücher.Example":       "xn--bcher-kva.example",
		"*.BÜCHER.example":     "*.xn--bcher-kva.example",
		"straße.example":       "xn--strae-oqa.example",
		"點看":                   "xn--c1yn36f",
		"XN--C1YN36F":          "xn--c1yn36f",
		"under_score.ex-ample": "under_score.ex-ample",
		"_dmarc.bücher.de":     "_dmarc.xn--bcher-kva.de",
		"a\u3002example":       "a.example",
	} {
		got, err := ParseHost(in)
		if err != nil || got != want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "*", "*.", "a.*", "a b", "a:80", "1.2.3.4", "[::1]", "a/b", "a.", "ab\u200d.example"} {
		if got, err := ParseHost(in); err == nil {
			t.Errorf("ParseHost(%q) = %q, want an error", in, got)
		}
	}
}

func TestCaseInsensitive(t *testing.T) {
	// Upper case matters nowhere: the same eight rows that win-acme compares.
	for _, pair := range [][2]string{
		{"example.com", "example.com"},
		{"EXAMPLE.COM", "example.com"},
		{"example.com", "EXAMPLE.COM"},
		{"Example.Com", "eXAMPLE.cOM"},
		{"*.example.com", "a.example.com"},
		{"*.EXAMPLE.com", "A.example.COM"},
		{"*.example.com", "A.EXAMPLE.COM"},
		{"*.Example.Com", "a.eXAMPLE.cOM"},
	} {
		tables := compile(t, []Site{site(1, "http *:80:"+pair[0], "https *:443:"+pair[0]+" flags=1 cert=A")}, nil, Options{})
		name, ok := Host(pair[1])
		if !ok {
			t.Fatalf("Host(%q) is invalid", pair[1])
		}
		if m := tables.Site(local("10.0.0.1:80"), HTTP, name); m.Site == nil {
			t.Errorf("host %q does not select binding %q", pair[1], pair[0])
		}
		if m := tables.Certificate(local("10.0.0.1:443"), pair[1]); m.Record == nil {
			t.Errorf("server name %q does not select binding %q", pair[1], pair[0])
		}
	}
}
