package serve

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// RequestOwner decides who answers a request: an ordinary server, else the
// matched site, else nobody; valid tells whether the Host is one at all. On a
// port shared with ordinary Caddy sites, hosts that bindings name come first,
// then those of the ordinary sites, then bindings without host, and last a
// catch-all of the ordinary server.
func (sn *Snapshot) RequestOwner(local netip.AddrPort, protocol binding.Protocol, header string) (_ binding.SiteMatch, _ *OrdinaryServer, valid bool) {
	host, valid := binding.Host(header)
	match := sn.siteMatch(local, protocol, host)
	if len(sn.Ordinary) > 0 && !byHost(match.Rule) {
		if o, alone := sn.OrdinaryAt(local, protocol == binding.HTTPS); o != nil && (alone || o.owns(host, match)) {
			return match, o, valid
		}
	}
	return match, nil, valid
}

// ServeHTTP is table D2 at work: it decides which site a request is for, before
// any of Caddy's servers sees it, so that each request is logged once.
func (a *Instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := front.ConnFrom(r.Context())
	protocol := binding.HTTP
	if r.TLS != nil {
		protocol = binding.HTTPS
		handshakeIsOver(conn)
		withdrawHTTP3(w, conn)
	}
	now := a.Now()
	if handshakeOf(conn) == challengeHandshake {
		now.answerItself(w, r, ownAnswer{http.StatusMisdirectedRequest, http.StatusText(http.StatusMisdirectedRequest)})
		return
	}
	if a.challenges.ServeHTTP(w, r) {
		return
	}
	match, ordinary, valid := now.RequestOwner(conn.Local, protocol, r.Host)
	if r.Host == "" && r.ProtoAtLeast(1, 1) {
		valid = false // only HTTP/1.0 knows requests without a host
	}
	switch {
	case ordinary != nil:
		now.serveOrdinary(w, r, conn, ordinary)
	case !valid, !validTarget(r):
		now.answerItself(w, r, ownAnswer{http.StatusBadRequest, HeadingInvalidHostname})
	case match.Site == nil:
		now.answerUnknownHost(w, r, conn)
	case match.Binding.HeldBack():
		now.answerItself(w, r, HeldBackAnswer)
	default:
		a.serveSite(now, w, r, conn, match)
	}
}

// withdrawHTTP3 takes the front's offer of HTTP/3 back on connections whose
// record refuses it.
func withdrawHTTP3(w http.ResponseWriter, conn *front.Conn) {
	if made := handshakeOf(conn); made != nil && made.policy != nil && !made.policy.QUIC() {
		w.Header().Del("Alt-Svc")
	}
}

// byHost reports whether a binding was found by the request's host, exactly or
// as a wildcard.
func byHost(rule binding.Rule) bool { return rule >= binding.D2_2 && rule <= binding.D2_5 }

// siteMatch asks table D2, for addresses that the bindings cover: on a shared
// port an ordinary server may listen at others.
func (sn *Snapshot) siteMatch(local netip.AddrPort, protocol binding.Protocol, host binding.HostName) binding.SiteMatch {
	if !sn.bindingsCover(local, protocol) {
		return binding.SiteMatch{Rule: binding.D2_8}
	}
	return sn.Tables.Site(local, protocol, host)
}

// bindingsCover reports whether bindings serve an address that the front has
// accepted a connection for. Where no ordinary server listens they do, even if
// it is an address that only a PROXY header tells of.
func (sn *Snapshot) bindingsCover(local netip.AddrPort, protocol binding.Protocol) bool {
	if o, _ := sn.OrdinaryAt(local, protocol == binding.HTTPS); o == nil {
		return true
	}
	covered, ok := sn.Tables.Covers(local)
	return ok && covered == protocol
}

func (a *Instance) serveSite(sn *Snapshot, w http.ResponseWriter, r *http.Request, conn *front.Conn, match binding.SiteMatch) {
	site := sn.Sites.At(match.Site.Index)
	var exit func()
	if own := site.Content.own; own != nil {
		if !own.Enter() { // a change was faster
			if next, now := a.Serving(); now != sn {
				next.ServeHTTP(w, r)
			} else {
				sn.answerItself(w, r, HeldBackAnswer)
			}
			return
		}
		exit = sync.OnceFunc(own.Exit)
		defer exit()
	}
	var logged *w3clog.Request
	if site.w3c != nil {
		logged = site.w3c.Begin(w, r, conn.Local, site.id)
		w = logged
	}
	if site.metrics != nil {
		counted := &countedResponse{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, metrics: site.metrics, uncounted: r.Method == http.MethodHead || front.ExtendedConnect(r)}
		// A handler that writes nothing answers with 200.
		defer counted.count(http.StatusOK)
		w = counted
	}
	found := sn.Demand(liveConnection(r, conn), r.Host, site, match)
	switch {
	case found.Status == http.StatusMisdirectedRequest && site.metrics != nil:
		site.metrics.misdirect()
	case found.Status == 0 && r.TLS != nil && site.Access.hsts != "":
		w.Header().Set("Strict-Transport-Security", site.Access.hsts)
	}
	ctx := &siteContext{r.Context(), siteRequest{site: site, binding: match.Binding.Binding, answer: found, exit: exit}}
	r = r.WithContext(ctx)
	if site.metrics != nil && r.Body != nil && r.Body != http.NoBody && !front.ExtendedConnect(r) {
		r.Body = &countedBody{r.Body, site.metrics}
	}
	if logged != nil {
		defer logged.End()
		r = logged.Enter(r, &ctx.request)
	}
	site.Content.server.ServeHTTP(w, r)
	if logged != nil {
		logged.Returned()
	}
}

// serveOrdinary hands a request to an ordinary server. Where client certificates are
// asked for, the connection must have been made under this server's policies, as they are
// now: the server itself only compares Host and server name.
func (sn *Snapshot) serveOrdinary(w http.ResponseWriter, r *http.Request, conn *front.Conn, o *OrdinaryServer) {
	if refused := o.Demand(liveConnection(r, conn)); refused.Status != 0 {
		sn.answerItself(w, r, ownAnswer{refused.Status, http.StatusText(refused.Status)})
		return
	}
	o.srv.ServeHTTP(w, r)
}

// answerUnknownHost answers a request for a host that no site has here.
func (sn *Snapshot) answerUnknownHost(w http.ResponseWriter, r *http.Request, conn *front.Conn) {
	sn.countUnknownHost(conn.Local.Port())
	if c := sn.logger.Check(zap.DebugLevel, "no binding for this host"); c != nil {
		c.Write(
			zap.Stringer("local", conn.Local),
			zap.String("host", Printable(r.Host)),
			zap.String("remote", r.RemoteAddr))
	}
	switch status := sn.Options.UnknownHost; status {
	case config.UnknownHostAbort:
		panic(http.ErrAbortHandler)
	case http.StatusBadRequest:
		sn.answerItself(w, r, ownAnswer{status, HeadingInvalidHostname})
	default:
		sn.answerItself(w, r, ownAnswer{status, http.StatusText(status)})
	}
}

// validTarget reports whether the target of a request can be asked for: a path, "*"
// for OPTIONS, or a URL of a web server with a host and without a user (RFC 9110, 4.2.4).
// net/http takes more, and a redirect would put the rest behind the host's name.
func validTarget(r *http.Request) bool {
	u := r.URL
	switch {
	case u.Opaque != "", u.User != nil:
		return false
	case r.Method == http.MethodConnect && !front.ExtendedConnect(r):
		return false
	case u.Scheme != "" && !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https"), u.Scheme != "" && u.Host == "":
		return false
	case u.Path == "*":
		return r.Method == http.MethodOptions
	}
	return strings.HasPrefix(u.Path, "/") || u.Path == "" && u.Scheme != ""
}
