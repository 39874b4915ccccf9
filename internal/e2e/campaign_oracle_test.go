package e2e

import (
	"net/netip"
	"strings"
)

// This file is tables D1 and D2 and what stands around them in docs/semantics.md,
// read once more: slowly, from lists, with nothing of the product.

// lower folds ASCII alone: names are compared so.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// stands reports whether a host of a binding or record, which may be a wildcard,
// stands for a name.
func (w *world) stands(host, name string) bool {
	if name = lower(name); len(name) > 253 {
		return false
	}
	suffix, wildcard := strings.CutPrefix(host, "*")
	if !wildcard {
		return host == name
	}
	label, ok := strings.CutSuffix(name, suffix)
	return ok && label != "" && label[0] != '.' && (w.anyDepth || !strings.Contains(label, "."))
}

// hello is what a client says of itself.
type hello struct {
	local netip.AddrPort
	name  string
}

// certificate is table D1: the record and its certificate, or nothing, and whether
// the client is refused by a record that rejects.
func (w *world) certificate(h hello) (rec *tlsRecord, cert string) {
	rec = w.record(h)
	switch {
	case rec == nil || rec.reject:
		return nil, ""
	case !rec.store:
		return rec, rec.cert
	case fileFor(h.name) != "":
		return rec, fileFor(h.name)
	}
	// A store without a file for the name: rows 6 and 7.
	if w.closed(h) {
		return nil, ""
	}
	if rec = w.byAddress(h.local, everyV6, everywhere); rec == nil || rec.reject {
		return nil, ""
	}
	return rec, rec.cert
}

// fileFor is the certificate in the central store for a name.
func fileFor(name string) string {
	if strings.Contains(name, ":") {
		return "" // a port is no part of it
	}
	name, ok := hostOf(name)
	if !ok {
		return ""
	}
	if cert := storeFiles[name]; cert != "" {
		return cert
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		return storeFiles["*."+rest]
	}
	return ""
}

// record is the record that table D1 selects, with the store as one; it may reject.
func (w *world) record(h hello) *tlsRecord {
	closed := w.closed(h)
	if rec := w.byAddress(h.local, h.local.Addr()); rec != nil && !closed { // row 1
		return rec
	}
	if h.name != "" {
		if rec := w.byName(h); rec != nil { // rows 2 and 3
			return rec
		}
		for _, rec := range w.records { // row 5
			if rec.store && rec.port == h.local.Port() {
				return rec
			}
		}
	}
	if closed {
		return nil
	}
	return w.byAddress(h.local, everyV6, everywhere) // rows 6 and 7
}

// byAddress is the first record of some addresses at the connection's port.
func (w *world) byAddress(local netip.AddrPort, ips ...netip.Addr) *tlsRecord {
	for _, ip := range ips {
		if ip == everyV6 && local.Addr().Is4() {
			continue
		}
		for _, rec := range w.records {
			if rec.host == "" && !rec.store && rec.ip == ip && rec.port == local.Port() {
				return rec
			}
		}
	}
	return nil
}

// byName is the record of a name: its own, else the wildcard's with the longest suffix.
func (w *world) byName(h hello) (best *tlsRecord) {
	for _, rec := range w.records {
		if rec.host == "" || rec.port != h.local.Port() || !w.stands(rec.host, h.name) {
			continue
		}
		if best == nil || rec.host[0] != '*' || best.host[0] == '*' && len(rec.host) > len(best.host) {
			best = rec
		}
	}
	return best
}

// closed reports whether rows 1, 6 and 7 are closed to a client.
func (w *world) closed(h hello) bool {
	missing, unmatched := w.missing, w.unmatched
	if rec := w.byAddress(h.local, h.local.Addr(), everyV6, everywhere); rec != nil {
		if rec.missing != "" {
			missing = rec.missing
		}
		if rec.unmatched != "" {
			unmatched = rec.unmatched
		}
	}
	if h.name == "" {
		return missing == "reject"
	}
	return unmatched == "reject" && !w.known(h)
}

func (w *world) known(h hello) bool {
	if w.byName(h) != nil {
		return true
	}
	for _, s := range w.sites {
		for _, b := range s.bindings {
			if b.rec != nil && b.host != "" && b.at(h.local) && w.stands(b.host, h.name) {
				return true
			}
		}
	}
	return false
}

// at reports whether a binding is for a local address and port.
func (b *siteBinding) at(local netip.AddrPort) bool {
	return b.port == local.Port() && (b.ip == everywhere || b.ip == local.Addr() || b.ip == everyV6 && local.Addr().Is6())
}

// site is table D2.
func (w *world) site(local netip.AddrPort, host string) (*iisSite, *siteBinding) {
	rank := func(b *siteBinding) (rank int) {
		switch {
		case isAddress(host) && b.host != "", b.host != "" && !w.stands(b.host, host):
			return 0
		case b.host == "":
			rank = 1
		case b.host[0] == '*':
			rank = 10 + len(b.host)
		default:
			rank = 1000
		}
		rank *= 3
		switch b.ip {
		case local.Addr():
			rank += 2
		case everyV6:
			rank++
		}
		return rank
	}
	var site *iisSite
	var best *siteBinding
	for _, s := range w.sites {
		for _, b := range s.bindings {
			if !s.stopped && b.at(local) && rank(b) > 0 && (best == nil || rank(b) > rank(best)) {
				site, best = s, b
			}
		}
	}
	return site, best
}

// clients is the record that the clients of a binding get who send its host.
func (w *world) clients(b *siteBinding) *tlsRecord {
	local := netip.AddrPortFrom(b.ip, b.port)
	if b.ip != everywhere && b.ip != everyV6 {
		if rec := w.byAddress(local, b.ip); rec != nil {
			return rec
		}
	}
	if b.host != "" {
		if rec := w.byName(hello{local, b.host}); rec != nil {
			return rec
		}
		for _, rec := range w.records {
			if rec.store && rec.port == b.port {
				return rec
			}
		}
	}
	if b.ip == everywhere { // its clients may still be those of IPv6
		local = netip.AddrPortFrom(everyV6, b.port)
		if rec := w.byAddress(local, everywhere, everyV6); rec != nil {
			return rec
		}
	}
	if rec := w.byAddress(local, everyV6, everywhere); rec != nil {
		return rec
	}
	return b.rec
}

// hostOf brings the Host of a request to the form that is compared; it is not ok if
// it is none.
func hostOf(header string) (host string, ok bool) {
	name, port := header, ""
	if strings.HasPrefix(header, "[") {
		end := strings.Index(header, "]")
		if end < 0 {
			return "", false
		}
		if _, err := netip.ParseAddr(header[1:end]); err != nil {
			return "", false
		}
		name, port = header[:end+1], header[end+1:]
	} else if i := strings.Index(header, ":"); i >= 0 {
		name, port = header[:i], header[i:]
	}
	if name == "" || port != "" && (port[0] != ':' || strings.Trim(port[1:], "0123456789") != "" || len(port) > 6) {
		return "", false
	}
	if name[0] == '[' {
		return lower(name), true
	}
	if len(name) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(lower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", false
		}
	}
	return lower(name), true
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// made is how a connection came about: the record that served it and who the client
// has shown itself to be, now or in the session that was resumed.
type made struct {
	hello
	http   int  // 1, 2 or 3
	tls13  bool // or TLS 1.2
	set    settings
	client string // the authority of the client's certificate, empty: none
}

// satisfied reports whether a client certificate, or none, meets settings.
func (set settings) satisfied(client string) bool {
	switch set.auth {
	case "require":
		return client != ""
	case "verify_if_given":
		return client == "" || client == set.ca
	case "require_and_verify":
		return client == set.ca
	}
	return true
}

// has reports whether settings have what a connection has.
func (set settings) has(c made) bool {
	switch {
	case c.http == 3:
		return !set.noQUIC && !set.only12
	case c.http == 2 && set.noHTTP2, c.tls13 && (set.noTLS13 || set.only12), !c.tls13 && set.only13:
		return false
	}
	return true
}

// answer is what a request on a connection gets: a status and, if it is a site's own
// content, the site's id.
func (w *world) answer(c made, header string) (status, site int) {
	header = strings.Trim(header, " \t") // no part of a field's value
	if header == "" {
		return 400, 0
	}
	host, ok := hostOf(header)
	if !ok {
		return 400, 0
	}
	s, b := w.site(c.local, host)
	switch {
	case s == nil:
		return w.unknownHost, 0
	case s.offline:
		return 503, 0
	case b.rec == nil && (s.requireSSL || s.requireCert):
		return 403, 0
	case b.rec == nil:
		return 200, s.id
	case w.misdirected(c, host, s, b):
		return 421, 0
	case s.requireCert && (c.client == "" || !w.clients(b).set.satisfied(c.client)):
		return 403, 0
	}
	return 200, s.id
}

// misdirected is the table of the answer 421.
func (w *world) misdirected(c made, host string, s *iisSite, b *siteBinding) bool {
	if b.rec.reject {
		return true
	}
	if s.misdirected == "allow" {
		return false
	}
	if s.misdirected == "strict" {
		name, ok := "", false
		if c.name != "" {
			name, ok = hostOf(c.name)
		}
		if !ok {
			return true
		}
		if own, _ := w.site(c.local, name); own != s {
			return true
		}
	}
	// The settings that a client of this host gets here.
	again := hello{c.local, host}
	if isAddress(host) {
		again.name = "" // never sent as server name
	}
	if rec := w.record(again); rec != nil && rec.reject {
		return true
	}
	bound := w.clients(b)
	here := bound
	if rec, _ := w.certificate(again); rec != nil {
		here = rec
	} else if rec := w.record(again); rec != nil { // a store without a file, and nobody else serves
		here = rec
	}
	if !here.set.has(c) || !here.set.satisfied(c.client) || !bound.set.satisfied(c.client) || !b.rec.set.satisfied(c.client) {
		return true
	}
	asks := here.set.auth != "" && (c.set.auth == "" || c.set.ca != here.set.ca)
	return c.client == "" && asks && c.name != ""
}
