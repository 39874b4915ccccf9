// Package sites generates https sites, their certificates, and the
// configurations with which each of the compared servers serves them.
//
// Every server gets the same sites: each answers every request with a body that
// names it, so that an answer proves where a request went. One more site, the
// default, owns the certificate for clients that send no server name.
package sites

import (
	"fmt"
	"os"
)

// DefaultHost is the host of the site whose certificate is for clients that
// send no server name.
const DefaultHost = "default.bench.test"

// Zones is how many wildcard domains the sites are spread over.
const Zones = 8

// Kind tells how sites and certificates belong together.
type Kind string

// The kinds of certificates.
const (
	One    Kind = "one"    // one certificate, with all wildcards, for everything
	Shared Kind = "shared" // one wildcard certificate for each zone
	Each   Kind = "each"   // one certificate for each site
)

// Site is one https site.
type Site struct {
	Host string
	Name string // what its answers say; the host, until it is changed
	Cert *Certificate
}

// Body is the site's answer to every request.
func (s Site) Body() string { return "site:" + s.Name }

// Set is the sites of one server.
type Set struct {
	Kind    Kind
	Default Site
	Sites   []Site
	Zones   []Zone
}

// Zone is a domain whose sites share a wildcard certificate.
type Zone struct {
	Wildcard string // *.example-3.test
	Cert     *Certificate
}

// Host returns the host of a site.
func Host(i int) string { return fmt.Sprintf("host-%d.example-%d.test", i, i%Zones) }

// Generate makes n sites, with certificates in dir.
func Generate(dir string, kind Kind, n int) (*Set, error) {
	if n < 1 {
		return nil, fmt.Errorf("%d sites: there must be one at least", n)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return nil, err
	}
	set := &Set{Kind: kind, Sites: make([]Site, n), Zones: make([]Zone, min(n, Zones))}
	for i := range set.Zones {
		set.Zones[i].Wildcard = fmt.Sprintf("*.example-%d.test", i)
	}
	if err := set.certify(ca); err != nil {
		return nil, err
	}
	return set, nil
}

// certify fills in sites and zones with certificates.
func (s *Set) certify(ca *authority) error {
	names := []string{DefaultHost}
	if s.Kind == One {
		for _, z := range s.Zones {
			names = append(names, z.Wildcard)
		}
	}
	cert, err := ca.issue("default", names...)
	if err != nil {
		return err
	}
	s.Default = Site{Host: DefaultHost, Name: DefaultHost, Cert: cert}
	for i := range s.Zones {
		if s.Zones[i].Cert, err = s.zoneCertificate(ca, i); err != nil {
			return err
		}
	}
	for i := range s.Sites {
		cert := s.Zones[i%Zones].Cert
		if s.Kind == Each {
			if cert, err = ca.issue(fmt.Sprintf("site-%d", i), Host(i)); err != nil {
				return err
			}
		}
		s.Sites[i] = Site{Host: Host(i), Name: Host(i), Cert: cert}
	}
	return nil
}

func (s *Set) zoneCertificate(ca *authority, i int) (*Certificate, error) {
	switch s.Kind {
	case One:
		return s.Default.Cert, nil
	case Shared:
		return ca.issue(fmt.Sprintf("wildcard-%d", i), s.Zones[i].Wildcard)
	case Each:
		return nil, nil
	}
	return nil, fmt.Errorf("unknown kind of certificates %q: expected one, shared or each", s.Kind)
}

// All returns the default site and then all others.
func (s *Set) All() []Site { return append([]Site{s.Default}, s.Sites...) }

// Last returns the site that comes last, and its index.
func (s *Set) Last() (int, Site) { return len(s.Sites) - 1, s.Sites[len(s.Sites)-1] }

// Renamed returns the set with another name of one site.
func (s *Set) Renamed(i int, name string) *Set {
	changed := *s
	changed.Sites = append([]Site(nil), s.Sites...)
	changed.Sites[i].Name = name
	return &changed
}
