package binding

import "slices"

// removeMaker takes a binding from those who make its record. A record by name
// goes with the last one; others are left for a binding to come.
func (u *update) removeMaker(b *BindingEntry) {
	rec := u.t.own(b)
	if rec != nil && rec.lent || !makes(b) && b.settings() {
		u.complex = true // the settings may have been this binding's
		return
	}
	if !makes(b) {
		return
	}
	left := u.makers.At(rec.Index) - 1
	u.makers.Set(rec.Index, left)
	if left > 0 {
		return
	}
	if _, wildcard := split(rec.Host); rec.Kind != RecordHostnamePort || wildcard {
		u.orphans[rec] = true
		return
	}
	u.setRecord(rec.Index, nil)
	u.t.updates.freeRecords = append(u.t.updates.freeRecords, rec.Index)
	u.namesOf(u.port(HTTPS, b.Port)).remove(rec.Host)
	u.renamed[nameKey{rec.Port, rec.Host}] = true
}

// settings reports whether a binding has TLS settings of its own.
func (b *BindingEntry) settings() bool { return b.TLS != "" || b.Flags&settingBits != 0 }

// addMaker has a binding make its record, or join the one that is there as long
// as nothing changes about it.
func (u *update) addMaker(b *BindingEntry) {
	rec := u.t.own(b)
	_, wildcard := split(b.Host)
	switch {
	case u.t.updates.heldNames[nameKey{b.Port, b.Host}], len(u.t.updates.heldNames) > 0 && (b.Host == "" || wildcard):
		u.complex = true // its clients would get the record of a site that is held back
	case rec == nil && !makes(b):
		u.complex = u.complex || b.settings()
	case rec == nil:
		u.newRecord(b)
	case !makes(b):
		u.complex = u.complex || b.settings() && !rec.agrees(b)
	case rec.Certificate != b.Certificate || !rec.agrees(b):
		u.complex = true
	default:
		u.makers.Set(rec.Index, u.makers.At(rec.Index)+1)
		delete(u.orphans, rec)
	}
	u.checkQuiet(b)
}

// agrees reports whether a record has the settings of a binding.
func (r *Record) agrees(b *BindingEntry) bool {
	return (r.TLS == b.TLS || b.TLS == "" && r.inherited) && r.Flags == b.Flags&settingBits
}

// newRecord makes the record of a name. Any other concerns too many clients.
func (u *update) newRecord(b *BindingEntry) {
	if _, wildcard := split(b.Host); b.Flags.kind() != RecordHostnamePort || wildcard {
		u.complex = true
		return
	}
	rec := &Record{
		Kind: RecordHostnamePort, Port: b.Port, Host: b.Host,
		Certificate: b.Certificate, TLS: b.TLS, Flags: b.Flags & settingBits,
		SNIMissing: u.t.opts.SNIMissing, SNIUnmatched: u.t.opts.SNIUnmatched,
	}
	free := &u.t.updates.freeRecords
	if n := len(*free); n > 0 {
		rec.Index = (*free)[n-1]
		*free = (*free)[:n-1]
		u.makers.Set(rec.Index, 1)
	} else {
		rec.Index = u.makers.Append(1)
		u.records.Append(nil)
	}
	u.setRecord(rec.Index, rec)
	u.namesOf(u.port(HTTPS, b.Port)).set(rec)
	u.renamed[nameKey{b.Port, b.Host}] = true
}

// checkQuiet makes sure that a certificate that is chosen by name calls for no
// finding: the port must have a certificate for all who send no name, and none
// of a single address that would hide names.
func (u *update) checkQuiet(b *BindingEntry) {
	if b.Flags.kind() == RecordIPPort {
		return
	}
	table := u.t.port(HTTPS, b.Port)
	if recordOf(table.all) == nil {
		u.complex = true
	}
	for _, s := range table.concrete {
		if s.record != nil {
			u.complex = true
		}
	}
}

// assign finds the records that the clients of the added bindings get.
func (u *update) assign() {
	for _, site := range u.added {
		for i := range site.Bindings {
			b := &site.Bindings[i]
			if b.Protocol != HTTPS {
				continue
			}
			if b.Record = u.t.recordOf(b); b.Record == nil || b.Record.Flags.rejects() && !b.Flags.rejects() {
				u.complex = true
			}
		}
	}
}

// named reports whether a site that was not touched has a binding for a name.
func (u *update) named(key nameKey) bool {
	table := u.t.port(HTTPS, key.port)
	others := func(s *scope) bool {
		b := s.route(key.host)
		return b != nil && !slices.Contains(u.added, b.Site)
	}
	if others(table.all) || others(table.v6) {
		return true
	}
	for _, s := range table.concrete {
		if others(s) {
			return true
		}
	}
	return false
}

func (u *update) namesOf(table *portTable) *indexEdit[*Record] {
	edit := u.names[table]
	if edit == nil {
		edit = editIndex(&table.names)
		u.names[table] = edit
	}
	return edit
}

func (u *update) setRecord(slot int, rec *Record) {
	u.records.Set(slot, rec)
	u.changed[slot] = true
}
