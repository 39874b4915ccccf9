package serve

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// SourceFor finds a source: the one that is named, that of the first site that one has,
// or the first.
func (a *Instance) SourceFor(named string, changes []SiteChange) (*LiveSource, error) {
	var names []string
	var writable []*LiveSource
	for _, source := range a.Live {
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
		return nil, RefuseWrite(http.StatusMethodNotAllowed, codeConfigured, nil,
			"no source of sites can be written: add sites_from bolt to the iis option, or change sites through /config/apps/iis")
	}
	for _, source := range a.Live {
		for i := range changes {
			if _, has := source.Follower.RevisionOf(changes[i].ID); has {
				return source, nil
			}
		}
	}
	if len(writable) > 0 {
		return writable[0], nil
	}
	return a.Live[0], nil
}

// FreeID returns an id that no site has.
func (a *Instance) FreeID(source *LiveSource) (uint32, error) {
	last := a.Now().Tables.LastID()
	for _, other := range a.Live {
		if other != source { // whose lock is not ours to wait for
			last = max(last, other.Follower.highest.Load())
		}
	}
	for id := range source.Follower.revision {
		last = max(last, id)
	}
	if last == 1<<32-1 {
		return 0, RefuseWrite(http.StatusConflict, codeConflict, nil, "no id is left after the highest one: name a free one")
	}
	return last + 1, nil
}

// Matched is the revision that an If-Match names for a row: the one it has for an
// asterisk, and one that it does not have if the tag is of another table.
func (f *follower) Matched(match string, current uint64, there bool) uint64 {
	if match == "*" && there {
		return current
	}
	source, number, _ := strings.Cut(strings.Trim(match, `"`), ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || source != f.head.Source {
		return current + 1
	}
	return n
}

// RevisionOf names a revision of a source in answers.
func RevisionOf(head sites.Head) string {
	return head.Source + ":" + strconv.FormatUint(head.Revision, 10)
}

// EtagOf is the entity tag of a site.
func EtagOf(head sites.Head, revision uint64) string {
	return fmt.Sprintf(`"%s:%d"`, head.Source, revision)
}

// SourceForCertificate finds a source: the one that is named, that which has the
// certificate, or the first that can keep some.
func (a *Instance) SourceForCertificate(named, name string) (*LiveSource, error) {
	if named == "" {
		if source := a.SourceOfCertificate(name); source != nil {
			return source, nil
		}
		var first *LiveSource
		for _, source := range a.Live {
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
	return a.SourceFor(named, nil)
}

// Claim finds the source of a change and takes its lock, which Release gives back. The
// configuration that owns the source makes the change: it may be a newer one than this.
func (a *Instance) Claim(find func(*Instance) (*LiveSource, error)) (*Instance, *LiveSource, error) {
	app := a
	for range 10 {
		source, err := find(app)
		if err != nil {
			return nil, nil, err
		}
		f := source.Follower
		f.mu.Lock()
		switch f.owner {
		case app:
			return app, source, nil
		case nil:
			f.mu.Unlock()
			return nil, nil, errReplaced()
		}
		app = f.owner
		f.mu.Unlock()
	}
	return nil, nil, errReplaced()
}

// Release gives the lock of a source back.
func (s *LiveSource) Release() { s.Follower.mu.Unlock() }

func errReplaced() error {
	return RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration is being replaced: ask again")
}

// Describe tells what there is to know of a source.
func (sn *Snapshot) Describe(s *LiveSource) adminapi.Source {
	f := s.Follower
	head, rows := f.Size()
	shown := adminapi.Source{
		Name: s.Name, Kind: strings.TrimPrefix(string(s.module.CaddyModule().ID), sites.Namespace+"."), Writable: true,
		Sites: rows, ID: head.Source, Revision: head.Revision, Mark: head.Mark,
	}
	shown.Certificates = len(f.certificateNames())
	shown.TakesCertificates = f.CertificateTable() != nil && s.sealer.Seals()
	shown.HeldBack = sn.heldCount(s)
	f.addShared(&shown)
	return shown
}
