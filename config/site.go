package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// Site is one web site: its bindings and what it serves.
type Site struct {
	// The site's name, as the ServerComment of IIS 6 or the name of IIS 7.
	Name string `json:"name,omitempty"`

	// The http bindings in the form of IIS 6, IP:port:host, where IP and host
	// may be empty.
	ServerBindings []string `json:"server_bindings,omitempty"`

	// The https bindings in the form of IIS 6, IP:port:host. They use the
	// site's certificate, by IP address and port.
	SecureBindings []string `json:"secure_bindings,omitempty"`

	// The bindings in the form of IIS 7 and later. They count beside
	// server_bindings and secure_bindings.
	Bindings []*SiteBinding `json:"bindings,omitempty"`

	// The name of the certificate of all https bindings that name none.
	Certificate string `json:"certificate,omitempty"`

	// The name of the store that has the certificates of all https bindings that name
	// neither, by the server names that clients send. It excludes certificate.
	Store string `json:"store,omitempty"`

	// Whether the site is started, as ServerAutoStart and serverAutoStart. The
	// bindings of a stopped site select nothing; its certificates still
	// serve, as in HTTP.sys. Default: true.
	Autostart *bool `json:"autostart,omitempty"`

	// If true, the site answers every request with 503, as IIS does when the
	// application pool is stopped.
	Offline bool `json:"offline,omitempty"`

	Access

	// Enables the site's access log, the logger iis.log.access.<site id>.
	AccessLog bool `json:"access_log,omitempty"`

	// The name of the template that serves the site, instead of routes of its
	// own or the defaults.
	Template string `json:"template,omitempty"`

	// The values of the variables that the template or the defaults declare in
	// site_vars: the placeholders {iis.vars.<name>}. Texts of up to 1024 bytes, which
	// are put in as they are. A site with routes of its own may have any, up to 32.
	Vars map[string]string `json:"vars,omitempty"`

	// The routes and error routes of a row as canonical JSON, once they have been checked;
	// nil: they are those of the configuration, or there are none.
	OwnRoutes json.RawMessage `json:"-"`

	Content
}

// Content is what serves a site's requests.
type Content struct {
	// The routes, as of a server in Caddy's http app.
	Routes caddyhttp.RouteList `json:"routes,omitzero"`

	// The routes for errors that the routes return.
	Errors *caddyhttp.HTTPErrorConfig `json:"errors,omitempty"`

	// In a template and in defaults: the variables of the sites, by name, up to 32.
	SiteVars map[string]*SiteVar `json:"site_vars,omitempty"`

	// The log in the W3C format of the sites that this is for.
	W3CLog *W3CLog `json:"w3c_log,omitempty"`
}

// SiteBinding is one binding in the form of IIS 7 and later.
type SiteBinding struct {
	// The protocol: http or https.
	Protocol string `json:"protocol"`

	// IP:port:host, as bindingInformation. IP may be * or empty, host empty.
	Binding string `json:"binding"`

	// The sslFlags of IIS 8 and later, a sum of: 1 the certificate is for
	// clients that send the binding's host as server name (SNI); 2 the
	// certificate comes from the central store; 4 no HTTP/2; 8 no OCSP
	// stapling; 16 no HTTP/3; 32 no TLS 1.3; 64 no TLS older than 1.2.
	// Default: 0, a certificate by IP address and port.
	Flags uint16 `json:"flags,omitempty"`

	// The name of the certificate. Default: the site's.
	Certificate string `json:"certificate,omitempty"`

	// The name of the store that has the certificates of the binding's clients, by the
	// server names that they send. It excludes certificate. Default: the site's.
	Store string `json:"store,omitempty"`

	// If true, handshakes that come to the record of this binding are refused:
	// with flag 1 those for its host, else all at its IP address and port that
	// no other record is for. It has no certificate and no TLS settings then.
	// Requests for its host on connections made for another get 421. As reject=enable
	// of netsh http add sslcert. Default: false.
	Reject bool `json:"reject,omitempty"`

	// TLS settings of the connections that this binding's certificate serves,
	// as in a TLS connection policy of Caddy, without matchers.
	TLS *caddytls.ConnectionPolicy `json:"tls,omitempty"`

	// Turns on TLS 1.0 and 1.1, for devices that know nothing else, with old
	// cipher suites as far as Go has them. Default: false.
	LegacyTLS bool `json:"legacy_tls,omitempty"`
}

// Endpoint is the certificate of an IP address and port.
type Endpoint struct {
	// The name of the certificate. Required, unless reject is true.
	Certificate string `json:"certificate,omitempty"`

	// If true, handshakes that come to this record are refused, as
	// reject=enable of netsh http add sslcert does: those with a server name
	// that has a record of its own are not. Default: false.
	Reject bool `json:"reject,omitempty"`

	// TLS settings of the connections that this certificate serves, as in a
	// TLS connection policy of Caddy, without matchers.
	TLS *caddytls.ConnectionPolicy `json:"tls,omitempty"`

	// Turns on TLS 1.0 and 1.1, for devices that know nothing else.
	LegacyTLS bool `json:"legacy_tls,omitempty"`

	// Overrides sni_missing at this endpoint.
	SNIMissing string `json:"sni_missing,omitempty"`

	// Overrides sni_unmatched at this endpoint.
	SNIUnmatched string `json:"sni_unmatched,omitempty"`
}

// Started reports whether the bindings of the site select it.
func (s *Site) Started() bool { return s.Autostart == nil || *s.Autostart }

// NamesCertificate reports whether a site or one of its bindings names a certificate.
func (s *Site) NamesCertificate(name string) bool {
	return s.Certificate == name ||
		slices.ContainsFunc(s.Bindings, func(b *SiteBinding) bool { return b != nil && b.Certificate == name })
}

// ParseSiteID reads a site's key: a decimal number from 1 without signs or
// leading zeros, as in a metabase path.
func ParseSiteID(key string) (uint32, error) {
	id, err := strconv.ParseUint(key, 10, 32)
	if err != nil || id == 0 || key[0] == '0' || key[0] == '+' {
		return 0, fmt.Errorf("site id %q is not a number from 1 to 4294967295, such as 1", key)
	}
	return uint32(id), nil
}

// SiteLabel names a site in messages: site 1 "Test".
func SiteLabel(id uint32, name string) string {
	if name == "" {
		return fmt.Sprintf("site %d", id)
	}
	return fmt.Sprintf("site %d %q", id, name)
}
