package binding

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/paged"
)

// updatable is what Update has to know about tables beside the tables.
type updatable struct {
	siteSlots   int
	freeSites   []int               // slots without a site
	freeRecords []int               // slots without a record
	makers      *paged.Slice[int32] // by Record.Index: bindings with a certificate, and endpoints
	crowded     map[Binding]bool    // bindings that more than one site wants
	remarked    map[uint32]bool     // sites with findings
	// settled says that there are no findings about more sites than those in
	// remarked, and no conflict that the order of the sites has resolved.
	settled bool
	// heldWaits says that sites that are held back would have more bindings, or a
	// certificate of their own, if others went; heldNames are the names for which they
	// have one.
	heldWaits bool
	heldNames map[nameKey]bool
}

func (u *updatable) crowd(b *BindingEntry) {
	if u.crowded == nil {
		u.crowded = make(map[Binding]bool)
	}
	u.crowded[b.Binding] = true
}

// prepareUpdates notes what Update has to know.
func (c *compiler) prepareUpdates() {
	u := &c.t.updates
	u.siteSlots = c.t.sites.size
	makers := make([]int32, len(c.records))
	for i, m := range c.makers {
		rec := c.records[i]
		rec.inherited = m.tls.endpoint != nil
		rec.lent = c.endpoints[rec] && (m.tls.binding != nil && rec.TLS != "" || m.flags.binding != nil && rec.Flags != 0)
	}
	for rec := range c.endpoints {
		if c.makers[rec.Index].who.endpoint != nil {
			makers[rec.Index]++
		}
	}
	for b := range c.t.Bindings() {
		if makes(b) {
			makers[c.t.own(b).Index]++
		}
	}
	u.remarked = make(map[uint32]bool)
	u.settled = true
	for _, f := range c.report.findings {
		u.remarked[f.Site] = true
		if c.opts.FirstWins || f.Code == CodeShadowed || f.Severity == Info {
			u.settled = false
		}
	}
	for _, b := range c.t.leftOut {
		u.remarked[b.Site.ID] = true
	}
	c.prepareHeld(makers)
	u.makers = paged.Of(makers)
}

// makes reports whether a binding makes the record under its key, or takes part
// in it as one of those who make it.
func makes(b *BindingEntry) bool {
	return b.Protocol == HTTPS && b.brings()
}

// Update returns tables in which the given sites, told apart by their ids, are
// added or take the place of the ones before, and the removed ones are gone.
// All other sites are shared with t, which does not change. The outcome is what
// Compile would make of all sites, with the same findings.
//
// It handles what concerns no other site: the addresses and ports that are
// listened on stay, no record for a whole address comes or goes, nothing
// conflicts and nothing calls for a finding. Otherwise it reports false, and
// Compile has to decide about all sites.
func (t *Tables) Update(changed []Site, removed []uint32) (*Tables, bool) {
	isHeld := func(s Site) bool { return s.HeldBack }
	if !t.updates.settled || slices.ContainsFunc(changed, isHeld) || t.updates.sparse() || len(changed)+len(removed) > maxUpdate(t.sites.size) {
		return nil, false
	}
	u := newUpdate(t)
	for _, id := range removed {
		u.remove(id)
	}
	for i := range changed {
		u.remove(changed[i].ID)
	}
	for i := range changed {
		u.add(&changed[i])
		if u.complex {
			return nil, false
		}
	}
	u.t.sites.finish()
	u.t.records, u.t.updates.makers = u.records.Slice(), u.makers.Slice()
	u.t.changed = slices.Sorted(maps.Keys(u.changed))
	u.assign()
	u.conclude()
	return u.t, !u.complex
}

// sparse reports whether most sites are gone since the tables were compiled,
// which keep room for them.
func (u *updatable) sparse() bool {
	return len(u.freeSites) > 1000 && len(u.freeSites) > u.siteSlots/2
}

// maxUpdate is up to how many differences Update costs less than Compile.
func maxUpdate(sites int) int { return 16 + sites/64 }

// update is the state of one Update.
type update struct {
	t       *Tables
	complex bool // something is for Compile to decide

	records *paged.Edit[*Record]
	makers  *paged.Edit[int32]
	changed map[int]bool // slots of records

	added   []*SiteEntry
	gone    map[uint32]int // slots, by id of sites that were removed
	ports   map[*portTable]bool
	scopes  map[*scope]*scopeEdit
	names   map[*portTable]*indexEdit[*Record]
	orphans map[*Record]bool // records that nobody makes any more
	renamed map[nameKey]bool // names whose records came or went
}

type nameKey struct {
	port uint16
	host string
}

// scopeEdit is a scope that belongs to the new tables alone.
type scopeEdit struct {
	hosts  *indexEdit[*BindingEntry]
	before int // started bindings
}

func newUpdate(old *Tables) *update {
	t := new(Tables)
	*t = *old
	t.sites = old.sites.edit()
	t.updates.freeSites = slices.Clone(old.updates.freeSites)
	t.updates.freeRecords = slices.Clone(old.updates.freeRecords)
	for p := range t.ports {
		t.ports[p] = maps.Clone(old.ports[p])
	}
	return &update{
		t: t, records: old.records.Edit(0), makers: old.updates.makers.Edit(0), changed: make(map[int]bool), gone: make(map[uint32]int),
		ports: make(map[*portTable]bool), scopes: make(map[*scope]*scopeEdit),
		names: make(map[*portTable]*indexEdit[*Record]), orphans: make(map[*Record]bool), renamed: make(map[nameKey]bool),
	}
}

// remove takes a site, if there is one with this id, out of the tables.
func (u *update) remove(id uint32) {
	u.removeHeld(id)
	site, ok := u.t.sites.remove(id)
	if !ok {
		return
	}
	u.complex = u.complex || u.t.updates.heldWaits
	u.gone[id] = site.Index
	if u.t.updates.remarked[id] {
		u.complex = true
	}
	for j := range site.Bindings {
		u.removeBinding(&site.Bindings[j])
	}
}

func (u *update) removeBinding(b *BindingEntry) {
	table := u.port(b.Protocol, b.Port)
	s, edit := u.scope(table, b.IP)
	if u.t.updates.crowded[b.Binding] || s == nil || s.route(b.Host) != b {
		u.complex = true
		return
	}
	if b.Site.State.Started && !b.Site.HeldBack {
		s.started--
	}
	if key, wildcard := split(b.Host); b.Host == "" {
		s.any = nil
	} else if wildcard {
		s.wildcards = maps.Clone(s.wildcards)
		delete(s.wildcards, key)
	} else {
		edit.hosts.remove(b.Host)
	}
	if b.Protocol == HTTPS {
		u.removeMaker(b)
		u.checkQuiet(b)
	}
}

// add puts a site into the tables.
func (u *update) add(s *Site) {
	if s.ID == 0 || u.t.sites.find(s.ID) != nil {
		u.complex = true
		return
	}
	site := new(SiteEntry)
	*site = newSiteEntry(s, u.slot(s.ID))
	u.t.sites.insert(site)
	u.added = append(u.added, site)
	site.Bindings = make([]BindingEntry, len(s.Bindings))
	for j := range s.Bindings {
		b := &site.Bindings[j]
		*b = newBindingEntry(site, &s.Bindings[j])
		if _, problem, _ := u.t.opts.checkBinding(b); problem != "" || !u.t.listen.overlaps(b.IP) {
			u.complex = true
			return
		}
	}
	if len(repeats(site.Bindings)) > 0 {
		u.complex = true
		return
	}
	for j := range site.Bindings {
		if u.addBinding(&site.Bindings[j]); u.complex {
			return
		}
	}
}

// slot returns a slot for a site: the one it had, or a free one.
func (u *update) slot(id uint32) int {
	if slot, ok := u.gone[id]; ok {
		delete(u.gone, id)
		return slot
	}
	free := &u.t.updates.freeSites
	if n := len(*free); n > 0 {
		slot := (*free)[n-1]
		*free = (*free)[:n-1]
		return slot
	}
	u.t.updates.siteSlots++
	return u.t.updates.siteSlots - 1
}

func (u *update) addBinding(b *BindingEntry) {
	table := u.port(b.Protocol, b.Port)
	s, edit := u.scope(table, b.IP)
	if s == nil || s.route(b.Host) != nil || u.t.updates.crowded[b.Binding] {
		u.complex = true
		return
	}
	if b.Site.State.Started {
		s.started++
	}
	if key, wildcard := split(b.Host); b.Host == "" {
		s.any = b
	} else if wildcard {
		s.wildcards = maps.Clone(s.wildcards)
		if s.wildcards == nil {
			s.wildcards = make(map[string]*BindingEntry)
		}
		s.wildcards[key] = b
	} else {
		edit.hosts.set(b)
	}
	if b.Protocol == HTTPS {
		u.addMaker(b)
	}
}

// conclude makes sure that nothing else was touched, and frees what is left over.
func (u *update) conclude() {
	if len(u.orphans) > 0 {
		u.complex = true
	}
	for s, edit := range u.scopes {
		if edit.before == 0 || s.started == 0 {
			u.complex = true // sockets may come or go
		}
	}
	if len(u.renamed) > 0 && u.t.updates.heldWaits {
		u.complex = true
	}
	for key := range u.renamed {
		if u.named(key) {
			u.complex = true
		}
	}
	slots := slices.Sorted(maps.Values(u.gone))
	u.t.updates.freeSites = append(u.t.updates.freeSites, slots...)
}

// port returns the table of a port, made the update's own; nil if there is none.
func (u *update) port(p Protocol, port uint16) *portTable {
	table := u.t.port(p, port)
	if table == nil || u.ports[table] {
		return table
	}
	own := new(portTable)
	*own = *table
	own.concrete = maps.Clone(table.concrete)
	u.t.ports[p][port] = own
	u.ports[own] = true
	return own
}

// scope returns the scope of an address, made the update's own.
func (u *update) scope(table *portTable, ip netip.Addr) (*scope, *scopeEdit) {
	if table == nil {
		return nil, nil
	}
	s := table.scope(ip)
	if s == nil {
		return nil, nil
	}
	if edit := u.scopes[s]; edit != nil {
		return s, edit
	}
	own := new(scope)
	*own = *s
	switch {
	case !ip.IsValid():
		table.all = own
	case ip == netip.IPv6Unspecified():
		table.v6 = own
	default:
		table.concrete[ip] = own
	}
	edit := &scopeEdit{hosts: editIndex(&own.hosts), before: s.started}
	u.scopes[own] = edit
	return own, edit
}
