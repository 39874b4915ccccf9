package inspect

import (
	"crypto/sha1" //nolint:gosec // Windows names certificates by it
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// maxUsers bounds how many users of a certificate are named.
const maxUsers = 100

// certificatesView shows all certificates by name.
func (sn view) certificatesView(q query) (any, error) {
	sources := maps.Collect(sn.App.AllCertificates())
	if sn.App.CentralStore != nil {
		sources[certsel.CentralStoreName] = sn.App.CentralStore
	}
	names := serve.SortedKeys(sources)
	start := func(after string) (int, error) {
		return sort.Search(len(names), func(i int) bool { return names[i] > after }), nil
	}
	records := make(map[string][]*binding.Record)
	for rec := range sn.Tables.Records() {
		name := rec.Certificate
		if rec.Kind == binding.RecordStore {
			name = certsel.CentralStoreName
		}
		if name != "" {
			records[name] = append(records[name], rec)
		}
	}
	sites := sn.Tables.RecordSites()
	show := func(name string) adminapi.Certificate {
		if store, ok := sources[name].(serve.FileStore); ok {
			return sn.showStore(name, store, usersOf(records[name], sites))
		}
		return sn.showCertificate(name, sources[name], usersOf(records[name], sites))
	}
	return page(q, names, start, show, func(i int) string { return names[i] })
}

func (sn view) showCertificate(name string, source certsel.Source, users adminapi.UsedBy) adminapi.Certificate {
	c := adminapi.Certificate{Name: name, Current: []adminapi.Leaf{}, UsedBy: users}
	if mod, ok := source.(caddy.Module); ok {
		c.Source = mod.CaddyModule().ID.Name()
	}
	if keeper := sn.App.SourceOfCertificate(name); keeper != nil {
		c.Source, c.KeptIn = keeper.Name, keeper.Name
	}
	renewer, renewed := source.(certsel.Renewer)
	for _, cert := range source.Current() {
		if leaf := showLeaf(cert); leaf != nil {
			if renewed {
				renews := renewer.Renews(leafOf(cert)).UTC()
				leaf.Renews = &renews
			}
			c.Current = append(c.Current, *leaf)
		}
	}
	if renewed {
		showRenewer(&c, renewer)
	}
	if reloader, ok := source.(certsel.Reloader); ok {
		status := reloader.Status()
		if !status.LastReload.IsZero() {
			last := status.LastReload.UTC()
			c.LastReload = &last
		}
		if status.LastError != nil {
			c.Error = status.LastError.Error()
		}
	}
	return c
}

// showStore shows a store of files: those that it has in memory, each with the number
// of sites whose clients get its certificate.
func (sn view) showStore(name string, store serve.FileStore, users adminapi.UsedBy) adminapi.Certificate {
	c := adminapi.Certificate{Name: name, Source: "central_store", Current: []adminapi.Leaf{}, UsedBy: users}
	if mod, ok := store.(caddy.Module); ok && name != certsel.CentralStoreName {
		c.Source = mod.CaddyModule().ID.Name()
	}
	sites := sn.sitesOfFiles(name, store)
	for _, entry := range store.Files() {
		if leaf := showLeaf(entry.Certificate); leaf != nil {
			leaf.File = entry.Name
			leaf.SiteCount = len(sites[leaf.File])
			c.Current = append(c.Current, *leaf)
		}
	}
	if err := store.Status().LastError; err != nil {
		c.Error = err.Error()
	}
	stats := store.Stats()
	c.Store = &adminapi.Store{
		Certificates: stats.Entries, Absent: stats.Absent,
		Hits: stats.Hits, Misses: stats.Misses, Refused: stats.Refused, Limited: stats.Limited, Timeouts: stats.Timeouts,
		Accesses: stats.Accesses, Reloads: stats.Reloads, Evicted: stats.Evicted,
	}
	if !stats.Unreachable.IsZero() {
		since := stats.Unreachable.UTC()
		c.Store.Unreachable = &since
	}
	return c
}

// sitesOfFiles lists by file of a store the sites with a binding whose
// clients get its certificate.
func (sn view) sitesOfFiles(name string, store serve.FileStore) map[string]map[uint32]bool {
	sites := make(map[string]map[uint32]bool)
	for entry := range sn.Tables.Bindings() {
		if entry.Host == "" || sn.App.StoreOf(sn.Tables.ClientRecord(entry)) != name {
			continue
		}
		file := store.File(strings.Replace(entry.Host, "*", "_", 1))
		if sites[file] == nil {
			sites[file] = make(map[uint32]bool)
		}
		sites[file][entry.Site.ID] = true
	}
	return sites
}

// usersOf lists the sites that share any of the records.
func usersOf(records []*binding.Record, sharing [][]uint32) adminapi.UsedBy {
	used := adminapi.UsedBy{RecordCount: len(records)}
	sites := make(map[uint32]struct{})
	for i, rec := range records {
		if i < maxUsers {
			used.Records = append(used.Records, rec.Key())
		}
		for _, id := range sharing[rec.Index] {
			sites[id] = struct{}{}
		}
	}
	ids := slices.Sorted(maps.Keys(sites))
	used.SiteCount = len(ids)
	used.Sites = ids[:min(len(ids), maxUsers)]
	return used
}

// showLeaf describes a certificate, nil if it is none.
func showLeaf(cert *tls.Certificate) *adminapi.Leaf {
	leaf := leafOf(cert)
	if leaf == nil {
		return nil
	}
	sum1, sum256 := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw) //nolint:gosec // see above
	return &adminapi.Leaf{
		Subjects:  health.Subjects(leaf),
		Issuer:    leaf.Issuer.String(),
		SHA1:      strings.ToUpper(hex.EncodeToString(sum1[:])),
		SHA256:    hex.EncodeToString(sum256[:]),
		NotBefore: leaf.NotBefore.UTC(),
		NotAfter:  leaf.NotAfter.UTC(),
		Chain:     len(cert.Certificate),
	}
}

func leafOf(cert *tls.Certificate) *x509.Certificate {
	switch {
	case cert == nil || len(cert.Certificate) == 0:
		return nil
	case cert.Leaf != nil:
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}
