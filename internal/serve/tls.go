package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync/atomic"

	"github.com/mholt/acmez/v3"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/paged"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// Record is a TLS record of the tables with what serves it.
type Record struct {
	*binding.Record
	*served

	// What a handshake leaves at its connection when this record serves it.
	// Made at load, so that handshakes make nothing.
	handshake *handshake

	// Handshakes that it served to clients whose name is nobody's, by kind.
	fallbacks [nameKinds]lazyCounter
}

// served is what serves the handshakes of a record.
type served struct {
	name   string // of the certificate, empty with a store
	flags  binding.Flags
	Source certsel.Source // nil: nothing serves
	Policy *policies.Policy

	// The certificate without its OCSP staple, if the binding's flags say so.
	unstapled atomic.Pointer[unstapledCertificate]
}

// unstapledCertificate is a copy of a certificate, made once.
type unstapledCertificate struct {
	of *tls.Certificate
	tls.Certificate
}

// certificate returns the certificate for a handshake, nil if there is none.
func (s *served) certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	cert := s.Source.Select(hello)
	if cert == nil || cert.OCSPStaple == nil || s.flags&binding.FlagNoOCSP == 0 {
		return cert
	}
	bare := s.unstapled.Load()
	if bare == nil || bare.of != cert {
		bare = &unstapledCertificate{cert, *cert}
		bare.OCSPStaple = nil
		s.unstapled.Store(bare)
	}
	return &bare.Certificate
}

// handshake is what a connection remembers of its handshake: who owned it, in
// which configuration.
type handshake struct {
	in        *identity
	challenge bool             // of a certificate authority: no request has a place there
	ordinary  *identity        // the ordinary server, or
	policy    *policies.Policy // of the record of a binding or an endpoint,
	name      string           // the name of its certificate
	flags     binding.Flags    // and its flags

	// What serves the handshake while it is under way, and what the connection
	// remembers from its first request on: it outlives the configuration, and
	// must not hold it in memory.
	served *served
	after  *handshake
}

// newHandshake returns what handshakes leave that a record serves.
func newHandshake(in *identity, s *served) *handshake {
	after := &handshake{in: in, policy: s.Policy, name: s.name, flags: s.flags}
	under := *after
	under.served, under.after = s, after
	return &under
}

// handshakeIsOver has a connection forget what only its handshake needed.
func handshakeIsOver(conn *front.Conn) {
	if made := handshakeOf(conn); made != nil && made.after != nil {
		conn.Handshake.Store(made.after)
	}
}

// identity stands for a configuration or a server without holding it.
type identity struct{ _ byte }

// handshakeOf returns what a connection remembers, nil if nothing.
func handshakeOf(conn *front.Conn) *handshake {
	made, _ := conn.Handshake.Load().(*handshake)
	return made
}

var errNoCertificate = policies.HandshakeError{
	Err:   errors.New("no certificate for this address, port and server name"),
	Alert: policies.ErrUnrecognizedName,
}

// makeRecords puts a certificate and a connection policy to each record. Those of
// the snapshot before are taken over.
func (a *Instance) makeRecords(sn, before *Snapshot) error {
	sn.Records = paged.Make[*Record](sn.Tables.RecordSlots())
	sn.uniform = make(map[uint16]*policies.Policy)
	a.policies.Loosen()
	for rec := range sn.Tables.Records() {
		live := before.record(rec)
		if live == nil {
			var err error
			if live, err = a.newRecord(rec); err != nil {
				return fmt.Errorf("%s: %w", sn.ownerOf(rec), err)
			}
		}
		sn.Records.Set(rec.Index, live)
		if first, ok := sn.uniform[rec.Port]; !ok {
			sn.uniform[rec.Port] = live.Policy
		} else if first != live.Policy {
			sn.uniform[rec.Port] = nil
		}
	}
	return nil
}

// replaceRecords does the same after a change that concerns few of them.
func (a *Instance) replaceRecords(sn, before *Snapshot) error {
	edit := before.Records.Edit(sn.Tables.RecordSlots())
	sn.uniform = maps.Clone(before.uniform)
	for _, slot := range sn.Tables.ChangedRecords() {
		var old, live *Record
		if slot < before.Records.Len() {
			old = before.Records.At(slot)
		}
		if rec := sn.Tables.Record(slot); rec != nil {
			var err error
			if live, err = a.newRecord(rec); err != nil {
				return fmt.Errorf("%s: %w", sn.ownerOf(rec), err)
			}
			if sn.uniform[rec.Port] != live.Policy {
				sn.uniform[rec.Port] = nil
			}
		}
		if old != nil && (live == nil || live.Policy != old.Policy) {
			a.policies.Loosen() // nobody may have that of the old one any more
		}
		edit.Set(slot, live)
	}
	sn.Records = edit.Slice()
	return nil
}

// ownerOf names in an error who made a record.
func (sn *Snapshot) ownerOf(rec *binding.Record) string {
	for b := range sn.Tables.Bindings() {
		if sn.Tables.SharedRecord(b) == rec {
			return sn.place(b.Site.ID) + config.SiteLabel(b.Site.ID, b.Site.Name)
		}
	}
	return "endpoint " + rec.Key()
}

// record returns what serves a record, nil if this snapshot does not have it.
func (sn *Snapshot) record(rec *binding.Record) *Record {
	if sn == nil || rec.Index >= sn.Records.Len() {
		return nil
	}
	if live := sn.Records.At(rec.Index); live != nil && live.Record == rec {
		return live
	}
	return nil
}

func (a *Instance) newRecord(rec *binding.Record) (*Record, error) {
	live := &Record{Record: rec, served: &served{name: rec.Certificate, flags: rec.Flags}}
	if rec.Certificate != "" {
		if live.Source = a.CertificateSource(rec.Certificate); live.Source == nil {
			return nil, fmt.Errorf("certificate %q is not there any more", rec.Certificate)
		}
	}
	if rec.Kind == binding.RecordStore {
		live.Source = a.CentralStore
	}
	var err error
	if live.Policy, err = a.policies.Get(policies.Of(rec.TLS, rec.Flags, rec.IP, rec.Port)); err != nil {
		return nil, fmt.Errorf("tls settings of certificate %q at port %d: %w", rec.Certificate, rec.Port, err)
	}
	live.handshake = newHandshake(a.identity, live.served)
	return live, nil
}

// HandshakeOwner decides who serves a handshake: a record, else an ordinary
// server, else nobody. On a port shared with ordinary Caddy sites, server names
// that bindings know come first, then those of the ordinary sites, then public
// names of Encrypted Client Hello, then the endpoint's certificate, and last
// whatever else the ordinary server serves.
func (sn *Snapshot) HandshakeOwner(local netip.AddrPort, hello *tls.ClientHelloInfo) (binding.CertificateMatch, *Record, *tls.Certificate, *OrdinaryServer) {
	match := sn.CertificateMatch(local, hello.ServerName)
	ordinary, alone := sn.OrdinaryAt(local, true)
	if alone || ordinary != nil && !match.Known && ordinary.claims(hello) {
		return match, nil, nil, ordinary
	}
	if ech := sn.echOwner(match, hello); ech != nil && sn.bindingsCover(local, binding.HTTPS) {
		return match, nil, nil, ech
	}
	if live, cert := sn.serving(match, hello); live != nil {
		return match, live, cert, nil
	}
	if match.Reason != binding.ReasonNoRecord {
		ordinary = nil // what is refused is refused
	}
	return match, nil, nil, ordinary
}

// challengeHandshake is what the handshake of a challenge leaves.
var challengeHandshake = &handshake{challenge: true}

// configForClient is table D1 at work: it decides which certificate and which
// TLS settings a connection gets.
func (a *Instance) configForClient(hello *tls.ClientHelloInfo, conn *front.Conn) (*tls.Config, error) {
	now := a.Now()
	if isChallenge(hello) {
		now.countHandshake(conn.Local.Port(), now.CertificateMatch(conn.Local, hello.ServerName), hello.ServerName, resultChallenge)
		conn.Handshake.Store(challengeHandshake)
		return a.challenge, nil
	}
	match, live, cert, ordinary := now.HandshakeOwner(conn.Local, hello)
	switch {
	case ordinary != nil:
		now.countHandshake(conn.Local.Port(), match, hello.ServerName, resultOrdinary)
		return ordinary.configForClient(hello, conn)
	case live == nil:
		now.refused(hello, conn, match, refusedReasons[match.Reason])
		conn.Reset()
		return nil, errNoCertificate
	}
	if conn.QUIC && !live.Policy.QUIC() {
		now.refused(hello, conn, match, refusedNoQUIC)
		return nil, policies.ErrNoQUIC
	}
	now.countHandshake(conn.Local.Port(), match, hello.ServerName, resultSite)
	now.fellBack(hello, conn, match, live)
	conn.Handshake.Store(live.handshake)
	return live.Policy.For(cert, conn.QUIC), nil
}

// CertificateMatch asks table D1, for addresses that the bindings cover: on a
// shared port an ordinary server may listen at others.
func (sn *Snapshot) CertificateMatch(local netip.AddrPort, serverName string) binding.CertificateMatch {
	if !sn.bindingsCover(local, binding.HTTPS) {
		return binding.CertificateMatch{Rule: binding.D1_8, Reason: binding.ReasonNoRecord}
	}
	return sn.Tables.Certificate(local, serverName)
}

// serving returns the record that serves a handshake, and its certificate: the
// record that table D1 selects or, while its source has no certificate, the
// endpoint's.
func (sn *Snapshot) serving(match binding.CertificateMatch, hello *tls.ClientHelloInfo) (*Record, *tls.Certificate) {
	for _, rec := range [...]*binding.Record{match.Record, match.Fallback} {
		if rec == nil {
			continue
		}
		live := sn.Records.At(rec.Index)
		if live.Source == nil {
			continue
		}
		if cert := live.Source.Select(hello); cert != nil {
			return live, cert
		}
	}
	return nil, nil
}

// certificateOf hands crypto/tls the certificate of the record that
// configForClient chose for the connection.
func certificateOf(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if conn := front.ConnOf(hello); conn != nil {
		if made := handshakeOf(conn); made != nil && made.served != nil {
			if cert := made.served.certificate(hello); cert != nil {
				return cert, nil
			}
		}
	}
	return nil, errNoCertificate
}

func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol
}
