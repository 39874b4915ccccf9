package binding

import (
	"fmt"
	"net/netip"
	"strconv"
)

// maker is who made a record, and who gave it its TLS settings and sslFlags;
// those are zero as long as nobody did.
type maker struct {
	who, tls, flags owner
}

// room is memory for values that are made together, in pieces: who stays when the others
// are gone keeps one piece of them in memory, not all.
type room[T any] struct{ left []T }

const roomPiece = 64

func (r *room[T]) take(n int) []T {
	if len(r.left) < n {
		r.left = make([]T, max(n, roomPiece))
	}
	taken := r.left[:n:n]
	r.left = r.left[n:]
	return taken
}

// newRecord adds a record to the tables.
func (c *compiler) newRecord(r Record, who owner) *Record {
	rec := &c.room.take(1)[0]
	*rec = r
	rec.Index = len(c.records)
	rec.SNIMissing, rec.SNIUnmatched = c.opts.SNIMissing, c.opts.SNIUnmatched
	c.records = append(c.records, rec)
	m := maker{who: who}
	if who.binding != nil || r.TLS != "" {
		m.tls = who
	}
	if who.binding != nil {
		m.flags = who
	}
	c.makers = append(c.makers, m)
	return rec
}

// own returns the record under the key of a binding, nil if there is none. The
// two lowest bits of sslFlags choose the key: address and port, name and port, or
// the port alone.
func (t *Tables) own(b *BindingEntry) *Record {
	table := t.port(HTTPS, b.Port)
	if table == nil {
		return nil
	}
	switch b.Flags.kind() {
	case RecordStore:
		return table.store
	case RecordHostnamePort:
		if key, wildcard := split(b.Host); wildcard {
			return table.wildcards[key]
		}
		return table.names.get(b.Host)
	default:
		return recordOf(table.scope(b.IP))
	}
}

// keep puts a record under the key of a binding.
func (c *compiler) keep(b *BindingEntry, rec *Record) {
	table := c.port(HTTPS, b.Port)
	switch rec.Kind {
	case RecordStore:
		table.store = rec
	case RecordHostnamePort:
		key, wildcard := split(b.Host)
		if !wildcard {
			table.names.set(rec)
			return
		}
		if table.wildcards == nil {
			table.wildcards = make(map[string]*Record)
		}
		table.wildcards[key] = rec
	default:
		c.scope(HTTPS, b.IP, b.Port).record = rec
	}
}

// addRecord makes the record of an https binding, or joins the one that is
// there. Bindings without a certificate wait for assignRecord.
func (c *compiler) addRecord(b *BindingEntry) {
	if b.Protocol != HTTPS {
		return
	}
	kind := b.Flags.kind()
	if !b.brings() {
		return
	}
	if rec := c.t.own(b); rec != nil {
		c.join(rec, b)
		return
	}
	r := Record{Kind: kind, Port: b.Port, Certificate: b.Certificate, TLS: b.TLS, Flags: b.Flags & settingBits}
	switch kind {
	case RecordIPPort:
		r.IP = b.IP
	case RecordHostnamePort:
		r.Host = b.Host
	}
	c.keep(b, c.newRecord(r, owner{binding: b}))
}

// brings reports whether a binding makes a record, rather than ride on one.
func (b *BindingEntry) brings() bool {
	return b.Certificate != "" || b.Flags.kind() == RecordStore || b.Flags.rejects()
}

// join adds a binding to the record that it shares with others.
func (c *compiler) join(rec *Record, b *BindingEntry) {
	m := &c.makers[rec.Index]
	if b.Flags.rejects() && !rec.Flags.rejects() && rec.Certificate != "" {
		c.settingsConflict(rec, m.who, b)
		return
	}
	if b.Certificate != "" {
		switch rec.Certificate {
		case "": // an endpoint that leaves the certificate to the sites
			rec.Certificate = b.Certificate
			m.who = owner{binding: b}
		case b.Certificate:
		default:
			c.certificateConflict(rec, m.who, b)
		}
	}
	c.joinSettings(rec, m, b)
}

// joinSettings compares TLS settings. An endpoint's settings hold for bindings
// that have none; between bindings, none is a setting too, because a site must
// not get client authentication or old TLS versions from another one unseen.
func (c *compiler) joinSettings(rec *Record, m *maker, b *BindingEntry) {
	tls, flags := b.TLS, b.Flags&settingBits
	if b.Certificate == "" && rec.Kind != RecordStore && tls == "" && flags == 0 {
		return
	}
	if tls == "" && m.tls.endpoint != nil {
		tls = rec.TLS
	}
	if m.tls.isZero() {
		rec.TLS, m.tls = tls, owner{binding: b}
	}
	if m.flags.isZero() {
		rec.Flags, m.flags = flags, owner{binding: b}
	}
	switch {
	case rec.TLS != tls:
		c.settingsConflict(rec, m.tls, b)
	case rec.Flags != flags:
		c.settingsConflict(rec, m.flags, b)
	}
}

// finishRecords refuses endpoints to which nobody gave a certificate.
func (c *compiler) finishRecords() {
	for _, rec := range c.records {
		if rec.Certificate == "" && rec.Kind == RecordIPPort && !rec.Flags.rejects() {
			c.endpointError(c.makers[rec.Index].who, "has no certificate, and no https binding on this address and port gives it one",
				"add a certificate to the endpoint")
		}
	}
}

// assignRecord finds the record that clients of an https binding get, and refuses
// a binding that nothing can serve, or leaves it out.
func (c *compiler) assignRecord(b *BindingEntry) {
	if b.Protocol != HTTPS {
		return
	}
	b.Record = c.t.recordOf(b)
	rejected := b.Record != nil && b.Record.Flags.rejects() && !b.Flags.rejects()
	if (b.Record == nil || rejected) && b.Site.partly && b.Site.State.Started {
		b.Record = nil
		c.t.leftOut = append(c.t.leftOut, b)
		return
	}
	if b.Record == nil || rejected {
		severity := Error
		if !b.Site.State.Started || rejected && c.opts.FirstWins {
			severity = Warning // it hurts nobody until the site starts
		}
		c.report.add(severity, CodeNoCertificate, func() Finding {
			if rejected {
				return about(b, fmt.Sprintf("%s gives its clients no certificate: they get record %s, which rejects them", bindingLabel(b), b.Record.Key()),
					"give the binding sni and a certificate, or remove reject")
			}
			return about(b, bindingLabel(b)+" has no certificate, and nothing else gives one to its clients",
				fmt.Sprintf("add a certificate to the binding or to the site, or one for all sites on the port with endpoint %s", endpointText(b.IP, b.Port)))
		})
	}
	if b.Record == nil {
		return
	}
	if b.brings() {
		return
	}
	if c.t.own(b) != nil {
		c.joinOwn(b)
		return
	}
	if b.TLS != "" || b.Flags&settingBits != 0 {
		c.report.add(Warning, CodeUnusedSettings, func() Finding {
			return about(b, fmt.Sprintf("%s has TLS settings without a certificate: its clients get record %s with the settings of that one",
				bindingLabel(b), b.Record.Key()), "give the binding a certificate, or remove the settings")
		})
	}
}

// recordOf walks table D1 for a client of the binding that sends its host.
func (t *Tables) recordOf(b *BindingEntry) *Record {
	table := t.port(HTTPS, b.Port)
	if table == nil {
		return nil
	}
	if b.IP.IsValid() && !b.IP.IsUnspecified() {
		for _, ip := range []netip.Addr{b.IP, b.IP.WithZone("")} {
			if rec := recordOf(table.concrete[ip]); rec != nil {
				return rec
			}
		}
	}
	if rec := t.recordOfHost(table, b.Host); rec != nil {
		return rec
	}
	if b.Host != "" && table.store != nil {
		return table.store
	}
	// A binding to all addresses may still be served to IPv6 clients alone.
	v6, all := recordOf(table.v6), recordOf(table.all)
	if b.IP.Is6() && v6 != nil {
		return v6
	}
	if all != nil {
		return all
	}
	if !b.IP.IsValid() && v6 != nil {
		return v6
	}
	return table.store
}

// recordOfHost finds the record by name for a host, or for the names below a
// wildcard host.
func (t *Tables) recordOfHost(table *portTable, host string) *Record {
	if host == "" {
		return nil
	}
	key, wildcard := split(host)
	if !wildcard {
		if rec := table.names.get(key); rec != nil {
			return rec
		}
		return wildcardOf(table.wildcards, []byte(key), t.opts.WildcardAnyDepth)
	}
	if rec := table.wildcards[key]; rec != nil || !t.opts.WildcardAnyDepth {
		return rec
	}
	return wildcardOf(table.wildcards, []byte(key), true)
}

func hostKey(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

func storeKey(port uint16) string { return "ccs:" + strconv.Itoa(int(port)) }
