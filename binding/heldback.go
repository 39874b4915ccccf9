package binding

import (
	"cmp"
	"slices"
)

// splitHeld takes the sites that are held back out of a list.
func splitHeld(sites []Site) (live, held []Site) {
	isHeld := func(s Site) bool { return s.HeldBack }
	if !slices.ContainsFunc(sites, isHeld) {
		return sites, nil
	}
	live = make([]Site, 0, len(sites))
	for _, s := range sites {
		if s.HeldBack {
			held = append(held, s)
		} else {
			live = append(live, s)
		}
	}
	slices.SortStableFunc(held, func(a, b Site) int { return cmp.Compare(a.ID, b.ID) })
	return live, held
}

// addHeld routes what nobody else has to the sites that are held back. They come last,
// and change nothing for anybody else: no socket, no site, no certificate.
func (c *compiler) addHeld(held []Site) {
	for i := range held {
		s := &held[i]
		if c.t.sites.find(s.ID) != nil {
			continue
		}
		entry := new(SiteEntry)
		*entry = newSiteEntry(s, c.t.sites.size+len(c.t.held))
		entry.HeldBack, entry.wanted = true, &s.Bindings
		entry.Bindings = make([]BindingEntry, 0, len(s.Bindings))
		c.t.held = append(c.t.held, entry)
		for j := range s.Bindings {
			b := newBindingEntry(entry, &s.Bindings[j])
			if !entry.State.Started || !c.free(&b) {
				continue
			}
			entry.Bindings = append(entry.Bindings, b)
			c.takeFree(&entry.Bindings[len(entry.Bindings)-1])
		}
	}
}

// free reports whether a binding of a site that is held back can be routed to it, and
// leaves of its settings what is its own alone.
func (c *compiler) free(b *BindingEntry) bool {
	if b.Protocol == HTTPS && !c.ownRecord(b) {
		b.Flags, b.Certificate, b.TLS = 0, "", "" // what others have serves its clients
	}
	if _, problem, _ := c.opts.checkBinding(b); problem != "" || !c.t.listen.overlaps(b.IP) {
		return false
	}
	if !c.listened(b) {
		return false
	}
	if other := c.routed(b); other != nil && (other.Site.State.Started || other.Site.HeldBack) {
		c.heldWaits = true
		return false
	}
	if b.Protocol == HTTPS && !b.brings() {
		if rec := c.t.recordOf(b); rec == nil || rec.Flags.rejects() {
			c.heldWaits = true
			return false
		}
	}
	return true
}

// ownRecord reports whether an https binding may have a record of its own: by its name,
// if no other site has clients with this name on the port, who would get it. A binding to
// all addresses has all of those whose name is no other binding's.
func (c *compiler) ownRecord(b *BindingEntry) bool {
	key, wildcard := split(b.Host)
	if b.Flags.kind() != RecordHostnamePort || b.Flags.rejects() || b.Certificate == "" || wildcard || b.Host == "" {
		return false
	}
	table := c.t.port(HTTPS, b.Port)
	if table == nil {
		return false
	}
	named := table.names.get(key) != nil
	for _, s := range table.scopes() {
		named = named || s.route(b.Host) != nil ||
			s != nil && b.IP.IsValid() && (s.any != nil || wildcardOf(s.wildcards, []byte(key), c.opts.WildcardAnyDepth) != nil)
	}
	c.heldWaits = c.heldWaits || named
	return !named
}

// scopes returns all of a port.
func (p *portTable) scopes() []*scope {
	list := []*scope{p.all, p.v6}
	for _, s := range p.concrete {
		list = append(list, s)
	}
	return list
}

// listened reports whether started sites or endpoints have a socket for a binding, with
// its protocol.
func (c *compiler) listened(b *BindingEntry) bool {
	cl := c.claims[b.Port]
	if cl == nil || cl[b.Protocol].first.isZero() {
		return false
	}
	if cl[1-b.Protocol].first.isZero() {
		return true
	}
	_, bound := cl[b.Protocol].ips[b.IP]
	return bound
}

// takeFree routes a binding to a site that is held back.
func (c *compiler) takeFree(b *BindingEntry) {
	c.addRoute(b)
	if b.Protocol != HTTPS {
		return
	}
	if b.brings() {
		c.keep(b, c.newRecord(Record{
			Kind: RecordHostnamePort, Port: b.Port, Host: b.Host, Certificate: b.Certificate, TLS: b.TLS, Flags: b.Flags & settingBits,
		}, owner{binding: b}))
	}
	b.Record = c.t.recordOf(b)
}

// HeldBack returns the sites that are held back as Compile would take them, in order of ID.
func (t *Tables) HeldBack() []Site {
	sites := make([]Site, len(t.held))
	for i, entry := range t.held {
		sites[i] = Site{ID: entry.ID, Name: entry.Name, Stopped: !entry.State.Started, HeldBack: true, Bindings: *entry.wanted}
	}
	return sites
}

// IsHeldBack reports whether a site is one of those that are held back.
func (t *Tables) IsHeldBack(id uint32) bool {
	_, ok := t.searchHeld(id)
	return ok
}

func (t *Tables) searchHeld(id uint32) (int, bool) {
	return slices.BinarySearchFunc(t.held, id, func(s *SiteEntry, id uint32) int { return cmp.Compare(s.ID, id) })
}

// prepareHeld notes what Update has to know of sites that are held back, and counts their
// bindings among those who make records.
func (c *compiler) prepareHeld(makers []int32) {
	u := &c.t.updates
	u.siteSlots += len(c.t.held)
	u.heldWaits = c.heldWaits
	for _, site := range c.t.held {
		for i := range site.Bindings {
			b := &site.Bindings[i]
			if !makes(b) {
				continue
			}
			makers[c.t.own(b).Index]++
			if u.heldNames == nil {
				u.heldNames = make(map[nameKey]bool)
			}
			u.heldNames[nameKey{b.Port, b.Host}] = true
		}
	}
}

// removeHeld takes a site that is held back, if there is one with this id, out of the
// tables.
func (u *update) removeHeld(id uint32) {
	i, ok := u.t.searchHeld(id)
	if !ok {
		return
	}
	site := u.t.held[i]
	u.t.held = slices.Delete(slices.Clone(u.t.held), i, i+1)
	u.gone[id] = site.Index
	u.complex = u.complex || u.t.updates.heldWaits
	for j := range site.Bindings {
		u.removeBinding(&site.Bindings[j])
	}
}
