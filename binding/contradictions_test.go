package binding

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// https is an https binding with a certificate.
func secureBinding(t *testing.T, info, certificate string) SiteBinding {
	t.Helper()
	b, err := Parse("https", info)
	if err != nil {
		t.Fatal(err)
	}
	return SiteBinding{Binding: b, Certificate: certificate}
}

func plainBinding(t *testing.T, info string) SiteBinding {
	t.Helper()
	b, err := Parse("http", info)
	if err != nil {
		t.Fatal(err)
	}
	return SiteBinding{Binding: b}
}

func TestContradictions(t *testing.T) {
	site := func(id uint32, bindings ...SiteBinding) Site { return Site{ID: id, Bindings: bindings} }
	stopped := func(s Site) Site { s.Stopped = true; return s }
	type pair struct {
		site, other uint32
		code        string
	}
	first := []Site{site(50, plainBinding(t, "*:80:a.test"), secureBinding(t, "*:443:a.test", "one"))}
	tests := map[string]struct {
		list []Site
		want []pair
	}{
		"nothing":                {[]Site{site(1, plainBinding(t, "*:80:b.test")), site(2, secureBinding(t, "*:443:b.test", "one"))}, nil},
		"the binding of a first": {[]Site{site(1, plainBinding(t, "*:80:a.test"))}, []pair{{1, 50, CodeDuplicateBinding}}},
		"stopped":                {[]Site{stopped(site(1, plainBinding(t, "*:80:a.test")))}, nil},
		"the certificate, whatever the ids": {
			[]Site{site(1, secureBinding(t, "*:443:b.test", "two")), site(2, secureBinding(t, "*:443:c.test", "two"))},
			[]pair{{1, 50, CodeCertificateConflict}, {2, 50, CodeCertificateConflict}},
		},
		"a protocol":              {[]Site{site(60, secureBinding(t, "*:80:b.test", "one"))}, []pair{{60, 50, CodeProtocolConflict}}},
		"one before, not an id":   {[]Site{site(9, plainBinding(t, "*:80:b.test")), site(3, plainBinding(t, "*:80:b.test"))}, []pair{{3, 9, CodeDuplicateBinding}}},
		"no certificate is none":  {[]Site{site(1, secureBinding(t, "*:8443:b.test", ""))}, nil},
		"impossible by itself":    {[]Site{site(1, SiteBinding{})}, []pair{{1, 0, CodeBadBinding}}},
		"twice in the same site":  {[]Site{site(1, plainBinding(t, "*:80:b.test"), plainBinding(t, "*:80:b.test"))}, []pair{{1, 0, CodeDuplicateBinding}}},
		"an endpoint of its port": {[]Site{site(1, secureBinding(t, "*:444:b.test", "two"))}, []pair{{1, 0, CodeCertificateConflict}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []pair
			for _, f := range Contradictions(first, []Endpoint{{Port: 444, Certificate: "one"}}, test.list, Options{}) {
				got = append(got, pair{f.Site, f.Other, f.Code})
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestContradictionsAsCompile: a list without contradictions compiles, and one that
// compiles has none.
func TestContradictionsAsCompile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sites := make([]Site, rapid.IntRange(1, 5).Draw(t, "sites"))
		for i := range sites {
			sites[i] = Site{ID: uint32(i + 1), Stopped: rapid.Bool().Draw(t, "stopped")}
			for range rapid.IntRange(1, 2).Draw(t, "bindings") {
				b := SiteBinding{Binding: Binding{
					Protocol: Protocol(rapid.IntRange(0, 1).Draw(t, "protocol")), Port: rapid.SampledFrom([]uint16{80, 443}).Draw(t, "port"),
					Host: rapid.SampledFrom([]string{"a.test", "b.test", "*.test"}).Draw(t, "host"),
				}}
				if b.Protocol == HTTPS {
					b.Certificate = rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "certificate")
					b.TLS = rapid.SampledFrom([]string{"", "x"}).Draw(t, "tls")
				}
				sites[i].Bindings = append(sites[i].Bindings, b)
			}
		}
		// Those that come first do not contradict each other: what is wrong among them is not told.
		cut := rapid.IntRange(0, len(sites)).Draw(t, "cut")
		for contradict(sites[:cut]) {
			cut--
		}
		_, all, _ := Compile(sites, nil, Options{})
		wrong := contradict(sites)
		if got := Contradictions(sites[:cut], nil, sites[cut:], Options{}); (len(got) > 0) != wrong {
			t.Fatalf("got %v, and Compile %v", got, all)
		}
	})
}

// contradict reports whether Compile finds that sites cannot be beside each other.
func contradict(sites []Site) bool {
	_, findings, _ := Compile(sites, nil, Options{})
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error && f.Code != CodeNoCertificate })
}
