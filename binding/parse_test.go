package binding

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	all := netip.Addr{}
	v4 := netip.MustParseAddr("10.0.0.5")
	for _, tc := range []struct {
		protocol, info string
		want           Binding
		text, secure   string
	}{
		{"http", ":80:", Binding{HTTP, 80, all, ""}, "*:80:", ":80:"},
		{"http", "*:80:", Binding{HTTP, 80, all, ""}, "*:80:", ":80:"},
		{"http", "0.0.0.0:80:", Binding{HTTP, 80, all, ""}, "*:80:", ":80:"},
		{"HTTP", " *:80: ", Binding{HTTP, 80, all, ""}, "*:80:", ":80:"},
		{"https", ":443:test.example.com", Binding{HTTPS, 443, all, "test.example.com"}, "*:443:test.example.com", ":443:test.example.com"},
		{"Https", "*:443:WWW.Example.Com", Binding{HTTPS, 443, all, "www.example.com"}, "*:443:www.example.com", ":443:www.example.com"},
		{"https", "10.0.0.5:443:host", Binding{HTTPS, 443, v4, "host"}, "10.0.0.5:443:host", "10.0.0.5:443:host"},
		{"https", "[::ffff:10.0.0.5]:443:host", Binding{HTTPS, 443, v4, "host"}, "10.0.0.5:443:host", "10.0.0.5:443:host"},
		{"http", "[::ffff:0.0.0.0]:80:", Binding{HTTP, 80, all, ""}, "*:80:", ":80:"},
		{"https", "[::1]:443:host", Binding{HTTPS, 443, netip.IPv6Loopback(), "host"}, "[::1]:443:host", "[::1]:443:host"},
		{"https", "[::]:443:", Binding{HTTPS, 443, netip.IPv6Unspecified(), ""}, "[::]:443:", "[::]:443:"},
		{"http", "[FE80::1%eth0]:80:", Binding{HTTP, 80, netip.MustParseAddr("fe80::1%eth0"), ""}, "[fe80::1%eth0]:80:", "[fe80::1%eth0]:80:"},
		{"http", "*:65535:", Binding{HTTP, 65535, all, ""}, "*:65535:", ":65535:"},
		{"http", "*:61902:localhost", Binding{HTTP, 61902, all, "localhost"}, "*:61902:localhost", ":61902:localhost"},
		{"http", ":8080:*", Binding{HTTP, 8080, all, ""}, "*:8080:", ":8080:"},
		{"http", "*:80:*.example.com", Binding{HTTP, 80, all, "*.example.com"}, "*:80:*.example.com", ":80:*.example.com"},
		{"http", "*:80:my_host", Binding{HTTP, 80, all, "my_host"}, "*:80:my_host", ":80:my_host"},
		{"http", "*:80:Bücher.example", Binding{HTTP, 80, all, "xn--bcher-kva.example"}, "*:80:xn--bcher-kva.example", ":80:xn--bcher-kva.example"},
		// The documented form of SecureBindings has no host.
		{"https", ":443", Binding{HTTPS, 443, all, ""}, "*:443:", ":443:"},
		{"https", "[2001:db8::1]:443", Binding{HTTPS, 443, netip.MustParseAddr("2001:db8::1"), ""}, "[2001:db8::1]:443:", "[2001:db8::1]:443:"},
	} {
		got, err := Parse(tc.protocol, tc.info)
		if err != nil {
			t.Errorf("Parse(%q, %q): %v", tc.protocol, tc.info, err)
			continue
		}
		if got != tc.want {
			t.Errorf("Parse(%q, %q) = %+v, want %+v", tc.protocol, tc.info, got, tc.want)
		}
		if got.String() != tc.text || got.SecureString() != tc.secure {
			t.Errorf("Parse(%q, %q) writes %q and %q, want %q and %q", tc.protocol, tc.info, got, got.SecureString(), tc.text, tc.secure)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ protocol, info, part, reason string }{
		{"ftp", "*:21:", partProtocol, "not served"},
		{"net.tcp", "808:*", partProtocol, "not served"},
		{"", "*:80:", partProtocol, "not served"},
		{"http", "", partBinding, "two colons"},
		{"http", ":", partBinding, "two colons"},
		{"https", "", partBinding, "two colons"},
		{"https", "*", partBinding, "two colons"},
		{"http", "*:80", partBinding, "two colons"},
		{"http", "[::1]:80", partBinding, "two colons"},
		{"http", "[::1]", partBinding, "two colons"},
		{"http", "::", partPort, "missing"},
		{"https", ":", partPort, "missing"},
		{"http", "*::host", partPort, "missing"},
		{"http", "*:161902:localhost", partPort, "between 1 and 65535"},
		{"http", "*:65536:", partPort, "between 1 and 65535"},
		{"http", "*:0:", partPort, "starts with a zero"},
		{"http", "*:080:", partPort, "starts with a zero"},
		{"http", "*:localhost:localhost", partPort, "not a number"},
		{"http", "*:+80:", partPort, "not a number"},
		{"http", "*:-1:", partPort, "not a number"},
		{"http", "*: 80:", partPort, "not a number"},
		{"http", "*:*:", partPort, "not a number"},
		{"http", "1.1.1.1.1:61902:localhost", partIP, "is none"},
		{"http", "localhost:80:", partBinding, "has not the form IP:port:host"},
		{"http", "+:80:", partIP, "is none"},
		{"http", "10.0.0.0/8:80:", partIP, "is none"},
		{"http", "::1:443:host", partIP, "needs brackets"},
		{"https", "::1:443", partIP, "none"},
		{"http", "[::1:80:host", partIP, "closing bracket"},
		{"http", "[10.0.0.1]:80:", partIP, "no brackets"},
		{"http", "[localhost]:443:", partIP, "is none"},
		{"http", "[]:443:", partIP, "is none"},
		{"http", "[::%eth0]:80:", partIP, "zone"},
		{"http", "[fe80::1%a b]:80:", partIP, "zone"},
		{"http", "* :80:", partIP, "is none"},
		{"http", "*:80:foo bar", partHost, "blank"},
		{"http", "*:80:a\tb", partHost, "blank"},
		{"http", "*:80:www.example.com.", partHost, "ends with a dot"},
		{"http", "*:80:.", partHost, "empty label"},
		{"http", "*:80:a..b", partHost, "empty label"},
		{"http", "*:80:*.", partHost, "is empty"},
		{"http", "*:80:service.*.contoso.com", partHost, "asterisk"},
		{"http", "*:80:*a.contoso.com", partHost, "asterisk"},
		{"http", "*:80:*.*.contoso.com", partHost, "asterisk"},
		{"http", "*:80:user@host", partHost, "character @"},
		{"http", "*:80:http//host", partHost, "character /"},
		{"http", "*:80:a\x01b", partHost, "control"},
		{"http", "*:80:10.0.0.5", partHost, "looks like an IP address"},
		{"http", "*:80:*.10.5", partHost, "looks like an IP address"},
		{"http", "*:80:[::1]", partIP, "is none"},
		{"http", "*:80:" + strings.Repeat("a", 64), partHost, "63 characters"},
		{"http", "*:80:" + strings.Repeat("a.", 127) + "a", partHost, "253 characters"},
		{"http", "*:80:*." + strings.Repeat("a.", 126) + "a", partHost, "253 characters"},
		{"http", "*:80:a\u2100b.example", partHost, "character /"}, // maps to a/c
		{"http", "*:80:\xff", partHost, "UTF-8"},
	} {
		b, err := Parse(tc.protocol, tc.info)
		var pe *ParseError
		if !errors.As(err, &pe) {
			t.Errorf("Parse(%q, %q) = %v, %v; want a ParseError", tc.protocol, tc.info, b, err)
			continue
		}
		if pe.Part != tc.part || !strings.Contains(pe.Reason, tc.reason) {
			t.Errorf("Parse(%q, %q): %v; want part %q because %q", tc.protocol, tc.info, err, tc.part, tc.reason)
		}
		if pe.Accepted == "" || !strings.Contains(err.Error(), pe.Accepted) || !strings.Contains(err.Error(), pe.Part) {
			t.Errorf("Parse(%q, %q): %q does not show part and accepted form", tc.protocol, tc.info, err)
		}
		if b != (Binding{}) {
			t.Errorf("Parse(%q, %q) returns %v beside the error", tc.protocol, tc.info, b)
		}
	}
	if _, err := Parse("ftp", "*:21:"); !strings.Contains(err.Error(), "http, https") {
		t.Errorf("error %q does not list the protocols", err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.5:8443":          "10.0.0.5:8443",
		" 10.0.0.5:8443 ":        "10.0.0.5:8443",
		"0.0.0.0:443":            "0.0.0.0:443",
		":443":                   "0.0.0.0:443",
		"*:443":                  "0.0.0.0:443",
		"[::]:443":               "[::]:443",
		"[2001:db8::1]:443":      "[2001:db8::1]:443",
		"[::ffff:10.0.0.5]:8443": "10.0.0.5:8443",
	} {
		ip, port, err := ParseEndpoint(in)
		if err != nil || endpointText(ip, port) != want {
			t.Errorf("ParseEndpoint(%q) = %v, %d, %v; want %s", in, ip, port, err, want)
		}
	}
	for in, part := range map[string]string{
		"":               partPort,
		"443":            partPort,
		"127.0.0.1":      partPort,
		"127.0.0.1:":     partPort,
		"127.0.0.1:abc":  partPort,
		"127.0.0.1:0":    partPort,
		"localhost:443":  partIP,
		"::1:443":        partIP,
		"[::1":           partIP,
		"[::1]443":       partIP,
		"[localhost]:80": partIP,
		"127.0.0.1 :443": partIP,
	} {
		_, _, err := ParseEndpoint(in)
		var pe *ParseError
		if !errors.As(err, &pe) || pe.Part != part {
			t.Errorf("ParseEndpoint(%q): %v, want an error about the %s", in, err, part)
		}
	}
}

func TestFlags(t *testing.T) {
	for f := Flags(0); f <= 127; f++ {
		if err := f.Validate(); err != nil {
			t.Errorf("flags %d: %v", f, err)
		}
	}
	for _, f := range []Flags{128, 129, 256, 0x8000} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), "1 SNI") {
			t.Errorf("flags %d: %v, want an error that lists the known bits", f, err)
		}
	}
	for f, want := range map[Flags]string{0: "0", 1: "1 (SNI)", 3: "3 (SNI, central store)", 36: "36 (no HTTP/2, no TLS 1.3)"} {
		if f.String() != want {
			t.Errorf("flags %d: %q, want %q", uint16(f), f, want)
		}
	}
	kinds := map[Flags]RecordKind{0: RecordIPPort, 1: RecordHostnamePort, 2: RecordStore, 3: RecordStore, 4: RecordIPPort, 5: RecordHostnamePort, 67: RecordStore}
	for f, want := range kinds {
		if f.kind() != want {
			t.Errorf("flags %d make a record %s, want %s", f, f.kind(), want)
		}
	}
}

// TestGuess: what somebody probably meant is said, and nothing where that is not clear.
func TestGuess(t *testing.T) {
	for _, c := range []struct{ protocol, info, want string }{
		{"https", "www.example.com:443", "*:443:www.example.com"},
		{"http", "www.example.com", "*:80:www.example.com"},
		{"https", "https://www.example.com/", "*:443:www.example.com"},
		{"https", "https://www.example.com:8443", "*:8443:www.example.com"},
		{"http", "80:www.example.com", "*:80:www.example.com"},
		{"http", "10.0.0.5:80", "10.0.0.5:80:"},
		{"http", "*:80", "*:80:"},
		{"http", "localhost:80:", "*:80:localhost"},
		{"http", "2001:db8::5:80:www.example.com", "[2001:db8::5]:80:www.example.com"},
		{"http", "", ""},
		{"http", "*", ""},
		{"http", "10.0.0.999", ""},
		{"http", "10.0.0.5", ""},
		{"https", "10.0.0.999:443", ""},
		{"http", "*:80:www.*.com", ""},
		{"http", "* :80:", ""},
		{"http", "a b:80", ""},
		{"http", "www.example.com:0", ""},
	} {
		_, err := Parse(c.protocol, c.info)
		var wrong *ParseError
		if !errors.As(err, &wrong) || wrong.Guess != c.want {
			t.Errorf("%s %q: %v, want the guess %q", c.protocol, c.info, err, c.want)
			continue
		}
		if _, err := Parse(c.protocol, wrong.Guess); wrong.Guess != "" && err != nil {
			t.Errorf("%s %q: the guess %q: %v", c.protocol, c.info, wrong.Guess, err)
		}
	}
}
