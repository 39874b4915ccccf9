package serve

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// configuredSites lists the sites of the configuration in the order of their ids.
func (a *Instance) configuredSites() ([]configured, error) {
	sites := make([]configured, 0, len(a.Sites))
	var errs []error
	for key, cfg := range a.Sites {
		id, err := config.ParseSiteID(key)
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
	slices.SortFunc(sites, byID)
	slices.SortFunc(errs, func(x, y error) int { return cmp.Compare(x.Error(), y.Error()) })
	return sites, errors.Join(errs...)
}

// bindingSites turns sites into the form that package binding compiles.
func (a *Instance) bindingSites(sites []configured) ([]binding.Site, error) {
	inputs := make([]binding.Site, 0, len(sites))
	var errs many.Errors
	for i := range sites {
		inputs = append(inputs, a.bindingSite(&sites[i], &errs))
	}
	return inputs, errs.Err()
}

func (a *Instance) bindingSite(c *configured, errs *many.Errors) binding.Site {
	if c.input != nil {
		return *c.input
	}
	cfg := c.cfg
	site := binding.Site{
		ID: c.id, Name: cfg.Name, Stopped: !cfg.Started(), Partly: c.isRow(),
		Bindings: make([]binding.SiteBinding, 0, len(cfg.ServerBindings)+len(cfg.SecureBindings)+len(cfg.Bindings)),
	}
	add := func(b *config.SiteBinding) {
		sb, err := a.siteBinding(c, b)
		if err != nil {
			errs.Add(c.label(), "%w", err)
			return
		}
		site.Bindings = append(site.Bindings, sb)
	}
	for _, info := range cfg.ServerBindings {
		add(&config.SiteBinding{Protocol: "http", Binding: info})
	}
	for _, info := range cfg.SecureBindings {
		add(&config.SiteBinding{Protocol: "https", Binding: info})
	}
	for i, b := range cfg.Bindings {
		if b == nil {
			errs.Add(c.label(), "binding %d is null", i)
			continue
		}
		add(b)
	}
	return site
}

func (a *Instance) siteBinding(c *configured, b *config.SiteBinding) (binding.SiteBinding, error) {
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
	sb.TLS, err = policies.KeyOf(b.TLS, b.LegacyTLS)
	if err != nil {
		return sb, fmt.Errorf("binding %s: %w", parsed, err)
	}
	return sb, nil
}

// certificateOf names the certificate or store of an https binding, empty if it is the
// central store or that of the endpoint.
func (a *Instance) certificateOf(c *configured, b *config.SiteBinding, flags binding.Flags) (string, error) {
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
func (a *Instance) hasCertificate(name string) bool {
	if a.certificates != nil {
		return a.certificates[name] != nil && !a.IsStore(name)
	}
	_, ok := a.CertificatesRaw[name]
	return ok
}

// hasCertificateFor reports whether the sites of a source may name a certificate: one of
// the configuration, or of that source. The source of sites of the configuration is empty.
func (a *Instance) hasCertificateFor(source, name string) bool {
	if a.hasCertificate(name) {
		return true
	}
	kept := a.SourceOfCertificate(name)
	return kept != nil && kept.Name == source
}

func (a *Instance) unknownCertificate(name string) error {
	names := SortedKeys(a.CertificatesRaw)
	if a.certificates != nil {
		names = slices.DeleteFunc(SortedKeys(a.certificates), a.IsStore)
	}
	if a.IsStore(name) {
		return fmt.Errorf("%q is a store: write store %s in place of certificate %s", name, name, name)
	}
	if len(names) == 0 {
		return fmt.Errorf("certificate %q is not configured, and no other is: add certificate %s <certificate_file> <key_file> to iis", name, name)
	}
	return fmt.Errorf("certificate %q is not configured: %s%s", name, near.Expected(names), near.Hint(name, names))
}

// bindingEndpoints turns the configured endpoints into the form that package
// binding compiles, in a fixed order.
func (a *Instance) bindingEndpoints() ([]binding.Endpoint, error) {
	var endpoints []binding.Endpoint
	var errs []error
	for _, key := range SortedKeys(a.Endpoints) {
		endpoint, err := a.bindingEndpoint(key, a.Endpoints[key])
		if err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", key, err))
			continue
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, errors.Join(errs...)
}

func (a *Instance) bindingEndpoint(key string, cfg *config.Endpoint) (binding.Endpoint, error) {
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
	if endpoint.TLS, err = policies.KeyOf(cfg.TLS, cfg.LegacyTLS); err != nil {
		return endpoint, err
	}
	if cfg.SNIMissing != "" {
		policy, err := config.ParsePolicy("sni_missing", cfg.SNIMissing)
		if err != nil {
			return endpoint, err
		}
		endpoint.SNIMissing = &policy
	}
	if cfg.SNIUnmatched != "" {
		policy, err := config.ParsePolicy("sni_unmatched", cfg.SNIUnmatched)
		if err != nil {
			return endpoint, err
		}
		endpoint.SNIUnmatched = &policy
	}
	return endpoint, nil
}

// SortedKeys returns the keys of a map in order.
func SortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// byID compares sites by id.
func byID(x, y configured) int { return cmp.Compare(x.id, y.id) }
