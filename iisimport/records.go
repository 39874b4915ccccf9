package iisimport

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
)

const settingFlags = binding.FlagNoHTTP2 | binding.FlagNoOCSP | binding.FlagNoQUIC | binding.FlagNoTLS13 | binding.FlagNoLegacyTLS

// settleRecords gives each record one certificate and one set of settings, as
// HTTP.sys has them: what was written last counts.
func (b *builder) settleRecords() {
	for _, rec := range b.order {
		b.settle(rec)
	}
	for _, rec := range b.order {
		b.choose(rec)
	}
}

func (b *builder) settle(rec *record) {
	for i, bound := range rec.bindings {
		in := bound.source
		if in.Record != nil {
			rec.netsh = in.Record
		}
		if flags := bound.Flags & settingFlags; i == 0 || flags != rec.flags {
			if i > 0 {
				b.plan.Report.decide(in.Source, "binding "+in.Protocol+" "+in.Information, "give all bindings of the record the same sslFlags",
					"other bindings share the record %s with other sslFlags; HTTP.sys has one record, and the last one counts", rec.key)
			}
			rec.flags = flags
		}
		if h := in.CertificateHash; h != "" {
			if rec.hash != "" && rec.hash != h {
				b.plan.Report.decide(in.Source, "certificate "+strings.ToUpper(h), "see that this is the right one",
					"the record %s had the certificate %s before; HTTP.sys has one, and the last one counts", rec.key, strings.ToUpper(rec.hash))
				bound.Comments = append(bound.Comments, "Conflict: an earlier site had the certificate "+strings.ToUpper(rec.hash)+" for this address and port.")
			}
			rec.hash = h
		}
		b.clientCertificates(rec, rec.sites[i])
	}
	if rec.netsh != nil {
		b.netshSettings(rec)
	}
	for _, bound := range rec.bindings {
		bound.Flags = bound.Flags&^settingFlags | rec.flags
	}
}

// clientCertificates: sites that want client certificates are asked for in the
// handshake, by the record.
func (b *builder) clientCertificates(rec *record, s *Site) {
	a := s.source.At("/").Access
	if a == nil || a.SSLFlags&(iisconfig.AccessNegotiateCert|iisconfig.AccessRequireCert) == 0 {
		return
	}
	rec.settings.clientCAs = b.authorities()
}

func (b *builder) authorities() string {
	if b.caFile == "" {
		file := path.Join(b.plan.opts.CertificateFolder, authoritiesFile)
		b.caFile = literal(file)
		if b.hasFile(file) {
			b.plan.Report.translated(iisconfig.Source{File: file}, "authorities of client certificates", "trust_pool of client_auth")
			return b.caFile
		}
		b.plan.Report.decide(iisconfig.Source{}, "client certificates", "export the authorities from the stores Root and CA of the IIS server",
			"put the certificates of the authorities that issue client certificates into %s", b.caFile)
	}
	return b.caFile
}

func isSet(b *bool) bool { return b != nil && *b }

// netshSettings takes over what a record of HTTP.sys says beside its certificate.
func (b *builder) netshSettings(rec *record) {
	n, rep := rec.netsh, b.plan.Report
	what := "record " + n.Key
	if n.Hash != "" {
		rec.hash = n.Hash
	}
	for _, f := range []struct {
		set  *bool
		flag binding.Flags
	}{
		{n.DisableHTTP2, binding.FlagNoHTTP2},
		{n.DisableOCSPStapling, binding.FlagNoOCSP},
		{n.DisableQUIC, binding.FlagNoQUIC},
		{n.DisableTLS13, binding.FlagNoTLS13},
		{n.DisableLegacyTLS, binding.FlagNoLegacyTLS},
	} {
		if isSet(f.set) {
			rec.flags |= f.flag
		}
	}
	rec.settings.noTLS12 = isSet(n.DisableTLS12)
	if rec.settings.noTLS12 && rec.flags&binding.FlagNoTLS13 != 0 {
		rec.settings.noTLS12 = false
		rep.decide(n.Source, what, "", "it forbids TLS 1.2 and 1.3; TLS 1.2 is left on here")
	}
	if isSet(n.NegotiateClientCert) {
		rec.settings.clientCAs = b.authorities()
	}
	if isSet(n.RejectConnections) {
		rep.decide(n.Source, what, "", "it rejects connections: write reject into the bindings or the endpoint, in place of the certificate")
	}
	for _, o := range []struct {
		set  bool
		text string
	}{
		{isSet(n.DSMapper), "DS Mapper Usage: there are no Windows accounts"},
		{n.CTLIdentifier != "" || n.CTLStoreName != "", "a certificate trust list: trust_pool of client_auth takes its place"},
		{isSet(n.VerifyRevocation) && rec.settings.clientCAs != "", "revocation of client certificates: a verifier of client_auth does it"},
	} {
		if o.set {
			rep.decide(n.Source, what, "", "no equivalent for %s", o.text)
		}
	}
}

// choose finds the certificate of a record.
func (b *builder) choose(rec *record) {
	switch {
	case rec.kind == binding.FlagCentralStore:
	case rec.hash != "":
		rec.certificate = b.certificate(rec.hash, rec.store(), rec.hint(), rec.source())
	case b.fallsBack(rec):
		b.passOn(rec)
		rec.settings = tlsSettings{}
		for _, bound := range rec.bindings {
			bound.Flags &^= settingFlags
			bound.Comments = append(bound.Comments, "It had no certificate of its own: clients get that of the address and port.")
		}
	default:
		rec.certificate = b.unknown(rec)
	}
}

// fallsBack tells whether a record without certificate leaves its clients to the
// one of all addresses.
func (b *builder) fallsBack(rec *record) bool {
	port := rec.bindings[0].Parsed.Port
	general := fmt.Sprintf("*:%d", port)
	if other := b.records[general]; other != nil && other != rec {
		return other.hash != ""
	}
	return slices.ContainsFunc(b.server.Certificates, func(n *iisconfig.CertificateRecord) bool {
		return n.Kind == iisconfig.RecordIPPort && n.Hash != "" && n.Key == fmt.Sprintf("0.0.0.0:%d", port)
	})
}

// passOn has the record of all addresses ask for the client certificates that a
// record without certificate should.
func (b *builder) passOn(rec *record) {
	if rec.settings.clientCAs == "" {
		return
	}
	port := rec.bindings[0].Parsed.Port
	if general := b.records[fmt.Sprintf("*:%d", port)]; general != nil {
		general.settings.clientCAs = rec.settings.clientCAs
		return
	}
	b.asking[port] = true
}

func (r *record) hint() string {
	for _, bound := range r.bindings {
		if h := bound.Parsed.Host; h != "" {
			return h
		}
	}
	first := r.bindings[0].Parsed
	if first.IP.IsValid() && !first.IP.IsUnspecified() {
		return fmt.Sprintf("default-%s-%d", first.IP, first.Port)
	}
	return fmt.Sprintf("default-%d", first.Port)
}

func (r *record) source() iisconfig.Source {
	if r.netsh != nil {
		return r.netsh.Source
	}
	return r.bindings[len(r.bindings)-1].source.Source
}

// store is the name of the store that the certificate of a record is in.
func (r *record) store() string {
	if r.netsh != nil && r.netsh.Hash != "" {
		return r.netsh.StoreName
	}
	for _, bound := range slices.Backward(r.bindings) {
		if bound.source.CertificateHash == r.hash {
			return bound.source.StoreName
		}
	}
	return ""
}

// certificate returns the certificate with a hash, which may be one of SHA-256.
func (b *builder) certificate(hash, store, hint string, src iisconfig.Source) *Certificate {
	c := b.byHash[hash]
	if c != nil {
		c.several = c.several || c.hint != hint
		return c
	}
	c = &Certificate{hint: hint}
	if len(hash) == 40 {
		c.Thumbprint = strings.ToUpper(hash)
	}
	b.byHash[hash] = c
	b.plan.Certificates = append(b.plan.Certificates, c)
	if f, ok := b.plan.opts.Certificates.lookup(hash); ok {
		c.File, c.KeyFile, c.PFX, c.noPassword, c.encrypted = literal(f.File), literal(f.KeyFile), f.PFX, f.noPassword, f.encrypted
		c.subject = f.Subject
		about := "thumbprint " + strings.ToUpper(hash)
		if f.Subject != "" {
			about = f.Subject + ", " + about
		}
		c.Comments = []string{about}
		b.plan.Report.translated(src, "certificate "+strings.ToUpper(hash), "file %s", c.File)
		return c
	}
	if store = cmp.Or(store, "My"); b.plan.opts.WindowsStore && c.Thumbprint != "" && expressible(literal(store)) { // as HTTP.sys has it
		c.Store = store
		c.Comments = []string{"Its thumbprint names this one certificate. With subject in its place, renewals are found as well."}
		b.plan.Report.translated(src, "certificate "+c.Thumbprint, "the store %s of Windows, where it stays", c.Store)
		return c
	}
	c.Missing, c.PFX = true, true
	c.File = literal(path.Join(b.plan.opts.CertificateFolder, strings.ToUpper(hash)+".pfx"))
	if !b.exportTold {
		b.exportTold = true
		c.Comments = []string{
			"Not found: export the certificate with this thumbprint from the IIS server, with its private key and chain, as",
			"the file named here, and so the others that the report names. The password is in the environment variable",
			PasswordVariable + ".",
		}
	}
	b.plan.Report.decide(src, "certificate "+strings.ToUpper(hash), "export it with its private key as "+c.File, "no file has it")
	return c
}

// unknown is the certificate of a record of which not even the hash is known.
func (b *builder) unknown(rec *record) *Certificate {
	hint := rec.hint()
	if c := b.unknowns[hint]; c != nil {
		return c
	}
	name := b.unknownFiles.unused(fileName(hint))
	c := &Certificate{hint: hint, PFX: true, Missing: true, File: literal(path.Join(b.plan.opts.CertificateFolder, name+".pfx"))}
	if !b.unknownTold {
		b.unknownTold = true
		c.Comments = []string{
			"Which certificate this was is not known: give the output of netsh http show sslcert to the import, or put the",
			"certificate into the file named here. So it is with others, which the report names.",
		}
	}
	if b.unknowns == nil {
		b.unknowns = make(map[string]*Certificate)
	}
	b.unknowns[hint] = c
	b.plan.Certificates = append(b.plan.Certificates, c)
	b.plan.Report.decide(rec.source(), "https binding "+rec.bindings[0].Parsed.String(),
		"give the output of netsh http show sslcert, or put the certificate into "+c.File, "its certificate is not known")
	return c
}

var reNoName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// name is made of the subject. Where that is not known, it is the host that the
// certificate is for, or of several the thumbprint tells it.
func (c *Certificate) name() string {
	text := c.subject
	switch {
	case text != "":
	case !c.several || c.Thumbprint == "":
		text = c.hint
	default:
		text = "certificate-" + strings.ToLower(c.Thumbprint[:8])
	}
	return fileName(text)
}

// fileName makes a text a name that any file can have.
func fileName(text string) string {
	return cmp.Or(strings.Trim(reNoName.ReplaceAllString(strings.Replace(text, "*", "wildcard", 1), "-"), "-"), "certificate")
}

// nameCertificates gives each a name of its own.
func (b *builder) nameCertificates() {
	for _, c := range b.plan.Certificates {
		c.Name = b.names.unused(c.name())
	}
}

// endpoints takes over records by address and port that no binding uses, but which
// serve clients on a port of the sites.
func (b *builder) endpoints() {
	ports := make(map[uint16]bool)
	for _, s := range b.plan.Sites {
		for _, bound := range s.Bindings {
			if bound.Parsed.Protocol == binding.HTTPS {
				ports[bound.Parsed.Port] = true
			}
		}
	}
	for _, n := range b.server.Certificates {
		if n.Bindings == 0 {
			b.endpoint(n, ports)
		}
	}
}

func (b *builder) endpoint(n *iisconfig.CertificateRecord, ports map[uint16]bool) {
	rep, what := b.plan.Report, "record "+n.Key
	ip, port, err := binding.ParseEndpoint(n.Key)
	switch {
	case n.Kind != iisconfig.RecordIPPort:
		rep.dropped(n.Source, what, "no binding uses it")
		return
	case err != nil || n.Hash == "" || !ports[port]:
		rep.dropped(n.Source, what, "no site has an https binding on its port: it is of another program")
		return
	}
	text := endpointText(ip, port)
	if rec := b.records[text]; rec != nil {
		return // a binding has it
	}
	rec := &record{key: text, netsh: n}
	b.netshSettings(rec)
	if b.asking[port] && text == fmt.Sprintf("*:%d", port) {
		rec.settings.clientCAs = b.authorities()
	}
	e := &Endpoint{Address: text, ip: ip, port: port, settings: rec.settings}
	e.Certificate = b.certificate(n.Hash, n.StoreName, fmt.Sprintf("default-%d", port), n.Source)
	e.Comments = []string{"No binding uses this record of HTTP.sys: it serves clients without a server name of a binding."}
	if rec.flags != 0 {
		rep.decide(n.Source, what, "", "no equivalent at an endpoint for the settings of sslFlags %s", rec.flags)
	}
	b.plan.Endpoints = append(b.plan.Endpoints, e)
	rep.translated(n.Source, what, "endpoint %s", text)
}

// check asks the rules that Caddy will ask: what is refused is resolved as IIS
// does, and what surprises is shown.
func (b *builder) check() {
	opts := binding.Options{CentralStore: b.plan.CentralStore != nil, MaxFindings: 1000, FirstWins: true, Listen: b.listenIPs}
	tables, _, err := binding.Compile(b.bindingSites(), b.bindingEndpoints(), opts)
	if err == nil {
		for _, s := range b.plan.Sites {
			state, ok := tables.State(s.ID)
			if s.Stopped || !ok || state.Started {
				continue
			}
			s.Stopped = true
			s.access = append(s.access, directive("autostart", "off").because("IIS does not start it: "+state.Reason))
			b.plan.Report.decide(s.source.Source, fmt.Sprintf("site %q", s.Name), "change the binding, or delete the site",
				"IIS does not start it, so it is set not to start here: %s", state.Reason)
		}
	}
	opts.FirstWins = false
	_, findings, _ := binding.Compile(b.bindingSites(), b.bindingEndpoints(), opts)
	b.plan.Report.Findings = findings
}

func (b *builder) bindingSites() []binding.Site {
	out := make([]binding.Site, 0, len(b.plan.Sites))
	for _, s := range b.plan.Sites {
		site := binding.Site{ID: s.ID, Name: s.Name, Stopped: s.Stopped}
		for _, bound := range s.Bindings {
			sb := binding.SiteBinding{Binding: bound.Parsed, Flags: bound.Flags}
			if rec := bound.rec; rec != nil {
				if rec.certificate != nil {
					sb.Certificate = rec.certificate.Name
				}
				sb.TLS = rec.settings.text()
			}
			site.Bindings = append(site.Bindings, sb)
		}
		out = append(out, site)
	}
	return out
}

func (b *builder) bindingEndpoints() []binding.Endpoint {
	var out []binding.Endpoint
	for _, e := range b.plan.Endpoints {
		out = append(out, binding.Endpoint{IP: e.ip, Port: e.port, Certificate: e.Certificate.Name, TLS: e.settings.text()})
	}
	return out
}

// text is equal for equal settings.
func (t tlsSettings) text() string {
	if t == (tlsSettings{}) {
		return ""
	}
	return fmt.Sprintf("%+v", t)
}
