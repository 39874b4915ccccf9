package binding

import "net/netip"

// Site is one web site with its bindings, as configured.
type Site struct {
	// ID is the IIS site identifier, as in /w3svc/1; 0 is refused.
	ID uint32
	// Name is for messages.
	Name string
	// Stopped is autostart off: the bindings leave routing (table D2), while the
	// TLS records stay (table D1), because HTTP.sys keeps them apart from the
	// state of a site.
	Stopped bool
	// HeldBack is a site that cannot be served. Those of its bindings are routed to it
	// that nobody else has, so that no other site gets its requests. It comes after all
	// others, takes nothing from them, and is in no list of sites or bindings.
	HeldBack bool
	// Partly leaves out the https bindings to which nothing gives a certificate, and the
	// others are served: see Tables.LeftOut. Without it, Compile refuses such a binding.
	Partly   bool
	Bindings []SiteBinding
}

// FreeID returns the id for another site: the one after the highest, or the lowest free
// one where none is after it.
func FreeID(highest uint32, taken func(id uint32) bool) uint32 {
	id := highest + 1
	for id == 0 || taken(id) {
		id++
	}
	return id
}

// SiteBinding is a binding of a site with what IIS keeps beside it.
type SiteBinding struct {
	Binding
	// Flags are the sslFlags, and FlagReject; only https bindings have any.
	Flags Flags
	// Certificate names the certificate for the record of this binding. Empty
	// means that the binding brings none: it rides on the record that another
	// binding or an endpoint makes, as a binding in IIS does for which nobody
	// chose a certificate.
	Certificate string
	// TLS is an opaque canonical form of the TLS settings. Two bindings with a
	// certificate that share a record must have the same. Empty means no settings
	// of its own.
	TLS string
}

// Endpoint gives an address and port a certificate without a site, as
// "netsh http add sslcert ipport=" does. Endpoints are older than every site: in
// a conflict under first_wins they win.
type Endpoint struct {
	IP   netip.Addr // as Binding.IP
	Port uint16
	// Certificate may be empty if a binding with the same address and port brings
	// one; the endpoint then only adds settings to that record.
	Certificate string
	// Reject refuses all handshakes that come to this record, which then has no
	// certificate.
	Reject bool
	// TLS is as SiteBinding.TLS. Bindings without settings of their own inherit it.
	TLS string
	// SNIMissing and SNIUnmatched override Options for this record; nil keeps them.
	SNIMissing, SNIUnmatched *Policy
}

// Policy is what happens to a client whose server name selects no record.
type Policy uint8

const (
	// Fallback serves the record of the address and port, as IIS does.
	Fallback Policy = iota
	// Reject refuses the handshake.
	Reject
)

// String returns the word used in configuration.
func (p Policy) String() string {
	if p == Reject {
		return "reject"
	}
	return "fallback"
}

// Options are the choices that IIS leaves open or that differ between versions.
type Options struct {
	// SNIMissing is for clients that send no server name (D1 rows 1, 6 and 7).
	SNIMissing Policy
	// SNIUnmatched is for clients whose name selects nothing (D1 rows 1, 6 and 7).
	SNIUnmatched Policy
	// FirstWins resolves conflicts as IIS 6 did, in the order of the site ids,
	// instead of refusing them.
	FirstWins bool
	// WildcardAnyDepth lets *.d match more than one label before .d.
	WildcardAnyDepth bool
	// Listen narrows the addresses that are listened on, as
	// "netsh http add iplisten" does; 0.0.0.0 is every IPv4 address, :: every IPv6
	// address. Empty means all.
	Listen []netip.Addr
	// CentralStore says that a central certificate store is configured.
	CentralStore bool
	// MaxFindings bounds the conflicts that the error of Compile shows, and the
	// warnings of one kind; 0 means 20.
	MaxFindings int
}

// Inputs returns the sites as Compile would take them, without those that are held back.
func (t *Tables) Inputs() []Site {
	sites := make([]Site, 0, t.sites.size)
	for entry := range t.sites.all() {
		sites = append(sites, entry.Input())
	}
	return sites
}

// Input returns the site as Compile would take it.
func (s *SiteEntry) Input() Site {
	site := Site{ID: s.ID, Name: s.Name, Stopped: !s.State.Started && s.State.Code == 0, Partly: s.partly, Bindings: make([]SiteBinding, len(s.Bindings))}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		site.Bindings[i] = SiteBinding{Binding: b.Binding, Flags: b.Flags, Certificate: b.Certificate, TLS: b.TLS}
	}
	return site
}
