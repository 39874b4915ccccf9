package cli

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

func TestTableFitsTerminal(t *testing.T) {
	build := func() *table {
		tab := &table{heads: []string{"ID", "NAME", "BINDINGS"}, flex: []int{1, 2}}
		tab.add(text("1"), text("Grüße aus Österreich"), text(strings.Repeat("http *:80:www.example.com, ", 4)))
		tab.add(cell{"2", red}, text(""), text(""))
		return tab
	}
	for _, c := range []struct {
		width int
		color bool
		want  string
	}{
		{60, false, "ID  NAME                  BINDINGS\n" +
			"1   Grüße aus Österreich  http *:80:www.example.com, http *…\n2\n"},
		{30, false, "ID  NAME          BINDINGS\n" +
			"1   Grüße aus Ö…  http *:80:w…\n2\n"},
		{60, true, "\x1b[1mID\x1b[0m  \x1b[1mNAME\x1b[0m                  \x1b[1mBINDINGS\x1b[0m\n" +
			"1   Grüße aus Österreich  http *:80:www.example.com, http *…\n\x1b[31m2\x1b[0m\n"},
	} {
		var out bytes.Buffer
		e := &Env{Out: &out, Width: c.width, Color: c.color}
		if err := e.write(build()); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != c.want {
			t.Errorf("width %d: got\n%s\nwant\n%s", c.width, got, c.want)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); !c.color && n > c.width {
				t.Errorf("width %d: a line has %d characters: %s", c.width, n, line)
			}
		}
	}
	var out bytes.Buffer
	if err := (&Env{Out: &out}).write(build()); err != nil || strings.Contains(out.String(), "…") {
		t.Errorf("without terminal: %s, %v", out.String(), err)
	}
}

func TestProgress(t *testing.T) {
	p := &progress{total: 4}
	p.done(ClassExpected)
	p.done(ClassUnknown)
	if got, want := p.bar(), "[###############...............] 2 of 4, 1 not as expected"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		places []string
		ip     string
		port   uint16
		want   []string
	}{
		{nil, "", 443, nil},
		{[]string{"old.example.com"}, "", 443, []string{"old.example.com:443"}},
		{[]string{"192.0.2.7", "2001:db8::7"}, "10.0.0.5", 80, []string{"192.0.2.7:80", "[2001:db8::7]:80"}},
		{[]string{"[2001:db8::7]:8443"}, "", 443, []string{"[2001:db8::7]:8443"}},
		{[]string{"a", "10.0.0.5=b", ":443=c", "10.0.0.5:443=d:1"}, "10.0.0.5", 443, []string{"d:1"}},
		{[]string{"a", "10.0.0.5=b", ":443=c", "10.0.0.5:443=d:1"}, "10.0.0.5", 80, []string{"b:80"}},
		{[]string{"a", "10.0.0.5=b", ":443=c", "10.0.0.5:443=d:1"}, "10.0.0.6", 443, []string{"c:443"}},
		{[]string{"a", "10.0.0.5=b", "[::1]=d"}, "::1", 80, []string{"d:80"}},
		{[]string{"10.0.0.5=b"}, "", 80, nil},
	} {
		places, err := parsePlaces(c.places)
		if err != nil {
			t.Error(err)
			continue
		}
		var ip netip.Addr
		if c.ip != "" {
			ip = netip.MustParseAddr(c.ip)
		}
		if got := find(places, ip, c.port); !slices.Equal(got, c.want) {
			t.Errorf("%q for %s:%d: got %q, want %q", c.places, c.ip, c.port, got, c.want)
		}
	}
	for _, bad := range []string{"", "=a", "10.0.0.5=", "x=a", "a:b", "a:0", "a:70000", ":99999=a"} {
		if p, err := parsePlace(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, p)
		}
	}
}

// TestReplace: setting a list keeps what stays, in the form it has.
func TestReplace(t *testing.T) {
	const before = `{
		"server_bindings": [":80:a"],
		"secure_bindings": [":443:old"],
		"bindings": [
			{"protocol": "https", "binding": "*:443:stays", "flags": 1, "certificate": "c", "tls": {"alpn": ["h2"]}},
			{"protocol": "https", "binding": "10.0.0.5:443:goes"},
			{"protocol": "http", "binding": "*:80:other"}
		],
		"routes": [1]
	}`
	const after = `{"bindings":[{"binding":"*:443:stays","certificate":"c","flags":1,"protocol":"https","tls":{"alpn": ["h2"]}},{"binding":"*:80:other","protocol":"http"}],` +
		`"routes":[1],"secure_bindings":[":443:new","not a binding"],"server_bindings":[":80:a"]}`
	var site adminapi.SiteConfig
	if err := json.Unmarshal([]byte(before), &site); err != nil {
		t.Fatal(err)
	}
	if values, err := secureBindings.values(site); err != nil || !slices.Equal(values, []string{":443:old", ":443:stays", "10.0.0.5:443:goes"}) {
		t.Errorf("values: %q, %v", values, err)
	}
	if err := secureBindings.replace(&site, []string{":443:new", "0.0.0.0:443:STAYS", "not a binding"}); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(site); err != nil || strings.ReplaceAll(string(got), `["h2"]`, ` ["h2"]`) != after {
		t.Errorf("got %s, %v; want %s", got, err, after)
	}
}

func TestNodes(t *testing.T) {
	for path, want := range map[string]node{
		"/w3svc/1/":         {siteNode, "w3svc/1", 1},
		`\W3SVC\4294967295`: {siteNode, "W3SVC/4294967295", 4294967295},
		" w3svc ":           {serviceNode, "w3svc", 0},
		"w3svc/1/root":      {rootNode, "w3svc/1/root", 1},
		"w3svc/0":           {unknownNode, "w3svc/0", 0},
		"w3svc/-1":          {unknownNode, "w3svc/-1", 0},
		"w3svc/4294967296":  {unknownNode, "w3svc/4294967296", 0},
		"w3svc/AppPools":    {unknownNode, "w3svc/AppPools", 0},
		"":                  {unknownNode, "", 0},
	} {
		if got := parseNode(cleanPath(path)); got != want {
			t.Errorf("%q: got %+v, want %+v", path, got, want)
		}
	}
}

func TestProperty32(t *testing.T) {
	for name, want := range map[string]string{
		"ServerComment":         "ServerComment                   : ",
		strings.Repeat("x", 31): strings.Repeat("x", 31) + " : ",
		strings.Repeat("x", 32): strings.Repeat("x", 32) + " : ",
		strings.Repeat("x", 40): strings.Repeat("x", 40) + " : ",
	} {
		if got := property32(name); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParseBool(t *testing.T) {
	for value, want := range map[string]bool{"True": true, "FALSE": false, "1": true, "-1": true, "0": false} {
		if got, err := parseBool(value); err != nil || got != want {
			t.Errorf("%s: got %t, %v", value, got, err)
		}
	}
	if _, err := parseBool("yes"); err == nil {
		t.Error("yes: want an error")
	}
}
