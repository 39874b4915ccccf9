package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/caddy-iis/caddy-iis/internal/near"
)

// SiteVar declares a variable of the sites that a template or the defaults serve:
// the placeholder {iis.vars.<name>}. A site gives it a value in its vars.
type SiteVar struct {
	// What sites have that give no value. Null: each site must give one.
	Default *string `json:"default,omitempty"`

	// Values are absolute paths, of whatever system, of one of these folders, or
	// below it. Required for a variable that stands in the root of a file server.
	Below []string `json:"below,omitzero"`

	// Values are host:port, where the host is an IP address of one of these networks
	// (10.0.0.0/8, 10.0.0.5) or one of these names. With a port (10.0.0.5:8080), only
	// that. Required for a variable that stands in an upstream.
	To []string `json:"to,omitzero"`
}

// The limits of variables.
const (
	maxSiteVars     = 32
	maxSiteVarValue = 1024
)

var siteVarName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// VarsPrefix begins the placeholders of variables.
const VarsPrefix = "iis.vars."

// CheckSiteVars checks what templates and defaults declare, and that what decides
// about files and upstreams is bounded. It must come before they are provisioned.
func (a *App) CheckSiteVars() error {
	check := func(label string, of *Content) error {
		if err := of.checkDeclared(); err != nil {
			return fmt.Errorf("%s: site_vars: %w", label, err)
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(a.Templates)) {
		if of := a.Templates[name]; of != nil {
			if err := check(fmt.Sprintf("template %q", name), of); err != nil {
				return err
			}
		}
	}
	if a.Defaults != nil {
		return check("defaults", a.Defaults)
	}
	return nil
}

func (c *Content) checkDeclared() error {
	if len(c.SiteVars) > maxSiteVars {
		return fmt.Errorf("%d variables are declared, and %d are allowed", len(c.SiteVars), maxSiteVars)
	}
	for _, name := range slices.Sorted(maps.Keys(c.SiteVars)) {
		v := c.SiteVars[name]
		switch {
		case !siteVarName.MatchString(name):
			return fmt.Errorf("%q is no name: up to 32 lower-case letters, digits and underscores, the first a letter", name)
		case v == nil:
			return fmt.Errorf("%s is null", name)
		case v.Below != nil && v.To != nil:
			return fmt.Errorf("%s is a path (below) or an upstream (to), not both", name)
		}
		for _, folder := range v.Below {
			if !strings.HasPrefix(folder, "/") && !windowsPath.MatchString(folder) {
				return fmt.Errorf("%s: below: %q is no absolute path", name, folder)
			}
		}
		if v.Default != nil {
			if err := v.check(*v.Default); err != nil {
				return fmt.Errorf("the default of %s: %w", name, err)
			}
		}
	}
	return c.checkUses()
}

// VarsOf returns the variables of a site: its own, and the defaults of what serves
// it. Content of the site's own declares nothing, and may use what the site says. The
// map must not be changed.
func (a *App) VarsOf(cfg *Site) (map[string]string, error) {
	of := a.ContentFor(cfg)
	if of == &cfg.Content && of.SiteVars == nil && (of.Routes != nil || of.Errors != nil) {
		for _, name := range slices.Sorted(maps.Keys(cfg.Vars)) {
			if err := new(SiteVar).check(cfg.Vars[name]); err != nil || !siteVarName.MatchString(name) {
				return nil, fmt.Errorf("vars: %s: %w", name, cmpError(err, "it is no name"))
			}
		}
		return cfg.Vars, nil
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Vars)) {
		v := of.SiteVars[name]
		if v == nil {
			if len(of.SiteVars) == 0 {
				return nil, fmt.Errorf("vars: %q is not declared: what serves the site has no site_vars", name)
			}
			return nil, fmt.Errorf("vars: %q is not declared: %s", name, near.Expected(slices.Sorted(maps.Keys(of.SiteVars))))
		}
		if err := v.check(cfg.Vars[name]); err != nil {
			return nil, fmt.Errorf("vars: %s: %w", name, err)
		}
	}
	var missing []string
	values, own := cfg.Vars, true
	for name, v := range of.SiteVars {
		if _, given := cfg.Vars[name]; given {
			continue
		}
		if v.Default == nil {
			missing = append(missing, name)
			continue
		}
		if own {
			values, own = make(map[string]string, len(of.SiteVars)), false
			maps.Copy(values, cfg.Vars)
		}
		values[name] = *v.Default
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("vars: %s must be given: what serves the site needs it", strings.Join(missing, ", "))
	}
	return values, nil
}

func cmpError(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// check validates a value.
func (v *SiteVar) check(value string) error {
	switch {
	case len(value) > maxSiteVarValue:
		return fmt.Errorf("it has %d bytes, and %d are allowed", len(value), maxSiteVarValue)
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("it has control characters")
	case v.Below != nil && !slices.ContainsFunc(v.Below, func(folder string) bool { return within(folder, value) }):
		return fmt.Errorf("%q is not a path below %s", value, strings.Join(v.Below, " or "))
	case v.To != nil:
		return v.checkUpstream(value)
	}
	return nil
}

// windowsPath begins with a drive or a server: D:\sites, \\server\share. Paths of other
// systems begin with a slash. What system this is does not matter: a configuration may have
// been written for another one.
var windowsPath = regexp.MustCompile(`^(?:[A-Za-z]:[\\/]|\\\\[^\\/])`)

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

// within reports whether a file is a folder or below it. Paths are taken as they are
// written: .. has no place in them.
func within(folder, file string) bool {
	names := strings.FieldsFunc(file, isSeparator)
	if slices.Contains(names, "..") {
		return false
	}
	if windowsPath.MatchString(folder) && windowsPath.MatchString(file) {
		top := strings.FieldsFunc(folder, isSeparator)
		return isSeparator(rune(folder[0])) == isSeparator(rune(file[0])) && len(names) >= len(top) && slices.EqualFunc(top, names[:len(top)], strings.EqualFold)
	}
	if !strings.HasPrefix(folder, "/") || !strings.HasPrefix(file, "/") || ofServer(folder) != ofServer(file) {
		return false
	}
	folder, file = path.Clean(folder), path.Clean(file)
	return file == folder || strings.HasPrefix(file, strings.TrimSuffix(folder, "/")+"/")
}

// ofServer reports whether Windows takes a path for one of a server, as //server/share.
func ofServer(file string) bool { return len(file) > 1 && isSeparator(rune(file[1])) }

func (v *SiteVar) checkUpstream(value string) error {
	host, port, err := net.SplitHostPort(value)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || host == "" {
		return fmt.Errorf("%q is not host:port, such as 10.0.0.5:8080", value)
	}
	for _, to := range v.To {
		allowed := to
		if h, p, err := net.SplitHostPort(to); err == nil {
			if p != port {
				continue
			}
			allowed = h
		}
		if strings.EqualFold(allowed, host) || inNetwork(allowed, host) {
			return nil
		}
	}
	return fmt.Errorf("%q is not one of %s", value, strings.Join(v.To, " "))
}

// inNetwork reports whether a network or an address has an address.
func inNetwork(network, host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return false
	}
	if prefix, err := netip.ParsePrefix(network); err == nil {
		return prefix.Contains(ip.Unmap())
	}
	own, err := netip.ParseAddr(network)
	return err == nil && own.Unmap() == ip.Unmap()
}
