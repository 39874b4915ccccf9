package serve

import (
	"net/http"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// mayBeTakenOver reports whether a handler may take the connection of a request over:
// one that is known does if the request asks for another protocol.
func (sr *siteRequest) mayBeTakenOver(r *http.Request) bool {
	switch {
	case sr.admitted:
		return false
	case r.ProtoMajor == 1:
		return len(r.Header["Upgrade"]) > 0 || sr.site.Content.May.requests || sr.site.Content.own != nil
	}
	return front.ExtendedConnect(r)
}

// takenPlace is what a connection that may be taken over asked for. It holds no
// configuration: the connection may outlive many.
type takenPlace struct {
	site      uint32
	host      string // as the request named it
	protocol  binding.Protocol
	forwarded bool // a proxy that is trusted says that the client came to it by https
	made      Connection
}

// newUpgrade returns what becomes of a request that may be taken over.
func newUpgrade(sr *siteRequest, r *http.Request) *upgrades.Request {
	place := &takenPlace{
		site: sr.site.id, host: r.Host, protocol: binding.HTTP,
		made: *liveConnection(r, front.ConnFrom(r.Context())),
	}
	if r.TLS != nil {
		place.protocol = binding.HTTPS
	} else {
		place.forwarded = forwardedHTTPS(r)
	}
	return upgrades.New(r, sr.site.Content.group, place, sr.exit)
}

// Admitted implements upgrades.Place.
func (p *takenPlace) Admitted() bool {
	app, ok := fronts.Handler().(*Instance)
	if !ok {
		return false
	}
	_, sn := app.Serving()
	match, ordinary, valid := sn.RequestOwner(p.made.local, p.protocol, p.host)
	if ordinary != nil || !valid || match.Site == nil || match.Binding.HeldBack() || match.Site.ID != p.site {
		return false
	}
	site := sn.Sites.At(match.Site.Index)
	demanded := sn.Demand(&p.made, p.host, site, match)
	if p.forwarded {
		demanded = site.forwarded(demanded, false)
	}
	return demanded.Status == 0
}
