package binding

import (
	"iter"
	"net/netip"

	"github.com/caddy-iis/caddy-iis/internal/paged"
)

// Tables are compiled sites and endpoints. They never change, so that any number
// of connections can be looked up in them at the same time.
type Tables struct {
	opts      Options
	sites     *siteList                // in order of ID
	held      []*SiteEntry             // those that are held back, likewise
	leftOut   []*BindingEntry          // of sites that are served partly, by id of the site
	records   *paged.Slice[*Record]    // by Index; nil where none is
	changed   []int                    // slots of records that Update has changed
	ports     [2]map[uint16]*portTable // by Protocol
	fronts    map[uint16]front
	endpoints []ListenEndpoint
	listen    listenList

	updates updatable
}

// RecordKind is the kind of a TLS record.
type RecordKind uint8

// The three kinds that bindings make, by the words netsh uses.
const (
	RecordIPPort       RecordKind = iota // ipport
	RecordHostnamePort                   // hostnameport
	RecordStore                          // ccs
)

// String returns the word that "netsh http add sslcert" has for the key.
func (k RecordKind) String() string {
	switch k {
	case RecordHostnamePort:
		return "hostnameport"
	case RecordStore:
		return "ccs"
	default:
		return "ipport"
	}
}

// MarshalText writes what String returns.
func (k RecordKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Record is one TLS record, what HTTP.sys keeps as an sslcert record. The TLS
// properties of a connection come from its record, never from the site that
// later gets the request.
type Record struct {
	// Index is below Tables.RecordSlots, for slices kept beside the tables.
	Index int
	Kind  RecordKind
	// IP is for RecordIPPort: the zero Addr is 0.0.0.0. Other kinds have no address
	// in HTTP.sys either.
	IP   netip.Addr
	Port uint16
	// Host is for RecordHostnamePort, perhaps with a wildcard.
	Host        string
	Certificate string // empty for RecordStore
	TLS         string
	// Flags are the sslFlags above the two bits that choose the kind.
	Flags Flags
	// SNIMissing and SNIUnmatched are in force where this record is the one of the
	// address (D1 rows 1, 6 and 7).
	SNIMissing, SNIUnmatched Policy

	// inherited says that the TLS settings are an endpoint's, and hold for
	// bindings that have none of their own.
	inherited bool
	// lent says that a binding gave settings to the record of an endpoint.
	lent bool
}

// name is what its index finds it by.
func (r *Record) name() string { return r.Host }

// Key returns the key as netsh shows it, "0.0.0.0:443" or "www.example.com:443",
// and "ccs:443" for the central store.
func (r *Record) Key() string {
	switch r.Kind {
	case RecordHostnamePort:
		return hostKey(r.Host, r.Port)
	case RecordStore:
		return storeKey(r.Port)
	default:
		return endpointText(r.IP, r.Port)
	}
}

// SiteEntry is a site in the tables.
type SiteEntry struct {
	// Index is below Tables.SiteSlots, for slices kept beside the tables.
	Index int
	ID    uint32
	// HeldBack says that requests for its bindings are not to be served: see Site.
	HeldBack bool
	partly   bool // as Site.Partly
	Name     string
	// Bindings are in the order of the configuration.
	Bindings []BindingEntry
	State    State

	wanted *[]SiteBinding // of a site that is held back; else nil, for there are many sites
}

// BindingEntry is a binding of a site in the tables.
type BindingEntry struct {
	Site *SiteEntry
	Binding
	Flags       Flags
	Certificate string
	TLS         string // as SiteBinding.TLS
	// Record is the TLS record that a client normally gets which connects to this
	// https binding's address and sends its host as server name. Nil for http, and where
	// the binding is left out, or its site is stopped, since nothing gives it one.
	Record *Record
}

// name is what its index finds it by.
func (b *BindingEntry) name() string { return b.Host }

// HeldBack reports whether requests for the binding are not to be served: those of a site
// that is held back, and those of an https binding without a certificate, which come over
// connections to other names.
func (b *BindingEntry) HeldBack() bool {
	return b.Site.HeldBack || b.Protocol == HTTPS && b.Record == nil
}

// State is whether the bindings of a site take part in routing.
type State struct {
	Started bool `json:"started"`
	// Code is the HRESULT that IIS shows for a site that it could not start, and 0
	// for one that was told not to.
	Code   uint32 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// The codes with which IIS leaves a site stopped.
const (
	// CodeAlreadyExists is ERROR_ALREADY_EXISTS: another started site has the same
	// binding.
	CodeAlreadyExists uint32 = 0x800700B7
	// CodeSharingViolation is ERROR_SHARING_VIOLATION: the address and port are
	// taken by the other protocol.
	CodeSharingViolation uint32 = 0x80070020
)

// portTable holds the bindings and records of one port and one protocol.
type portTable struct {
	concrete map[netip.Addr]*scope
	v6       *scope // [::]
	all      *scope // *

	names     index[*Record]     // hostnameport records
	wildcards map[string]*Record // the same for *.d, keyed by d
	store     *Record            // ccs
}

// scope holds what is bound to one address of a port: the bindings by host, and
// the ipport record. Bindings of stopped sites are in it as well, because their
// names stay known; those of started sites go before them.
type scope struct {
	hosts     index[*BindingEntry]
	wildcards map[string]*BindingEntry // keyed by d for *.d
	any       *BindingEntry
	record    *Record
	started   int // bindings of started sites
}

// Sites returns all sites in order of ID, without those that are held back. The slice
// must not be changed. After a change of some sites it is made when it is asked for first.
func (t *Tables) Sites() []*SiteEntry { return t.sites.flat() }

// LastID is the highest id of a site, 0 if there is none.
func (t *Tables) LastID() uint32 { return t.sites.last() }

// SiteCount is how many sites there are, without those that are held back.
func (t *Tables) SiteCount() int { return t.sites.size }

// SiteSlots is above the Index of every site.
func (t *Tables) SiteSlots() int { return t.updates.siteSlots }

// SiteByID returns the site with this id, nil if there is none or it is held back.
func (t *Tables) SiteByID(id uint32) *SiteEntry { return t.sites.find(id) }

// State returns the state of a site, and whether there is such a site.
func (t *Tables) State(id uint32) (State, bool) {
	if site := t.SiteByID(id); site != nil {
		return site.State, true
	}
	return State{}, false
}

// Bindings returns all bindings in order of site ID, without those of sites that are held
// back.
func (t *Tables) Bindings() iter.Seq[*BindingEntry] {
	return func(yield func(*BindingEntry) bool) {
		for site := range t.sites.all() {
			for i := range site.Bindings {
				if !yield(&site.Bindings[i]) {
					return
				}
			}
		}
	}
}

// LeftOut returns the bindings of sites that are served partly to which nothing gives a
// certificate, in order of site ID. The slice must not be changed.
func (t *Tables) LeftOut() []*BindingEntry { return t.leftOut }

// Records returns all TLS records in order of Index.
func (t *Tables) Records() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, rec := range t.records.All() {
			if rec != nil && !yield(rec) {
				return
			}
		}
	}
}

// Record returns the record with an index, nil if there is none.
func (t *Tables) Record(index int) *Record { return t.records.At(index) }

// RecordSlots is above the Index of every record.
func (t *Tables) RecordSlots() int { return t.records.Len() }

// ChangedRecords are the indexes of the records that came, went or are different since the
// tables that Update made these of.
func (t *Tables) ChangedRecords() []int { return t.changed }

// RecordSites returns by Record.Index, in order, the sites whose bindings made
// or share each record.
func (t *Tables) RecordSites() [][]uint32 {
	sites := make([][]uint32, t.records.Len())
	for b := range t.Bindings() {
		rec := t.SharedRecord(b)
		if rec == nil {
			continue
		}
		list := &sites[rec.Index]
		if n := len(*list); n == 0 || (*list)[n-1] != b.Site.ID {
			*list = append(*list, b.Site.ID)
		}
	}
	return sites
}

// SharedRecord returns the record that a binding made or shares: the one under its own
// key, else the one that its clients get.
func (t *Tables) SharedRecord(b *BindingEntry) *Record {
	if b.Protocol != HTTPS {
		return nil
	}
	if own := t.own(b); own != nil {
		return own
	}
	return b.Record
}

// port returns the table of a port, nil if the protocol has nothing there.
func (t *Tables) port(p Protocol, port uint16) *portTable { return t.ports[p&1][port] }

// scope returns what is bound to an address as Binding.IP has it, nil if nothing.
func (p *portTable) scope(ip netip.Addr) *scope {
	switch {
	case !ip.IsValid():
		return p.all
	case ip == netip.IPv6Unspecified():
		return p.v6
	default:
		return p.concrete[ip]
	}
}

// split tells whether a host is a wildcard and returns the key it has in a map of
// wildcards, or in one of exact names.
func split(host string) (key string, wildcard bool) {
	if len(host) > 2 && host[0] == '*' && host[1] == '.' {
		return host[2:], true
	}
	return host, false
}
