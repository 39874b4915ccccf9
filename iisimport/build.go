package iisimport

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// Site is a site of the plan.
type Site struct {
	ID       uint32
	Name     string
	Comments []string
	Stopped  bool
	Bindings []*Binding

	source *iisconfig.Site
	left   []string // comments on what was left out
	access []*Directive
	body   []*Directive

	template *Template // that has the body; nil if the site has its own
	vars     []slot    // in what the site differs from others of the template
}

// Binding is a binding of the plan.
type Binding struct {
	Parsed   binding.Binding
	Flags    binding.Flags
	Comments []string

	source *iisconfig.Binding
	rec    *record // of an https binding
}

// Certificate is a certificate of the plan.
type Certificate struct {
	Name       string
	Thumbprint string // upper case; empty if it is not known
	File       string
	KeyFile    string
	PFX        bool
	Missing    bool   // there is no such file yet
	Store      string // of Windows, where it stays; empty for a file
	Comments   []string

	noPassword bool
	encrypted  bool
	subject    string // empty if it is not known
	hint       string // the first that it is for
	several    bool   // it is for others, too
}

// CentralStore is the central certificate store of the plan.
type CentralStore struct {
	Path     string
	Password bool
	Poll     uint32 // seconds
	Comments []string
}

// Endpoint is the certificate of an address and port without a binding.
type Endpoint struct {
	Address     string
	Certificate *Certificate
	Comments    []string

	settings tlsSettings
	ip       netip.Addr
	port     uint16
}

// tlsSettings are those of a record beside sslFlags.
type tlsSettings struct {
	noTLS12   bool
	clientCAs string // the file with the authorities, if client certificates are asked for
}

// record is what HTTP.sys keeps once for all bindings that share it.
type record struct {
	key         string
	kind        binding.Flags // the two bits that choose the record
	bindings    []*Binding
	sites       []*Site
	netsh       *iisconfig.CertificateRecord
	hash        string
	flags       binding.Flags
	settings    tlsSettings
	certificate *Certificate
}

// names gives things names of their own: x, x-2, x-3.
type names struct {
	taken map[string]bool
	last  map[string]int
}

func (n *names) unused(name string) string {
	if n.taken == nil {
		n.taken, n.last = make(map[string]bool), make(map[string]int)
	}
	own := name
	for i := max(n.last[name], 1); n.taken[own]; {
		i++
		own, n.last[name] = fmt.Sprintf("%s-%d", name, i), i
	}
	n.taken[own] = true
	return own
}

type builder struct {
	plan    *Plan
	server  *iisconfig.Server
	records map[string]*record
	order   []*record
	byHash  map[string]*Certificate
	names   names // of certificates

	unknowns     map[string]*Certificate // by what they are for
	unknownFiles names

	templateNames names

	fastProgram *iisconfig.FastCGI // that Options.FastCGI stands for

	serviceNames names
	ports        map[string]bool // that services may not have
	caFile       string
	asking       map[uint16]bool // ports whose endpoint asks for client certificates

	exportTold, unknownTold bool // what to do about missing certificates is said once

	listenIPs []netip.Addr // as Plan.Listen
}

// findings takes over what reading has shown.
func (b *builder) findings() {
	for _, f := range b.server.Findings {
		if f.Code == iisconfig.CodeUnusedRecord {
			continue // endpoints says what becomes of it
		}
		if f.Code == iisconfig.CodeIgnored && f.Source.File != "" && f.Source.Scope == "" {
			b.plan.Report.stock(f.Source, f.Message)
			continue
		}
		outcome := Decide
		if f.Severity == binding.Info || f.Code == iisconfig.CodeIgnored {
			outcome = Dropped
		}
		b.plan.Report.add(outcome, f.Source, f.Code, f.Fix, "%s", f.Message)
	}
	for _, problem := range certificateProblems(b.plan.opts.Certificates) {
		if isAuthorities(problem.File) {
			continue // it has no private key, and needs none
		}
		b.plan.Report.decide(iisconfig.Source{File: problem.File}, "certificate file", "", "it cannot be used: %v", problem.Err)
	}
}

// listen takes over the addresses that HTTP.sys listens on.
func (b *builder) listen() {
	rep := b.plan.Report
	if b.server.ListenRead && len(b.server.Listen) == 0 {
		rep.dropped(iisconfig.Source{}, "netsh http show iplisten", "the list is empty: IIS listens on all addresses, as Caddy does")
	}
	for _, l := range b.server.Listen {
		what := "iplisten " + l.Address.String()
		if l.Address.IsUnspecified() {
			b.plan.Listen = nil
			b.listenIPs = nil
			rep.decide(l.Source, what, "write listen with single addresses into the block iis if it shall not listen on all",
				"IIS listens on all addresses of this family; Caddy listens on all addresses")
			return
		}
		if text := l.Address.String(); !slices.Contains(b.plan.Listen, text) {
			b.plan.Listen = append(b.plan.Listen, text)
			b.listenIPs = append(b.listenIPs, l.Address)
			rep.translated(l.Source, what, "listen %s, an address that the machine must have", text)
		}
	}
}

func certificateProblems(c *Certificates) []Problem {
	if c == nil {
		return nil
	}
	return c.Problems
}

// sites makes the sites with their bindings, in the order of their ids.
func (b *builder) sites() {
	taken := make(map[uint32]bool)
	highest := uint32(0)
	for _, s := range b.server.Sites {
		highest = max(highest, s.ID)
	}
	for _, s := range b.server.Sites {
		site := &Site{ID: s.ID, Name: s.Name, source: s}
		if !expressible(s.Name) {
			site.Name = strings.NewReplacer("{", "(", "}", ")").Replace(prose(s.Name))
			b.plan.Report.decide(s.Source, fmt.Sprintf("site %q", s.Name), "", "its name has no form in a Caddyfile: it is %q here", site.Name)
		}
		if s.ID == 0 || taken[s.ID] {
			site.ID = binding.FreeID(highest, func(id uint32) bool { return taken[id] })
			highest = max(highest, site.ID)
			b.plan.Report.decide(s.Source, fmt.Sprintf("site %q", s.Name), "", "it has no id of its own; it is site %d here", site.ID)
		}
		taken[site.ID] = true
		b.plan.Sites = append(b.plan.Sites, site)
	}
	slices.SortFunc(b.plan.Sites, func(x, y *Site) int { return cmp.Compare(x.ID, y.ID) })
	for _, s := range b.plan.Sites {
		b.site(s)
	}
}

func (b *builder) site(s *Site) {
	rep := b.plan.Report
	rep.translated(s.source.Source, fmt.Sprintf("site %q", s.Name), "site %d", s.ID)
	if s.source.Source.File != "" {
		s.Comments = append(s.Comments, s.source.Source.String())
	}
	switch {
	case strings.EqualFold(s.source.State, "stopped"):
		s.Stopped = true
		s.access = append(s.access, directive("autostart", "off").because("It was stopped."))
	case !s.source.AutoStart:
		s.Stopped = true
		s.access = append(s.access, directive("autostart", "off"))
	}
	for _, in := range s.source.Bindings {
		b.binding(s, in)
	}
}

// usable tells whether a binding can be written into a Caddyfile.
func usable(in *iisconfig.Binding) bool {
	return in.Parsed != nil && !strings.ContainsAny(in.Parsed.Host, "{}")
}

func (b *builder) binding(s *Site, in *iisconfig.Binding) {
	what := "binding " + in.Protocol + " " + in.Information
	if !usable(in) {
		why := "it is not one of the web server"
		if in.HTTP {
			why = cmp.Or(in.Problem, "its host cannot be")
		}
		s.left = append(s.left, what+": left out, "+why)
		if in.HTTP && in.Problem == "" {
			b.plan.Report.decide(in.Source, what, "", "%s", why)
		}
		return // the findings have the others
	}
	out := &Binding{Parsed: *in.Parsed, Flags: in.SSLFlags, source: in}
	s.Bindings = append(s.Bindings, out)
	if !in.IsHTTPS() {
		out.Flags = 0
		b.plan.Report.translated(in.Source, what, "binding http %s", out.Parsed)
		return
	}
	b.flags(out, what)
	b.share(s, out)
	b.plan.Report.translated(in.Source, what, "binding https %s, sslFlags %s", out.Parsed, out.Flags)
}

const allFlags = binding.FlagSNI | binding.FlagCentralStore | binding.FlagNoHTTP2 | binding.FlagNoOCSP |
	binding.FlagNoQUIC | binding.FlagNoTLS13 | binding.FlagNoLegacyTLS

// flags takes out of sslFlags what cannot be.
func (b *builder) flags(out *Binding, what string) {
	if unknown := out.Flags &^ allFlags; unknown != 0 {
		b.plan.Report.decide(out.source.Source, what, "", "no version of IIS gives the bits %d of sslFlags a meaning; they are left out", uint16(unknown))
		out.Flags &= allFlags
	}
	if chosen := binding.FlagSNI | binding.FlagCentralStore; out.Parsed.Host == "" && out.Flags&chosen != 0 {
		b.plan.Report.decide(out.source.Source, what, "give the binding a host",
			"sslFlags choose the certificate by name, but the binding has no host; it has a certificate by address and port here")
		out.Comments = append(out.Comments, fmt.Sprintf("sslFlags were %s, which needs a host.", out.Flags))
		out.Flags &^= chosen
	}
}

// share joins a binding to the record that it has in HTTP.sys.
func (b *builder) share(s *Site, out *Binding) {
	p := out.Parsed
	port := strconv.Itoa(int(p.Port))
	var key string
	var kind binding.Flags
	switch {
	case out.Flags&binding.FlagCentralStore != 0:
		key, kind = "ccs:"+port, binding.FlagCentralStore
	case out.Flags&binding.FlagSNI != 0:
		key, kind = p.Host+":"+port, binding.FlagSNI
	default:
		key = endpointText(p.IP, p.Port)
	}
	rec := b.records[key]
	if rec == nil {
		rec = &record{key: key, kind: kind}
		b.records[key] = rec
		b.order = append(b.order, rec)
	}
	rec.bindings = append(rec.bindings, out)
	rec.sites = append(rec.sites, s)
	out.rec = rec
}

// endpointText writes an address and port as the option endpoint takes it.
func endpointText(ip netip.Addr, port uint16) string {
	p := strconv.Itoa(int(port))
	switch {
	case !ip.IsValid() || ip == netip.IPv4Unspecified():
		return "*:" + p
	case ip.Is6():
		return "[" + ip.String() + "]:" + p
	}
	return ip.String() + ":" + p
}

// centralStore takes over the central certificate store, if a binding uses it.
func (b *builder) centralStore() {
	in := b.server.CentralStore
	var first *record
	for _, rec := range b.order {
		if rec.kind == binding.FlagCentralStore {
			first = rec
			break
		}
	}
	if first == nil {
		if in != nil && in.Enabled {
			b.plan.Report.dropped(in.Source, "central certificate store", "no binding uses it")
		}
		return
	}
	store := &CentralStore{Path: "central"}
	b.plan.CentralStore = store
	if in == nil || in.Location == "" {
		b.plan.Report.decide(first.bindings[0].source.Source, "central certificate store",
			"put its files into the folder central, or name another one",
			"the settings of the central store are not among the files: export HKLM\\SOFTWARE\\Microsoft\\IIS\\CentralCertProvider")
		store.Comments = append(store.Comments, "The folder is not known: put the files of the central store here.")
		store.Password = true
		return
	}
	if folder := literal(b.plan.opts.folder(in.Location)); expressible(folder) {
		store.Path = folder
	} else {
		b.plan.Report.decide(in.Source, "central certificate store", "put its files into the folder central, or name another one", "the folder %s has no form in a Caddyfile", in.Location)
	}
	store.Password, store.Poll = in.HasKeyPassword, in.PollingInterval
	store.Comments = append(store.Comments, "On the IIS server: "+in.Location)
	if in.HasKeyPassword {
		store.Comments = append(store.Comments, "IIS keeps the password encrypted: set the environment variable IIS_CENTRAL_STORE_PASSWORD.")
	}
	b.plan.Report.translated(in.Source, "central certificate store", "central_store %s", store.Path)
	if in.UserName != "" {
		b.plan.Report.decide(in.Source, "account "+in.UserName, "give the user that Caddy runs as access to the folder",
			"Caddy reads the central store with its own account")
	}
}
