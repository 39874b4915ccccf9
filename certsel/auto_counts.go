package certsel

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/mholt/acmez/v3/acme"
)

// The reasons of failures, few enough for labels of metrics.
const (
	reasonBusy         = iota // too much was under way
	reasonNotPermitted        // the permission module does not allow the name
	reasonRateLimited         // the authority wants fewer orders
	reasonDNS                 // the authority does not find the name
	reasonUnreachable         // the authority does not reach the host
	reasonRefused             // the authority refuses for another reason
	reasonNoAuthority         // the authority is not reached
	reasonTimeout             // it took too long
	reasonOther               // storage, and what has no name here
	reasonKinds
)

// FailureReasons are the names of the reasons why certificates are not obtained.
var FailureReasons = [reasonKinds]string{
	"busy", "not_permitted", "rate_limited", "dns", "unreachable", "refused", "no_authority", "timeout", "other",
}

// reasonOf finds the reason of an error.
func reasonOf(err error) int {
	var denied notPermittedError
	var problem acme.Problem
	var network net.Error
	switch {
	case errors.Is(err, errBusy):
		return reasonBusy
	case errors.As(err, &denied):
		return reasonNotPermitted
	case errors.As(err, &problem):
		switch strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace) {
		case "rateLimited":
			return reasonRateLimited
		case "dns":
			return reasonDNS
		case "connection", "tls":
			return reasonUnreachable
		}
		return reasonRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonTimeout
	case errors.As(err, &network):
		return reasonNoAuthority
	}
	return reasonOther
}

// autoCounts counts what an [Auto] does. They are found by its name, and go on over
// loads of the configuration: by them one finds the next.
type autoCounts struct {
	name                string
	hits, reads, orders atomic.Uint64
	failures            [reasonKinds]atomic.Uint64
	serving             atomic.Pointer[Auto] // of the configuration that serves
}

var countsByName = caddy.NewUsagePool()

func joinCounts(name string) *autoCounts {
	val, _, _ := countsByName.LoadOrNew(name, func() (caddy.Destructor, error) { return &autoCounts{name: name}, nil })
	return val.(*autoCounts)
}

// leave ends the use of the counts by one configuration.
func (c *autoCounts) leave() {
	if c.name != "" {
		_, _ = countsByName.Delete(c.name)
	}
}

// Destruct implements caddy.Destructor; memory is all there is to free.
func (*autoCounts) Destruct() error { return nil }

func (c *autoCounts) failed(reason int) { c.failures[reason].Add(1) }

// AutoStats is what an [Auto] has done since there is a certificate of its name.
type AutoStats struct {
	Memory   int                 // certificates in memory
	Hits     uint64              // look-ups that found one there; a handshake makes one or two
	Reads    uint64              // of storage, for clients and ahead
	Orders   uint64              // with issuers, renewals included
	Failures [reasonKinds]uint64 // by FailureReasons
}

// Stats returns what has been done.
func (a *Auto) Stats() AutoStats {
	s := AutoStats{
		Memory: int(a.entries.count.Load()),
		Hits:   a.counts.hits.Load(), Reads: a.counts.reads.Load(), Orders: a.counts.orders.Load(),
	}
	for i := range a.counts.failures {
		s.Failures[i] = a.counts.failures[i].Load()
	}
	return s
}
