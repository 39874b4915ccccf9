package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// NewBinding is a binding to add.
type NewBinding struct {
	Protocol, Binding string
	Flags             uint16
	Certificate       string
}

// parse checks what can be checked without the server.
func (b NewBinding) parse() (binding.Binding, error) {
	parsed, err := binding.Parse(b.Protocol, b.Binding)
	if err != nil {
		return parsed, err
	}
	if err := binding.Flags(b.Flags).Validate(); err != nil {
		return parsed, err
	}
	if parsed.Protocol == binding.HTTP && (b.Flags != 0 || b.Certificate != "") {
		return parsed, errors.New("an http binding has no certificate and no sslFlags: leave them out, or write https")
	}
	if b.Flags&uint16(binding.FlagSNI) != 0 && parsed.Host == "" {
		return parsed, fmt.Errorf("%s has no host, and sni needs one: it chooses the certificate by the host", parsed)
	}
	return parsed, nil
}

// AddBinding adds a binding to a site.
func AddBinding(ctx context.Context, e *Env, name string, b NewBinding) error {
	parsed, err := b.parse()
	if err != nil {
		return &ExitError{ExitUsage, err}
	}
	site, err := e.FindSite(ctx, name)
	if err != nil {
		return err
	}
	err = e.Client.ChangeSite(ctx, site.ID, func(cfg *adminapi.SiteConfig) error { return b.addTo(cfg, parsed) })
	switch {
	case errors.Is(err, adminapi.ErrDone):
		return fmt.Errorf("%s has the binding %s %s already", siteLabel(site.ID, site.Name), parsed.Protocol, parsed)
	case err != nil:
		return noSite(err, site)
	}
	e.printf("%s: added %s %s\n", siteLabel(site.ID, site.Name), parsed.Protocol, parsed)
	return e.afterwards(ctx, site.ID)
}

// addTo adds the binding in the form that fits the site: a binding without
// flags and certificate goes to the lists of IIS 6, unless the site has
// bindings in the form of IIS 7 only.
func (b NewBinding) addTo(cfg *adminapi.SiteConfig, parsed binding.Binding) error {
	list := listOf(parsed.Protocol)
	present, err := list.values(*cfg)
	if err != nil {
		return err
	}
	for _, info := range present {
		if bindingKey(list.protocol, info) == parsed.String() {
			return adminapi.ErrDone
		}
	}
	simple := cfg.Has(serverBindings.field) || cfg.Has(secureBindings.field) || !cfg.Has("bindings")
	if simple && b.Flags == 0 && b.Certificate == "" {
		values, err := cfg.Strings(list.field)
		if err != nil {
			return err
		}
		return cfg.SetStrings(list.field, append(values, parsed.SecureString()))
	}
	objects, err := cfg.Bindings()
	if err != nil {
		return err
	}
	return cfg.SetBindings(append(objects, adminapi.SiteBinding{
		Protocol: parsed.Protocol.String(), Binding: parsed.String(), Flags: b.Flags, Certificate: b.Certificate,
	}))
}

func listOf(p binding.Protocol) bindingList {
	if p == binding.HTTPS {
		return secureBindings
	}
	return serverBindings
}

// RemoveBinding removes a binding from a site. Without protocol, it is the
// binding of either.
func RemoveBinding(ctx context.Context, e *Env, name, protocol, info string) error {
	lists, err := listsOf(protocol, info)
	if err != nil {
		return &ExitError{ExitUsage, err}
	}
	site, err := e.FindSite(ctx, name)
	if err != nil {
		return err
	}
	var removed string
	err = e.Client.ChangeSite(ctx, site.ID, func(cfg *adminapi.SiteConfig) error {
		removed = ""
		for _, list := range lists {
			left, err := list.without(*cfg, info)
			if err != nil {
				return err
			}
			if left == nil {
				continue
			}
			if removed != "" {
				return fmt.Errorf("%s has %s for http and for https: name the protocol as well", siteLabel(site.ID, site.Name), info)
			}
			removed = list.protocol + " " + bindingKey(list.protocol, info)
			if err := list.replace(cfg, left); err != nil {
				return err
			}
		}
		if removed == "" {
			return adminapi.ErrDone
		}
		return nil
	})
	switch {
	case errors.Is(err, adminapi.ErrDone):
		return fmt.Errorf("%s has no binding %s: caddy iis show %d shows those it has", siteLabel(site.ID, site.Name), info, site.ID)
	case err != nil:
		return noSite(err, site)
	}
	if removed == "" {
		removed = info
	}
	e.printf("%s: removed %s\n", siteLabel(site.ID, site.Name), removed)
	return e.afterwards(ctx, site.ID)
}

func listsOf(protocol, info string) ([]bindingList, error) {
	parse := protocol
	if parse == "" {
		parse = "https"
	}
	if _, err := binding.Parse(parse, info); err != nil {
		return nil, err
	}
	switch {
	case protocol == "":
		return []bindingList{serverBindings, secureBindings}, nil
	case strings.EqualFold(strings.TrimSpace(protocol), "https"):
		return []bindingList{secureBindings}, nil
	}
	return []bindingList{serverBindings}, nil
}

// without returns the list without a binding, nil if it does not have it.
func (l bindingList) without(cfg adminapi.SiteConfig, info string) ([]string, error) {
	values, err := l.values(cfg)
	if err != nil {
		return nil, err
	}
	key := bindingKey(l.protocol, info)
	left := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return bindingKey(l.protocol, v) == key })
	if len(left) == len(values) {
		return nil, nil
	}
	if left == nil {
		left = []string{}
	}
	return left, nil
}

// NewSite is a site to add.
type NewSite struct {
	ID          uint32 // 0: the next one
	Name        string
	HTTP, HTTPS []string
	Certificate string
	Root        string // serve files from this folder
	Proxy       string // or pass requests on to this address
	Stopped     bool
}

// AddSite adds a site.
func AddSite(ctx context.Context, e *Env, s NewSite) error {
	cfg, err := s.config()
	if err != nil {
		return &ExitError{ExitUsage, err}
	}
	for site, err := range e.Client.Sites(ctx, "q", s.Name) {
		switch {
		case adminapi.IsNotFound(err): // there is no iis app yet
		case err != nil:
			return err
		case strings.EqualFold(site.Name, s.Name):
			return fmt.Errorf("%s has this name already: choose another one, or change that site (caddy iis show %d)", siteLabel(site.ID, site.Name), site.ID)
		}
	}
	id, err := e.Client.AddSite(ctx, s.ID, cfg)
	if err != nil {
		return err
	}
	e.printf("%s: added\n", siteLabel(id, s.Name))
	return e.afterwards(ctx, id)
}

func (s NewSite) config() (adminapi.SiteConfig, error) {
	var cfg adminapi.SiteConfig
	var errs []error
	put := func(field string, value any, empty bool) {
		if !empty {
			errs = append(errs, cfg.Set(field, value))
		}
	}
	for protocol, list := range map[string][]string{"http": s.HTTP, "https": s.HTTPS} {
		for _, info := range list {
			if _, err := binding.Parse(protocol, info); err != nil {
				errs = append(errs, err)
			}
		}
	}
	put("name", s.Name, s.Name == "")
	put(serverBindings.field, s.HTTP, len(s.HTTP) == 0)
	put(secureBindings.field, s.HTTPS, len(s.HTTPS) == 0)
	put("certificate", s.Certificate, s.Certificate == "")
	put("autostart", false, !s.Stopped)
	type object = map[string]any
	switch {
	case s.Root != "" && s.Proxy != "":
		errs = append(errs, errors.New("a site serves files with --root, or passes requests on with --proxy, not both"))
	case s.Root != "":
		put("routes", []object{{"handle": []object{{"handler": "file_server", "root": s.Root}}}}, false)
	case s.Proxy != "":
		put("routes", []object{{"handle": []object{{"handler": "reverse_proxy", "upstreams": []object{{"dial": s.Proxy}}}}}}, false)
	}
	return cfg, errors.Join(errs...)
}

// RemoveSite removes a site.
func RemoveSite(ctx context.Context, e *Env, name string) error {
	site, err := e.FindSite(ctx, name)
	if err != nil {
		return err
	}
	if err := e.Client.RemoveSite(ctx, site.ID); err != nil {
		return noSite(err, site)
	}
	e.printf("%s: removed\n", siteLabel(site.ID, site.Name))
	e.kept(site)
	return nil
}

// SetStarted starts or stops a site.
func SetStarted(ctx context.Context, e *Env, name string, started bool) error {
	site, err := e.FindSite(ctx, name)
	if err != nil {
		return err
	}
	err = e.Client.ChangeSite(ctx, site.ID, Autostart(started))
	if err != nil {
		return noSite(err, site)
	}
	if site, err = e.Client.Site(ctx, site.ID); err != nil {
		return err
	}
	label := siteLabel(site.ID, site.Name)
	if started && site.State != adminapi.StateStarted {
		return fmt.Errorf("%s does not start: %s (%s)", label, site.Reason, cmp.Or(site.Code, site.State))
	}
	e.printf("%s: %s\n", label, site.State)
	e.kept(site)
	return nil
}

// Autostart is the change that starts or stops a site.
func Autostart(started bool) func(*adminapi.SiteConfig) error {
	return func(cfg *adminapi.SiteConfig) error {
		on := true
		if err := cfg.Get("autostart", &on); err != nil || on == started {
			return err
		}
		return cfg.Set("autostart", started)
	}
}

// afterwards warns of what a change has made of a site.
func (e *Env) afterwards(ctx context.Context, id uint32) error {
	site, err := e.Client.Site(ctx, id)
	if err != nil {
		return fmt.Errorf("it is done, but the site cannot be shown: %w", err)
	}
	if site.Code != "" {
		e.printf("%s is stopped: %s (%s)\n", siteLabel(id, site.Name), site.Reason, site.Code)
	}
	e.writeFindings(site.Findings)
	e.kept(site)
	return nil
}
