package certsel

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
	"github.com/caddy-iis/caddy-iis/certsel/health"
)

// Source provides the certificates that stand behind one name of the
// configuration. Sources are modules in the namespace iis.certificates.
type Source interface {
	// Select returns the certificate for a handshake, or nil while there is
	// none. It is called in every handshake and must neither block nor
	// allocate.
	Select(hello *tls.ClientHelloInfo) *tls.Certificate

	// Current lists what Select chooses from at this moment, for checks and
	// for the admin API.
	Current() []*tls.Certificate
}

// Loader is implemented by sources that read something when the configuration
// is loaded. Load is called after the module was provisioned; the sources of a
// configuration are loaded concurrently.
type Loader interface {
	Load(ctx context.Context) error
}

// Reloader is implemented by sources whose certificates change while a
// configuration serves.
type Reloader interface {
	// OnReload has a function called after each change, until the source is
	// cleaned up.
	OnReload(reloaded func())

	// Status says how loading went.
	Status() files.Status
}

// Starter is implemented by sources with work to do once the configuration
// is otherwise known to be good.
type Starter interface {
	// Start makes certificates ready that can be had without waiting for
	// somebody else, such as a certificate authority on the network.
	Start() error

	// Commit is called when the configuration serves: what needs the running
	// server, such as ACME challenges, begins here. It must not block.
	Commit()
}

// Choose returns the certificate of a list that suits a client best: one that
// it supports rather than another; among those, one for the server name that it
// sent; where no name chooses, one for the address that it came to (RFC 6066
// section 3 has no names for addresses); and then one that is valid now. The
// first of those that are alike in this is it.
func Choose(hello *tls.ClientHelloInfo, certs []*tls.Certificate) *tls.Certificate {
	switch len(certs) {
	case 0:
		return nil
	case 1:
		return certs[0]
	}
	// SupportsCertificate compares the name as well, where a certificate for
	// another name may be the right one: bindings have decided that it serves.
	client := *hello
	client.ServerName = ""
	ip, now := localIP(hello), time.Now()
	best, bestRank := certs[0], -1
	for _, cert := range certs {
		if rank := rankOf(cert, hello.ServerName, &client, ip, now); rank > bestRank {
			best, bestRank = cert, rank
		}
	}
	return best
}

func rankOf(cert *tls.Certificate, name string, client *tls.ClientHelloInfo, ip netip.Addr, now time.Time) (rank int) {
	if client.SupportsCertificate(cert) == nil {
		rank += 8
	}
	leaf := cert.Leaf
	if leaf == nil {
		return rank
	}
	if name != "" && health.Covers(leaf, name) {
		rank += 4
	}
	if ip.IsValid() && slices.ContainsFunc(leaf.IPAddresses, func(own net.IP) bool { return own.Equal(ip.AsSlice()) }) {
		rank += 2
	}
	if certfile.ValidAt(leaf, now) {
		rank++
	}
	return rank
}

// localIP is the address that a client came to, without zone; the zero Addr if
// it is unknown.
func localIP(hello *tls.ClientHelloInfo) netip.Addr {
	if hello.Conn == nil {
		return netip.Addr{}
	}
	local, ok := hello.Conn.LocalAddr().(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Addr{}
	}
	return local.AddrPort().Addr().Unmap().WithZone("")
}
