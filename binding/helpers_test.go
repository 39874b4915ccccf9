package binding

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bind reads "https *:443:www.example.com flags=1 cert=A tls=x".
func bind(spec string) SiteBinding {
	fields := strings.Fields(spec)
	b, err := Parse(fields[0], fields[1])
	if err != nil {
		panic(err)
	}
	sb := SiteBinding{Binding: b}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "flags":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				panic(err)
			}
			sb.Flags = Flags(n)
		case "cert":
			sb.Certificate = value
		case "tls":
			sb.TLS = value
		default:
			panic("unknown field " + key)
		}
	}
	return sb
}

// site makes site id with the name "S<id>".
func site(id uint32, specs ...string) Site {
	s := Site{ID: id, Name: fmt.Sprintf("S%d", id)}
	for _, spec := range specs {
		s.Bindings = append(s.Bindings, bind(spec))
	}
	return s
}

func stopped(s Site) Site {
	s.Stopped = true
	return s
}

func endpoint(key, certificate string) Endpoint {
	ip, port, err := ParseEndpoint(key)
	if err != nil {
		panic(err)
	}
	return Endpoint{IP: ip, Port: port, Certificate: certificate}
}

func compile(t testing.TB, sites []Site, endpoints []Endpoint, opts Options) *Tables {
	t.Helper()
	tables, _, err := Compile(sites, endpoints, opts)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return tables
}

func local(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// certificate looks up and returns "rule-constant certificate-or-record".
func certificate(t *Tables, to, sni string) string {
	m := t.Certificate(local(to), sni)
	if m.Record == nil {
		return fmt.Sprintf("%s -", row(m.Rule))
	}
	if m.Record.Kind == RecordStore {
		return fmt.Sprintf("%s %s", row(m.Rule), m.Record.Key())
	}
	return fmt.Sprintf("%s %s", row(m.Rule), m.Record.Certificate)
}

// route looks up and returns "row site-name".
func route(t *Tables, to string, p Protocol, host string) string {
	name, _ := Host(host)
	m := t.Site(local(to), p, name)
	if m.Site == nil {
		return fmt.Sprintf("%s -", row(m.Rule))
	}
	return fmt.Sprintf("%s %s", row(m.Rule), m.Site.Name)
}

// row writes a rule as "D1.2".
func row(r Rule) string {
	s, _, _ := strings.Cut(r.String(), ":")
	return strings.Replace(s, " row ", ".", 1)
}

// hasFinding tells whether there is a finding of this kind that mentions all the
// words.
func hasFinding(findings []Finding, severity Severity, code string, words ...string) bool {
next:
	for _, f := range findings {
		if f.Severity != severity || f.Code != code {
			continue
		}
		text := f.String()
		for _, w := range words {
			if !strings.Contains(text, w) {
				continue next
			}
		}
		return true
	}
	return false
}

func recordsOf(tables *Tables) []*Record { return slices.Collect(tables.Records()) }
