package iisimport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// proxies writes the servers that rules lead to: Application Request Routing.
func (w *siteWriter) proxies() []*Directive {
	if len(w.origins) == 0 {
		return nil
	}
	settings := w.proxySettings()
	var out []*Directive
	for _, origin := range w.origins {
		d := block(slices.Clone(settings), "iis_proxy", "*", origin)
		if to := w.farm(origin); to != nil {
			d.Block = append(d.Block, directive(append([]string{"to"}, to...)...))
			d.Block = append(d.Block, w.balancing(origin)...)
		}
		d.hasBlock = d.Block != nil
		out = append(out, d)
	}
	return w.stage(stepAnswer, func(n *node) []*Directive {
		own := slices.Clone(out)
		for i, d := range own {
			if errors := w.replaced(n); errors != nil {
				own[i] = &Directive{Words: d.Words, Comments: d.Comments, Block: slices.Concat(d.Block, errors), hasBlock: true}
			}
		}
		return own
	})
}

// proxySettings are those of the section proxy of the site.
func (w *siteWriter) proxySettings() (out []*Directive) {
	p := w.root.settings.Proxy
	for _, n := range w.nodes {
		if other := n.settings.Proxy; other != nil && !sameProxy(p, *other) {
			w.report().decide(other.Source, "proxy at "+n.path, "write an iis_proxy with a matcher", "what it says beside enabled has no exact form for a path: that of the site holds")
		}
	}
	if p == nil {
		return nil
	}
	if p.PreserveHostHeader {
		out = append(out, directive("preserve_host"))
		w.report().translated(p.Source, "proxy preserveHostHeader", "preserve_host of iis_proxy")
	}
	if !p.ReverseRewriteHost {
		out = append(out, directive("keep_location"))
		w.report().translated(p.Source, "proxy reverseRewriteHostInResponseHeaders", "keep_location of iis_proxy")
	}
	out = append(out, w.forwardedFor(p)...)
	if p.ForwardedBy != "" {
		out = append(out, w.addressHeader(p, "xForwardedByHeaderName", p.ForwardedBy, "{http.request.local.host}")...)
	}
	if transport := w.proxyTransport(p); transport != nil {
		out = append(out, block(transport, "transport", "http"))
	}
	return out
}

// sameProxy tells whether two say the same, but for enabled, which holds at each path.
func sameProxy(p *iisconfig.Proxy, other iisconfig.Proxy) bool {
	if p == nil {
		return false
	}
	other.Enabled, other.Source = p.Enabled, p.Source
	return other == *p
}

// forwardedFor is the header with the address of the client. A client that sends one by itself
// deceives nobody: reverse_proxy replaces X-Forwarded-For, and this any other.
func (w *siteWriter) forwardedFor(p *iisconfig.Proxy) []*Directive {
	switch {
	case p.ForwardedFor == "":
		w.report().dropped(p.Source, "proxy xForwardedForHeaderName", "IIS sends no such header; reverse_proxy sends X-Forwarded-For")
		return nil
	case !strings.EqualFold(p.ForwardedFor, "X-Forwarded-For"):
		value := "{http.request.remote.host}"
		if p.ForwardedForPort {
			value = "{http.request.remote}"
		}
		return w.addressHeader(p, "xForwardedForHeaderName", p.ForwardedFor, value)
	case p.ForwardedForPort:
		w.report().dropped(p.Source, "proxy includePortInXForwardedFor", "X-Forwarded-For has no port here")
	default:
		w.report().translated(p.Source, "proxy includePortInXForwardedFor", "X-Forwarded-For has no port")
	}
	return nil
}

// addressHeader gives the server an address in a header with a name of its own.
func (w *siteWriter) addressHeader(p *iisconfig.Proxy, attr, name, value string) []*Directive {
	what := "proxy " + attr + " " + name
	if !reHeaderName.MatchString(name) || !expressible(name) || strings.EqualFold(name, "Host") {
		w.report().decide(p.Source, what, "write header_up into iis_proxy", "it is no name of a header that could be sent")
		return nil
	}
	w.report().translated(p.Source, what, "header_up of iis_proxy, in place of what the client sends; X-Forwarded-For is sent as well")
	return []*Directive{directive("header_up", name, value)}
}

// proxyTransport is how the servers are asked. Without a time of its own, IIS ends a request
// after two minutes.
func (w *siteWriter) proxyTransport(p *iisconfig.Proxy) (out []*Directive) {
	switch seconds, ok := timeSpan(p.Timeout); {
	case !ok || seconds == 0 || p.Timeout == "":
		w.report().decide(p.Source, "proxy timeout "+p.Timeout, "write response_header_timeout into transport http of iis_proxy", "it is no time: nothing ends a request")
	default:
		timeout := strconv.Itoa(seconds) + "s"
		out = append(out, directive("response_header_timeout", timeout))
		w.report().translated(p.Source, "proxy timeout "+p.Timeout, "response_header_timeout %s of iis_proxy: 504 where no answer has begun by then", timeout)
	}
	switch strings.ToLower(p.HTTPVersion) {
	case "", "passthrough":
	case "http11":
		out = append(out, directive("versions", "1.1"))
		w.report().translated(p.Source, "proxy httpVersion "+p.HTTPVersion, "versions 1.1 of iis_proxy")
	default:
		w.report().decide(p.Source, "proxy httpVersion "+p.HTTPVersion, "", "there is no such version here: servers are asked by HTTP/1.1 and HTTP/2")
	}
	return out
}
