package caddyiis

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// ServeHTTP is table D2 at work: it decides which site a request is for.
//
// On a port shared with ordinary Caddy sites, hosts that bindings name come
// first, then those of the ordinary sites, then bindings without host, and
// last a catch-all of the ordinary server. The owner is decided before any of
// Caddy's servers sees the request, so that each is logged once.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := front.ConnFrom(r.Context())
	protocol := binding.HTTP
	if r.TLS != nil {
		protocol = binding.HTTPS
	} else if certmagic.LooksLikeHTTPChallenge(r) && a.tls.HandleHTTPChallenge(w, r) {
		return // on any host: the name need not have an http binding
	}
	host, valid := binding.Host(r.Host)
	match := a.siteMatch(conn.Local, protocol, host)
	if len(a.ordinary) > 0 && !byHost(match.Rule) {
		if ordinary := a.ordinaryAt(conn.Local, r.TLS != nil); ordinary != nil && ordinary.owns(host, match) {
			ordinary.serve(w, r, a, conn)
			return
		}
	}
	switch {
	case !valid:
		writePage(w, r, http.StatusBadRequest, headingInvalidHostname)
	case match.Site == nil:
		a.answerUnknownHost(w, r, conn)
	default:
		a.serveSite(w, r, match)
	}
}

// byHost reports whether a binding was found by the request's host, exactly or
// as a wildcard.
func byHost(rule binding.Rule) bool { return rule >= binding.D2_2 && rule <= binding.D2_5 }

// siteMatch asks table D2, for addresses that the bindings cover: on a shared
// port an ordinary server may listen at others.
func (a *App) siteMatch(local netip.AddrPort, protocol binding.Protocol, host binding.HostName) binding.SiteMatch {
	if covered, ok := a.tables.Covers(local); !ok || covered != protocol {
		return binding.SiteMatch{Rule: binding.D2_8}
	}
	return a.tables.Site(local, protocol, host)
}

func (a *App) serveSite(w http.ResponseWriter, r *http.Request, match binding.SiteMatch) {
	site := a.sites[match.Site.Index]
	if site.offline {
		writePage(w, r, http.StatusServiceUnavailable, headingUnavailable)
		return
	}
	ctx := context.WithValue(r.Context(), siteRequestKey{}, siteRequest{site, match.Binding})
	site.server.ServeHTTP(w, r.WithContext(ctx))
}

// answerUnknownHost answers a request for a host that no site has here.
func (a *App) answerUnknownHost(w http.ResponseWriter, r *http.Request, conn *front.Conn) {
	if c := a.logger.Check(zap.DebugLevel, "no binding for this host"); c != nil {
		c.Write(
			zap.Stringer("local", conn.Local),
			zap.String("host", r.Host),
			zap.String("remote", r.RemoteAddr))
	}
	switch status := a.options.unknownHost; status {
	case unknownHostAbort:
		panic(http.ErrAbortHandler)
	case http.StatusBadRequest:
		writePage(w, r, status, headingInvalidHostname)
	default:
		writePage(w, r, status, http.StatusText(status))
	}
}
