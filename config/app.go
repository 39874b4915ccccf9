// Package config is what is asked of the app iis: its JSON, the words of the Caddyfile
// for it, and what these mean. It serves nothing and opens nothing.
package config

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// App is what is asked of the app iis.
type App struct {
	// The sites, keyed by site id: a decimal number from 1, as in the
	// metabase path /w3svc/1. Ids order sites wherever order matters.
	Sites map[string]*Site `json:"sites,omitempty"`

	// The certificates, keyed by the names that sites, bindings and endpoints
	// use for them.
	CertificatesRaw map[string]json.RawMessage `json:"certificates,omitempty" caddy:"namespace=iis.certificates inline_key=source"`

	// The central certificate store, for bindings with flag 2.
	CentralStore *certsel.CentralStore `json:"central_store,omitempty"`

	// Stores of certificates by host name, keyed by the names that sites and bindings
	// use for them. No certificate has the same name.
	StoresRaw map[string]json.RawMessage `json:"stores,omitempty" caddy:"namespace=iis.stores inline_key=store"`

	// Certificates by IP address and port, keyed as in "10.0.0.5:8443",
	// "*:8443" or "[::]:8443", like netsh http add sslcert ipport=. They
	// serve clients whose server name selects nothing, or who send none.
	Endpoints map[string]*Endpoint `json:"endpoints,omitempty"`

	// The IP addresses to listen on, as netsh http add iplisten. Default: all
	// addresses of each port that a binding names, as HTTP.sys does.
	Listen []string `json:"listen,omitempty"`

	// What a client gets that sends no server name: "fallback", the
	// certificate of the endpoint (default), or "reject", a refused handshake.
	SNIMissing string `json:"sni_missing,omitempty"`

	// What a client gets whose server name selects nothing here: "fallback",
	// the certificate of the endpoint (default), or "reject".
	SNIUnmatched string `json:"sni_unmatched,omitempty"`

	// The answer to a request for a host that no site has: "400" (default, as
	// HTTP.sys documents it), "404" (as it is seen to answer on ports 80 and
	// 443), "421", or "abort", which closes the connection without an answer.
	UnknownHost string `json:"unknown_host,omitempty"`

	// What happens when bindings contradict each other: "reject", the
	// configuration is refused (default), or "first_wins", the site with the
	// lower id has it and a warning is logged, as IIS 6 did.
	Conflicts string `json:"conflicts,omitempty"`

	// How many labels the asterisk of a wildcard host name stands for: "one"
	// (default) or "any" number of them.
	WildcardDepth string `json:"wildcard_depth,omitempty"`

	// What happens to a request on a connection that was made for another
	// host: "secure" answers 421 only if the site's own TLS settings would not
	// have allowed the connection as it was negotiated, or would have asked the
	// client for a certificate that it was never asked for (default), "strict"
	// answers 421 unless the server name selects the site, "allow" never does
	// (RFC 9110 section 15.5.20).
	Misdirected string `json:"misdirected,omitempty"`

	// Whether answers such as 403.4 carry the sub-status in the header
	// X-IIS-Substatus. Default: true.
	SubStatusHeader *bool `json:"substatus_header,omitempty"`

	// How long connections that handlers have taken over, such as WebSockets, may hold
	// these handlers when their configuration was replaced. What else it consists of
	// does not wait for them. They end at once if their site is removed or stopped, or
	// demands what they do not have. Default: 1h. 0: they end with the requests in
	// flight, as in Caddy.
	DrainUpgraded *caddy.Duration `json:"drain_upgraded,omitempty"`

	// How long requests in flight may hold a configuration that was replaced,
	// and how long Caddy waits for them when it exits. After a change nobody
	// waits: the new configuration serves meanwhile. Default: 90s, as an IIS
	// worker process has.
	Drain caddy.Duration `json:"drain,omitempty"`

	// Logs the server names that clients send and nobody has, clients that send
	// none, and handshakes that are refused, as a sample: with the logger iis.sni,
	// 10 lines at once and then one each second for each reason. They tell whom
	// sni_missing and sni_unmatched reject, or would. Default: false.
	LogSNI bool `json:"log_sni,omitempty"`

	// Enables the access log of all sites. A site's log is the logger
	// iis.log.access.<site id>.
	AccessLog bool `json:"access_log,omitempty"`

	// The log of each site in the W3C format, in files as IIS has them.
	W3CLog *W3CLog `json:"w3c_log,omitempty"`

	// Counts requests by site and class of status, at Caddy's metrics endpoint.
	// Handshakes, unknown hosts, sites by state and the expiry of
	// certificates are there in any case.
	Metrics bool `json:"metrics,omitempty"`

	// What serves sites without routes of their own.
	Defaults *Content `json:"defaults,omitempty"`

	// What serves the sites that name it as their template.
	Templates map[string]*Content `json:"templates,omitempty"`

	// A file with further sites, one JSON object a line: a site as in sites,
	// with its id as the number "id" and a template instead of routes. The file
	// is watched. A change applies as a whole, as a difference and without a
	// load of Caddy's configuration; a file with an error changes nothing.
	SitesFile string `json:"sites_file,omitempty"`

	// Sources of further sites, which are changed while they serve: by the API, which
	// writes them, without a load of Caddy's configuration. Sites of the configuration
	// come before theirs, and theirs in the order of this list.
	SitesFromRaw []json.RawMessage `json:"sites_from,omitempty" caddy:"namespace=iis.sites inline_key=source"`

	// Settings of the HTTP servers of all bindings: timeouts, protocols,
	// trusted proxies, listener wrappers and so on, as in Caddy's http app.
	// What bindings, sites and certificates decide is refused here, such as
	// listen, routes and tls_connection_policies.
	Server *caddyhttp.Server `json:"server,omitempty"`
}
