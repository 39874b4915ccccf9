package binding

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/paged"
)

// Compile builds the tables for sites and endpoints. Sites are taken in the order
// of their ids, which is the order in which IIS starts them.
//
// All conflicts are collected: the error is a *ConflictError, and the findings
// have the same conflicts with their codes, and the warnings. The tables are nil
// if there is an error.
func Compile(sites []Site, endpoints []Endpoint, opts Options) (*Tables, []Finding, error) {
	live, held := splitHeld(sites)
	c := newCompiler(live, opts)
	c.addSites()
	c.addEndpoints(endpoints)
	c.eachBinding(c.addRecord)
	c.finishRecords()
	c.route()
	c.eachBinding(c.assignRecord)
	c.addHeld(held)
	c.t.records = paged.Of(c.records)
	c.buildFronts()
	c.lint(endpoints)
	findings, err := c.report.result()
	if err != nil {
		return nil, findings, err
	}
	c.prepareUpdates()
	return c.t, findings, nil
}

// compiler is the state of one Compile. Each phase is a method; a binding that
// one phase refuses is left out of the others.
type compiler struct {
	opts    Options
	sites   []*Site      // in order of ID
	entries []*SiteEntry // likewise
	report  *reporter
	t       *Tables

	invalid map[*BindingEntry]bool
	room    room[Record]
	records []*Record // by Index
	makers  []maker   // by Record.Index
	claims  map[uint16]*claims
	// The records with an endpoint of the configuration.
	endpoints map[*Record]bool
	last      [2]lastPort // by Protocol
	heldWaits bool        // sites that are held back would have more if others went
}

// lastPort remembers the port that was asked for last: most bindings are on two
// of them.
type lastPort struct {
	port  uint16
	table *portTable
}

func newCompiler(sites []Site, opts Options) *compiler {
	c := &compiler{
		opts:      opts,
		sites:     make([]*Site, len(sites)),
		report:    newReporter(opts.MaxFindings),
		claims:    make(map[uint16]*claims),
		endpoints: make(map[*Record]bool),
		t:         &Tables{opts: opts, listen: newListenList(opts.Listen)},
	}
	for i := range sites {
		c.sites[i] = &sites[i]
	}
	byID := func(a, b *Site) int { return cmp.Compare(a.ID, b.ID) }
	if !slices.IsSortedFunc(c.sites, byID) {
		slices.SortStableFunc(c.sites, byID)
	}
	for p := range c.t.ports {
		c.t.ports[p] = make(map[uint16]*portTable)
	}
	return c
}

// addSites makes the entries of sites and bindings.
func (c *compiler) addSites() {
	c.entries = make([]*SiteEntry, len(c.sites))
	var entries room[SiteEntry]
	var bindings room[BindingEntry]
	for i, s := range c.sites {
		entry := &entries.take(1)[0]
		*entry = newSiteEntry(s, i)
		c.entries[i] = entry
		c.checkID(i)
		entry.Bindings = bindings.take(len(s.Bindings))
		for j := range s.Bindings {
			c.addBinding(entry, j, &s.Bindings[j])
		}
		c.checkRepeats(entry)
	}
	c.t.sites = newSiteList(c.entries)
}

func newSiteEntry(s *Site, slot int) SiteEntry {
	entry := SiteEntry{Index: slot, ID: s.ID, Name: s.Name, partly: s.Partly, State: State{Started: !s.Stopped}}
	if s.Stopped {
		entry.State.Reason = "the site is set not to start"
	}
	return entry
}

func (c *compiler) checkID(i int) {
	entry := c.entries[i]
	switch {
	case entry.ID == 0:
		c.report.add(Error, CodeBadSite, func() Finding {
			return Finding{Message: siteLabel(entry) + " has no id", Fix: "give it an id from 1 on"}
		})
	case i > 0 && c.entries[i-1].ID == entry.ID:
		c.report.add(Error, CodeBadSite, func() Finding {
			return Finding{
				Site:    entry.ID,
				Message: fmt.Sprintf("%s and %s have the same id", siteLabel(c.entries[i-1]), siteLabel(entry)),
				Fix:     "give each site its own id",
			}
		})
	}
}

func newBindingEntry(site *SiteEntry, in *SiteBinding) BindingEntry {
	b := BindingEntry{
		Site: site, Binding: in.Binding, Flags: in.Flags, Certificate: in.Certificate, TLS: in.TLS,
	}
	b.IP = unassigned(b.IP)
	return b
}

func (c *compiler) addBinding(site *SiteEntry, i int, in *SiteBinding) {
	entry := &site.Bindings[i]
	*entry = newBindingEntry(site, in)
	code, problem, fix := c.opts.checkBinding(entry)
	if problem == "" {
		return
	}
	c.refuse(entry)
	c.report.add(Error, code, func() Finding {
		return about(entry, bindingLabel(entry)+" "+problem, fix)
	})
}

// refuse keeps a binding out of the phases that follow.
func (c *compiler) refuse(b *BindingEntry) {
	if c.invalid == nil {
		c.invalid = make(map[*BindingEntry]bool)
	}
	c.invalid[b] = true
}

// checkBinding tells what makes a binding impossible by itself.
func (o *Options) checkBinding(b *BindingEntry) (code, problem, fix string) {
	if b.Port == 0 {
		return CodeBadBinding, "has no port", "use a port from 1 to 65535"
	}
	if b.Host != "" {
		if why := checkHost(b.Host); why != "" {
			return CodeBadBinding, "has a host that " + why, "accepted: " + acceptedHost
		}
	}
	if b.Protocol != HTTPS {
		if b.Flags != 0 || b.Certificate != "" {
			return CodeBadFlags, "has sslFlags or a certificate, which only https bindings have", "remove them, or make it an https binding"
		}
		return "", "", ""
	}
	if err := (b.Flags &^ FlagReject).Validate(); err != nil {
		return CodeBadFlags, "has bad flags: " + err.Error(), "use the sum of the bits that are meant"
	}
	return o.checkKind(b)
}

// checkKind holds what SNI and the central store ask of a binding: both choose by
// name, so IIS insists on a host.
func (o *Options) checkKind(b *BindingEntry) (code, problem, fix string) {
	kind := b.Flags.kind()
	switch {
	case b.Flags.rejects() && (b.Certificate != "" || kind == RecordStore):
		return CodeBadFlags, "refuses its clients, and has a certificate for them", "remove one of them"
	case kind == RecordIPPort:
		return "", "", ""
	case b.Host == "" && kind == RecordStore:
		return CodeBadFlags, "takes its certificate from the central store, but has no host to choose the file by",
			"add a host to the binding, or give it a certificate instead of the central store"
	case b.Host == "":
		return CodeBadFlags, "asks for SNI, but has no host that a client could send",
			"add a host to the binding, or remove sni"
	case kind == RecordHostnamePort:
		return "", "", ""
	case !o.CentralStore:
		return CodeBadFlags, "takes its certificate from the central store, but there is none",
			"configure a central store, or give the binding a certificate"
	case b.Certificate != "":
		return CodeBadFlags, fmt.Sprintf("takes its certificate from the central store and also has certificate %q", b.Certificate),
			"remove the certificate, or the flag of the central store"
	}
	return "", "", ""
}

// checkRepeats refuses the same binding twice in one site: IIS cannot even load
// such a configuration ("Cannot add duplicate collection entry").
func (c *compiler) checkRepeats(site *SiteEntry) {
	for _, b := range repeats(site.Bindings) {
		c.refuse(b)
		c.report.add(Error, CodeDuplicateBinding, func() Finding {
			return about(b, bindingLabel(b)+" is there twice in the same site", "remove one of them")
		})
	}
}

// repeats returns the bindings that are there before in the list.
func repeats(bindings []BindingEntry) []*BindingEntry {
	const few = 16 // comparing each with each beats a map up to here
	var repeated []*BindingEntry
	if len(bindings) > few {
		seen := make(map[Binding]bool, len(bindings))
		for i := range bindings {
			if seen[bindings[i].Binding] {
				repeated = append(repeated, &bindings[i])
			}
			seen[bindings[i].Binding] = true
		}
		return repeated
	}
	for i := range bindings {
		if slices.ContainsFunc(bindings[:i], func(o BindingEntry) bool { return o.Binding == bindings[i].Binding }) {
			repeated = append(repeated, &bindings[i])
		}
	}
	return repeated
}

// addEndpoints makes the records of endpoints, before those of any site.
func (c *compiler) addEndpoints(endpoints []Endpoint) {
	for i := range endpoints {
		e := endpoints[i]
		e.IP = unassigned(e.IP)
		who := owner{endpoint: &e}
		if e.Port == 0 {
			c.endpointError(who, "has no port", "use a port from 1 to 65535")
			continue
		}
		if e.Reject && e.Certificate != "" {
			c.endpointError(who, "rejects its clients, and has a certificate for them", "remove one of them")
			continue
		}
		slot := &c.scope(HTTPS, e.IP, e.Port).record
		if *slot != nil {
			c.endpointError(who, "is there twice", "remove one of them")
			continue
		}
		rec := c.newRecord(Record{Kind: RecordIPPort, IP: e.IP, Port: e.Port, Certificate: e.Certificate, TLS: e.TLS}, who)
		if e.Reject {
			rec.Flags = FlagReject
			c.makers[rec.Index].flags = who
		}
		*slot = rec
		c.endpoints[rec] = true
		if e.SNIMissing != nil {
			rec.SNIMissing = *e.SNIMissing
		}
		if e.SNIUnmatched != nil {
			rec.SNIUnmatched = *e.SNIUnmatched
		}
		if e.Certificate != "" || e.Reject {
			c.claim(e.Port)[HTTPS].add(e.IP, who)
		}
	}
}

func (c *compiler) endpointError(who owner, problem, fix string) {
	c.report.add(Error, CodeBadEndpoint, func() Finding {
		return Finding{Message: who.String() + " " + problem, Fix: fix}
	})
}

// eachBinding calls f for every valid binding in order of site id.
func (c *compiler) eachBinding(f func(b *BindingEntry)) {
	for b := range c.t.Bindings() {
		if !c.invalid[b] {
			f(b)
		}
	}
}

func (c *compiler) port(p Protocol, port uint16) *portTable {
	last := &c.last[p]
	if last.table != nil && last.port == port {
		return last.table
	}
	table := c.t.ports[p][port]
	if table == nil {
		table = new(portTable)
		c.t.ports[p][port] = table
	}
	*last = lastPort{port, table}
	return table
}

// scope returns the scope of an address as Binding.IP has it, made if missing.
func (c *compiler) scope(p Protocol, ip netip.Addr, port uint16) *scope {
	table := c.port(p, port)
	switch {
	case !ip.IsValid():
		if table.all == nil {
			table.all = new(scope)
		}
		return table.all
	case ip == netip.IPv6Unspecified():
		if table.v6 == nil {
			table.v6 = new(scope)
		}
		return table.v6
	}
	s := table.concrete[ip]
	if s == nil {
		if table.concrete == nil {
			table.concrete = make(map[netip.Addr]*scope)
		}
		s = new(scope)
		table.concrete[ip] = s
	}
	return s
}

func (c *compiler) claim(port uint16) *claims {
	cl := c.claims[port]
	if cl == nil {
		cl = new(claims)
		c.claims[port] = cl
	}
	return cl
}
