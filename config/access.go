package config

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
)

// Access is what a site demands of a connection before its routes see a
// request, as IIS checks it after the site is chosen.
type Access struct {
	// What a request over http gets: "" is served (default), "on" is answered
	// with 403.4 as IIS does, "redirect" is sent to https. A request of one of
	// the trusted_proxies of the server, with "https" in X-Forwarded-Proto,
	// counts as one over https.
	RequireSSL string `json:"require_ssl,omitempty"`

	// If true, requests over http for /.well-known/acme-challenge/<token> reach
	// the routes, whatever require_ssl and the redirect of hsts say: certificate
	// authorities ask there (RFC 8555 section 8.3) for certificates that somebody
	// else than this Caddy obtains. Challenges of its own are answered in any case.
	ExceptACMEChallenges bool `json:"except_acme_challenges,omitempty"`

	// If true, requests without a client certificate are answered with 403.7.
	// The bindings' or the endpoint's tls settings must ask for it: they name
	// the authorities.
	RequireClientCertificate bool `json:"require_client_certificate,omitempty"`

	// HTTP Strict Transport Security, as IIS 10 version 1709 has it.
	HSTS *HSTS `json:"hsts,omitempty"`

	// What happens to a request on a connection that was made for another
	// host; overrides misdirected of the app.
	Misdirected string `json:"misdirected,omitempty"`
}

// HSTS is HTTP Strict Transport Security (RFC 6797).
type HSTS struct {
	// For how long browsers shall use https only. Whole seconds; 0, the
	// default, makes them forget.
	MaxAge caddy.Duration `json:"max_age"`

	// Whether it holds for all subdomains as well.
	IncludeSubdomains bool `json:"include_subdomains,omitempty"`

	// Whether browsers may have the site on their built-in lists.
	Preload bool `json:"preload,omitempty"`

	// Whether requests over http are redirected to https. As in IIS, the
	// target is always the standard port.
	RedirectHTTP bool `json:"redirect_http,omitempty"`
}

// Header is the value of the header Strict-Transport-Security.
func (h *HSTS) Header() string {
	value := "max-age=" + strconv.FormatInt(int64(h.MaxAge)/1e9, 10)
	if h.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}
