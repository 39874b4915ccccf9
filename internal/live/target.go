package live

import (
	"net/http"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// For finds a source: the one that is named, that of the first site that one has,
// or the first.
func (l Sources) For(named string, changes []SiteChange) (*Source, error) {
	var names []string
	var writable []*Source
	for _, source := range l {
		if source.Name == named {
			return source, nil
		}
		names = append(names, source.Name)
		if f := source.Follower; f.Shared == nil || !f.Shared.Status().ReadOnly {
			writable = append(writable, source)
		}
	}
	switch {
	case named != "" && len(names) > 0:
		return nil, RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, nil, "there is no source %q that can be written: %s", named, near.Expected(names))
	case len(names) == 0:
		return nil, RefuseWrite(http.StatusMethodNotAllowed, CodeConfigured, nil,
			"no source of sites can be written: add sites_from bolt to the iis option, or change sites through /config/apps/iis")
	}
	for _, source := range l {
		for i := range changes {
			if _, has := source.Follower.RevisionOf(changes[i].ID); has {
				return source, nil
			}
		}
	}
	if len(writable) > 0 {
		return writable[0], nil
	}
	return l[0], nil
}

// ForCertificate finds a source: the one that is named, that which has the
// certificate, or the first that can keep some.
func (l Sources) ForCertificate(named, name string) (*Source, error) {
	if named == "" {
		if source := l.WithCertificate(name); source != nil {
			return source, nil
		}
		var first *Source
		for _, source := range l {
			table := source.Follower.CertificateTable()
			if table == nil {
				continue
			}
			if _, there, err := table.Certificate(name); err == nil && there {
				return source, nil // it is held back
			}
			if first == nil {
				first = source
			}
		}
		if first != nil {
			return first, nil
		}
	}
	return l.For(named, nil)
}

// FreeID returns an id that no site has, neither one of the sources nor one that is served.
// The caller holds the lock of the source that it is for.
func (l Sources) FreeID(source *Source, tables *binding.Tables) uint32 {
	highest := tables.LastID()
	for _, other := range l {
		if other != source { // whose lock is not ours to wait for
			highest = max(highest, other.Follower.highest.Load())
		}
	}
	for id := range source.Follower.revision {
		highest = max(highest, id)
	}
	return binding.FreeID(highest, func(id uint32) bool {
		return tables.SiteByID(id) != nil || slices.ContainsFunc(l, func(s *Source) bool {
			_, has := s.Follower.RevisionOf(id)
			return has
		})
	})
}
