package iisconfig

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// finish puts together what needs all files.
func (b *builder) finish() *Server {
	b.settle()
	b.place()
	b.join()
	b.unread()
	b.unusedURLScan()
	b.server.Findings = b.rep.all(b.server.Inputs)
	return &b.server
}

// unread names the files of no known kind. Content of sites may be among those deep
// down; what stands beside the server's files was meant to be read.
func (b *builder) unread() {
	var beside, deep []string
	for _, it := range b.others {
		if it.depth == 0 {
			beside = append(beside, it.name)
		} else {
			deep = append(deep, it.name)
		}
	}
	const message = "%d other files were found, of no kind that is read: %s"
	if len(beside) > 0 {
		b.rep.warn(CodeUnrecognised, Source{}, "look what they are", message, len(beside), some(beside))
	}
	if len(deep) > 0 {
		b.rep.info(CodeUnrecognised, Source{}, message, len(deep), some(deep))
	}
}

// some names the first of many.
func some(names []string) string {
	const most = 20
	if len(names) > most {
		names = append(names[:most:most], "...")
	}
	return strings.Join(names, ", ")
}

// settle makes the sites of what all outputs of adsutil and appcmd have told together.
// Files that need to know the folders of sites come after it.
func (b *builder) settle() {
	if b.settled {
		return
	}
	b.settled = true
	if len(b.iis6.order) > 0 {
		b.convert(b.iis6, Adsutil)
	}
	b.placeAppcmd()
	b.folderIndex = nil
}

// mergeSite adds to a site what another input knows of it. The first input with the
// site has the say: configuration files come before the output of commands.
func (b *builder) mergeSite(have, s *Site) {
	s.same = have
	setNonEmpty(&have.State, s.State)
	if have.HSTS == nil {
		have.HSTS = s.HSTS
	}
	if have.LogFile == nil {
		have.LogFile = s.LogFile
	}
	if have.Applications == nil {
		have.Applications = s.Applications
	}
	if have.Bindings == nil {
		have.Bindings = s.Bindings
		return
	}
	if s.Bindings == nil {
		return
	}
	mine, other := bindingsByKey(have), bindingsByKey(s)
	var more, fewer []*Binding
	for _, add := range s.Bindings {
		old := mine[bindingKey(add)]
		if old == nil {
			more = append(more, add)
			continue
		}
		if old.CertificateHash == "" {
			old.CertificateHash, old.StoreName = add.CertificateHash, add.StoreName
		}
		if old.SSLFlags == 0 {
			old.SSLFlags = add.SSLFlags
		}
	}
	for _, old := range have.Bindings {
		if other[bindingKey(old)] == nil {
			fewer = append(fewer, old)
		}
	}
	const fix = "copy both at the same time"
	if more != nil {
		b.rep.warn(CodeConflict, s.Source, fix, "the site %s has bindings here that %s does not have; they are left out: %s",
			have.Name, have.Source.File, listBindings(more))
	}
	if fewer != nil {
		b.rep.warn(CodeConflict, s.Source, fix, "the site %s has bindings in %s that are not here: %s",
			have.Name, have.Source.File, listBindings(fewer))
	}
}

// listBindings names some bindings for a message.
func listBindings(bindings []*Binding) string {
	var words []string
	for _, b := range bindings {
		if len(words) == 5 {
			words = append(words, "...")
			break
		}
		words = append(words, shorten(b.Protocol+" "+b.Information))
	}
	return strings.Join(words, ", ")
}

// place puts the layers of all files into the trees of their sites.
func (b *builder) place() {
	for _, p := range b.placed {
		s := p.owner
		if s == nil && p.site == "" {
			b.serverRoot.layers = append(b.serverRoot.layers, p.layer)
			continue
		}
		if s == nil {
			s = b.byName[strings.ToLower(p.site)]
		} else if s.same != nil {
			s = s.same
		}
		if s == nil {
			b.rep.warn(CodeNoSite, p.source, "", "the settings are of a site %q, which is not there", shorten(p.site))
			continue
		}
		if parts := segments(p.path); len(parts) > maxSegments {
			b.rep.warn(CodeBadValue, p.source, "", "the settings are of a path with more than %d parts; it is closed from there on", maxSegments)
			p.path, p.layer = strings.Join(parts[:maxSegments], "/"), &layer{rank: p.layer.rank, changes: []change{{
				section: Section{Name: "location", Source: p.source},
				unknown: []UnknownPart{{Section: "location", What: "a path that is too long", Source: p.source}},
			}}}
		}
		if s.settings == nil {
			s.settings = &scope{}
		}
		if p.layer.rank > 0 {
			b.applyLocks(p.layer, joinScope(s.Name, p.path))
		}
		node := s.settings.at(p.path)
		node.layers = append(node.layers, p.layer)
	}
	b.serverRoot.sort()
	base := merge(nil, b.serverRoot.layers, true)
	b.server.Settings = base
	for _, c := range b.serverRoot.configured("", nil) {
		b.server.Configured = c.Sections
	}
	if base != nil {
		b.rep.findings = append(b.rep.findings, base.Findings...)
	}
	for _, s := range b.server.Sites {
		s.base = base
		if s.settings == nil {
			continue
		}
		s.settings.sort()
		for _, app := range s.Applications {
			if app.Path != "/" {
				s.settings.at(app.Path).app = true
			}
		}
		s.Configured = s.settings.configured("", nil)
	}
}

// join finds the record of HTTP.sys for every https binding.
func (b *builder) join() {
	index := b.records()
	for _, s := range b.server.Sites {
		for _, bound := range s.Bindings {
			if !bound.IsHTTPS() || bound.Parsed == nil {
				continue
			}
			b.joinBinding(s, bound, index)
		}
	}
	if len(index) == 0 {
		b.noRecords()
		return
	}
	for _, rec := range b.server.Certificates {
		if rec.Bindings == 0 {
			b.rep.info(CodeUnusedRecord, rec.Source, "no https binding of a site uses the certificate record %s", rec.Key)
		}
	}
}

type recordKey struct {
	kind RecordKind
	key  string
}

func (b *builder) records() map[recordKey]*CertificateRecord {
	index := make(map[recordKey]*CertificateRecord, len(b.server.Certificates))
	kept := b.server.Certificates[:0]
	for _, rec := range b.server.Certificates {
		key := recordKey{rec.Kind, rec.Key}
		if have := index[key]; have != nil {
			if have.Hash != rec.Hash {
				b.rep.warn(CodeConflict, rec.Source, "copy the output once more",
					"the record %s has another certificate at %s; the first is kept", rec.Key, have.Source)
			}
			continue
		}
		index[key] = rec
		kept = append(kept, rec)
	}
	b.server.Certificates = kept
	return index
}

// keysOf returns the records that a binding may use. sslFlags decide (IIS 8): without
// bits it is the address and port, with bit 1 the name, with bit 2 the central store.
// Neither of the last two knows an address.
func keysOf(bound *Binding) []recordKey {
	p := bound.Parsed
	switch {
	case bound.SSLFlags&binding.FlagCentralStore != 0:
		port := strconv.FormatUint(uint64(p.Port), 10)
		return []recordKey{{RecordScopedCentralStore, p.Host + ":" + port}, {RecordCentralStore, port}}
	case bound.SSLFlags&binding.FlagSNI != 0:
		return []recordKey{{RecordHostnamePort, p.Host + ":" + strconv.FormatUint(uint64(p.Port), 10)}}
	}
	return []recordKey{{RecordIPPort, ipKey(p.IP, p.Port)}}
}

func (b *builder) joinBinding(s *Site, bound *Binding, index map[recordKey]*CertificateRecord) {
	keys := keysOf(bound)
	for _, key := range keys {
		rec := index[key]
		if rec == nil {
			continue
		}
		rec.Bindings++
		bound.Record = rec
		switch {
		case bound.CertificateHash == "":
			bound.CertificateHash = rec.Hash
			bound.StoreName = cmp.Or(bound.StoreName, rec.StoreName)
		case rec.Hash != "" && rec.Hash != bound.CertificateHash:
			b.rep.warn(CodeConflict, bound.Source, "HTTP.sys serves the certificate of the record",
				"the binding %s of the site %s names the certificate %s, the record %s (%s) has %s",
				bound.Information, s.Name, bound.CertificateHash, rec.Key, rec.Source, rec.Hash)
		}
		return
	}
	if len(index) > 0 && bound.CertificateHash == "" && keys[0].kind != RecordScopedCentralStore {
		b.rep.warn(CodeCertificate, bound.Source, "choose a certificate for it",
			"the https binding %s of the site %s has no record %s of the kind %s, so no certificate of its own",
			bound.Information, s.Name, keys[0].key, keys[0].kind)
	}
}

// noRecords says once that the certificates are missing, if any binding needs them.
func (b *builder) noRecords() {
	count := 0
	for _, s := range b.server.Sites {
		for _, bound := range s.Bindings {
			switch {
			case !bound.IsHTTPS() || bound.CertificateHash != "":
			case s.kind == Metabase || s.kind == Adsutil:
				b.rep.warn(CodeCertificate, bound.Source, "choose a certificate for it",
					"the secure binding %s of the site %s has no certificate: SSLCertHash is not set", bound.Information, s.Name)
			default:
				count++
			}
		}
	}
	if count > 0 {
		b.rep.warn(CodeCertificate, Source{}, "give the output of: netsh http show sslcert",
			"%d https bindings have no certificate: IIS 7 and later do not keep it in their configuration", count)
	}
}

// SiteByName returns the site of a name, which IIS compares without case; nil if there
// is none.
func (s *Server) SiteByName(name string) *Site {
	i := slices.IndexFunc(s.Sites, func(site *Site) bool { return strings.EqualFold(site.Name, name) })
	if i < 0 {
		return nil
	}
	return s.Sites[i]
}

// Protocols counts the bindings of all sites by protocol, in lower case.
func (s *Server) Protocols() map[string]int {
	out := make(map[string]int)
	for _, site := range s.Sites {
		for _, b := range site.Bindings {
			out[strings.ToLower(b.Protocol)]++
		}
	}
	return out
}
