package caddyiis

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
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

	Content
}

// Content is what serves a site's requests.
type Content struct {
	// The routes, as of a server in Caddy's http app.
	Routes caddyhttp.RouteList `json:"routes,omitempty"`

	// The routes for errors that the routes return.
	Errors *caddyhttp.HTTPErrorConfig `json:"errors,omitempty"`

	// In a template and in defaults: the variables of the sites, by name, up to 32.
	SiteVars map[string]*SiteVar `json:"site_vars,omitempty"`

	requests  bool // handlers may make requests of their server
	redirects bool // handlers may redirect to https
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

func (s *Site) started() bool { return s.Autostart == nil || *s.Autostart }

// parseSiteID reads a site's key: a decimal number from 1 without signs or
// leading zeros, as in a metabase path.
func parseSiteID(key string) (uint32, error) {
	id, err := strconv.ParseUint(key, 10, 32)
	if err != nil || id == 0 || key[0] == '0' || key[0] == '+' {
		return 0, fmt.Errorf("site id %q is not a number from 1 to 4294967295, such as 1", key)
	}
	return uint32(id), nil
}

// siteLabel names a site in messages: site 1 "Test".
func siteLabel(id uint32, name string) string {
	if name == "" {
		return fmt.Sprintf("site %d", id)
	}
	return fmt.Sprintf("site %d %q", id, name)
}

// configuredSites lists the sites of the configuration in the order of their ids.
func (a *App) configuredSites() ([]configured, error) {
	sites := make([]configured, 0, len(a.Sites))
	var errs []error
	for key, cfg := range a.Sites {
		id, err := parseSiteID(key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if cfg == nil {
			errs = append(errs, fmt.Errorf("site %d is null: delete it, or give it bindings", id))
			continue
		}
		sites = append(sites, configured{id: id, cfg: cfg})
	}
	slices.SortFunc(sites, func(x, y configured) int { return cmp.Compare(x.id, y.id) })
	slices.SortFunc(errs, func(x, y error) int { return cmp.Compare(x.Error(), y.Error()) })
	return sites, errors.Join(errs...)
}

// bindingSites turns sites into the form that package binding compiles.
func (a *App) bindingSites(sites []configured) ([]binding.Site, error) {
	inputs := make([]binding.Site, 0, len(sites))
	var errs errorList
	for i := range sites {
		inputs = append(inputs, a.bindingSite(&sites[i], &errs))
	}
	return inputs, errs.err()
}

// errorList collects errors, of which it keeps the first ones: a mistake that
// 100,000 sites have in common is one mistake.
type errorList struct {
	first []error
	more  int
}

const maxErrors = 20

func (l *errorList) add(label, format string, args ...any) {
	if len(l.first) == maxErrors {
		l.more++
		return
	}
	l.first = append(l.first, fmt.Errorf("%s: %w", label, fmt.Errorf(format, args...)))
}

func (l *errorList) err() error {
	if l.more > 0 {
		return errors.Join(append(l.first, fmt.Errorf("and %d more errors", l.more))...)
	}
	return errors.Join(l.first...)
}

func (a *App) bindingSite(c *configured, errs *errorList) binding.Site {
	cfg := c.cfg
	site := binding.Site{
		ID: c.id, Name: cfg.Name, Stopped: !cfg.started(),
		Bindings: make([]binding.SiteBinding, 0, len(cfg.ServerBindings)+len(cfg.SecureBindings)+len(cfg.Bindings)),
	}
	add := func(b *SiteBinding) {
		sb, err := a.siteBinding(c, b)
		if err != nil {
			errs.add(c.label(), "%w", err)
			return
		}
		site.Bindings = append(site.Bindings, sb)
	}
	for _, info := range cfg.ServerBindings {
		add(&SiteBinding{Protocol: "http", Binding: info})
	}
	for _, info := range cfg.SecureBindings {
		add(&SiteBinding{Protocol: "https", Binding: info})
	}
	for i, b := range cfg.Bindings {
		if b == nil {
			errs.add(c.label(), "binding %d is null", i)
			continue
		}
		add(b)
	}
	return site
}

func (a *App) siteBinding(c *configured, b *SiteBinding) (binding.SiteBinding, error) {
	parsed, err := binding.Parse(b.Protocol, b.Binding)
	if err != nil {
		return binding.SiteBinding{}, err
	}
	sb := binding.SiteBinding{Binding: parsed, Flags: binding.Flags(b.Flags)}
	if parsed.Protocol == binding.HTTP {
		if b.Certificate != "" || b.Store != "" || b.TLS != nil || b.LegacyTLS || b.Flags != 0 || b.Reject {
			return sb, fmt.Errorf("http binding %s: certificate, store, reject, flags and tls are for https bindings", parsed)
		}
		return sb, nil
	}
	if err := sb.Flags.Validate(); err != nil && sb.Flags&binding.FlagReject != 0 {
		return sb, fmt.Errorf("binding %s: %w", parsed, err)
	}
	if b.Reject {
		if b.Certificate != "" || b.Store != "" || b.TLS != nil || b.LegacyTLS || sb.Flags&^binding.FlagSNI != 0 {
			return sb, fmt.Errorf("binding %s: reject refuses its clients; beside it there is sni, and nothing else", parsed)
		}
		sb.Flags |= binding.FlagReject
		return sb, nil
	}
	if sb.Certificate, err = a.certificateOf(c, b, sb.Flags); err != nil {
		return sb, fmt.Errorf("binding %s: %w", parsed, err)
	}
	sb.TLS, err = tlsKey(b.TLS, b.LegacyTLS)
	if err != nil {
		return sb, fmt.Errorf("binding %s: %w", parsed, err)
	}
	return sb, nil
}

// certificateOf names the certificate or store of an https binding, empty if it is the
// central store or that of the endpoint.
func (a *App) certificateOf(c *configured, b *SiteBinding, flags binding.Flags) (string, error) {
	name, store := b.Certificate, b.Store
	if flags&binding.FlagCentralStore != 0 {
		if name != "" || store != "" {
			return "", fmt.Errorf("it takes its certificate from the central store (flag 2) and cannot name another, %q", cmp.Or(name, store))
		}
		return "", nil
	}
	if name == "" && store == "" {
		name, store = c.cfg.Certificate, c.cfg.Store
	}
	switch {
	case name != "" && store != "":
		return "", fmt.Errorf("certificate %q and store %q exclude each other", name, store)
	case store != "":
		return store, a.checkStore(store)
	case name != "" && !a.hasCertificateFor(c.source, name):
		return "", a.unknownCertificate(name)
	}
	return name, nil
}

// hasCertificate reports whether a certificate is configured. Only the first
// configuration of sites comes before certificates are loaded.
func (a *App) hasCertificate(name string) bool {
	if a.certificates != nil {
		return a.certificates[name] != nil && !a.isStore(name)
	}
	_, ok := a.CertificatesRaw[name]
	return ok
}

// hasCertificateFor reports whether the sites of a source may name a certificate: one of
// the configuration, or of that source. The source of sites of the configuration is empty.
func (a *App) hasCertificateFor(source, name string) bool {
	if a.hasCertificate(name) {
		return true
	}
	kept := a.sourceOfCertificate(name)
	return kept != nil && kept.Name == source
}

func (a *App) unknownCertificate(name string) error {
	names := sortedKeys(a.CertificatesRaw)
	if a.certificates != nil {
		names = slices.DeleteFunc(sortedKeys(a.certificates), a.isStore)
	}
	if a.isStore(name) {
		return fmt.Errorf("%q is a store: write store %s in place of certificate %s", name, name, name)
	}
	if len(names) == 0 {
		return fmt.Errorf("certificate %q is not configured, and no other is: add certificate %s <certificate_file> <key_file> to iis", name, name)
	}
	return fmt.Errorf("certificate %q is not configured: %s%s", name, expected(names), near.Hint(name, names))
}

// expected lists names to choose from, the first ones if there are many.
func expected(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("expected one of %q and %d more", names[:most], len(names)-most)
	}
	return fmt.Sprintf("expected one of %q", names)
}

// bindingEndpoints turns the configured endpoints into the form that package
// binding compiles, in a fixed order.
func (a *App) bindingEndpoints() ([]binding.Endpoint, error) {
	var endpoints []binding.Endpoint
	var errs []error
	for _, key := range sortedKeys(a.Endpoints) {
		endpoint, err := a.bindingEndpoint(key, a.Endpoints[key])
		if err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", key, err))
			continue
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, errors.Join(errs...)
}

func (a *App) bindingEndpoint(key string, cfg *Endpoint) (binding.Endpoint, error) {
	var endpoint binding.Endpoint
	if cfg == nil {
		return endpoint, errors.New("it is null")
	}
	var err error
	if endpoint.IP, endpoint.Port, err = binding.ParseEndpoint(key); err != nil {
		return endpoint, err
	}
	endpoint.Certificate, endpoint.Reject = cfg.Certificate, cfg.Reject
	switch {
	case cfg.Reject && (cfg.Certificate != "" || cfg.TLS != nil || cfg.LegacyTLS || cfg.SNIMissing != "" || cfg.SNIUnmatched != ""):
		return endpoint, errors.New("reject refuses all its clients, and stands alone")
	case cfg.Reject:
		return endpoint, nil
	case cfg.Certificate == "":
		return endpoint, errors.New("it names no certificate")
	}
	if !a.hasCertificate(cfg.Certificate) {
		return endpoint, a.unknownCertificate(cfg.Certificate)
	}
	if endpoint.TLS, err = tlsKey(cfg.TLS, cfg.LegacyTLS); err != nil {
		return endpoint, err
	}
	if cfg.SNIMissing != "" {
		policy, err := parsePolicy("sni_missing", cfg.SNIMissing)
		if err != nil {
			return endpoint, err
		}
		endpoint.SNIMissing = &policy
	}
	if cfg.SNIUnmatched != "" {
		policy, err := parsePolicy("sni_unmatched", cfg.SNIUnmatched)
		if err != nil {
			return endpoint, err
		}
		endpoint.SNIUnmatched = &policy
	}
	return endpoint, nil
}

func parseIPs(list []string) ([]netip.Addr, error) {
	ips := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.IsUnspecified() {
			return nil, fmt.Errorf("listen: %q is not an IP address of this machine, such as 10.0.0.5 or ::1", s)
		}
		ips = append(ips, ip.Unmap())
	}
	return ips, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
