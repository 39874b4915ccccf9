package sites

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// AllowRoutes lets rows of a source have routes of their own, and says what these may do.
type AllowRoutes struct {
	// The modules that routes may use, handlers and all that is in them, by their ids, such
	// as http.handlers.static_response; http.matchers.* stands for all of that kind that
	// can be allowed. Required.
	Modules []string `json:"modules,omitempty"`

	// How many sites of the source may have routes of their own. Default: 1000.
	MaxSites int `json:"max_sites,omitempty"`

	// The folders in which files may be served, and all below them. Default: none.
	Below []string `json:"below,omitempty"`

	// Where requests may be sent to: networks (10.0.0.0/8), IP addresses or names, with or
	// without a port (10.0.0.5:8080). What is this machine itself needs one. Default: nowhere.
	To []string `json:"to,omitempty"`
}

// defaultMaxSites is how many sites may have routes of their own.
const defaultMaxSites = 1000

// Check validates the settings and fills in what is left out. Whether modules can be
// allowed is not its matter.
func (r *AllowRoutes) Check() error {
	if r == nil {
		return nil
	}
	var errs []error
	if len(r.Modules) == 0 {
		errs = append(errs, errors.New("allow_routes: modules is missing: name those that routes may use, such as http.handlers.static_response"))
	}
	if r.MaxSites < 0 {
		errs = append(errs, errors.New("allow_routes: max_sites is a number from 1"))
	}
	if r.MaxSites == 0 {
		r.MaxSites = defaultMaxSites
	}
	for _, folder := range r.Below {
		if !filepath.IsAbs(folder) {
			errs = append(errs, fmt.Errorf("allow_routes: below: %q is no absolute path of this system", folder))
		}
	}
	for _, to := range r.To {
		if reachesItself(to) {
			errs = append(errs, fmt.Errorf("allow_routes: to: %q is this machine, where the admin endpoint listens as well: name the port, as in 127.0.0.1:8080", to))
		}
	}
	return errors.Join(errs...)
}

// reachesItself reports whether any port of this machine can be reached by an entry of to.
func reachesItself(to string) bool {
	if _, _, err := net.SplitHostPort(to); err == nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(to, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	network, err := netip.ParsePrefix(to)
	if ip, isIP := netip.ParseAddr(to); isIP == nil {
		network, err = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
	}
	if err != nil {
		return false
	}
	return slices.ContainsFunc(itself, network.Overlaps)
}

// itself is what always is this machine.
var itself = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::ffff:127.0.0.0/104"),
	netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("::/128"),
}

func (r *AllowRoutes) unmarshal(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		switch word {
		case "modules":
			r.Modules = append(r.Modules, args...)
		case "max_sites":
			number, err := strconv.Atoi(args[0])
			if err != nil || number < 1 || len(args) > 1 {
				return d.Errf("max_sites: %q is not a number from 1", strings.Join(args, " "))
			}
			r.MaxSites = number
		case "below":
			r.Below = append(r.Below, args...)
		case "to":
			r.To = append(r.To, args...)
		default:
			return d.Errf("unknown word %q in allow_routes: expected one of modules, max_sites, below, to", word)
		}
	}
	return nil
}

// unmarshalAllowRoutes reads the block of allow_routes.
func unmarshalAllowRoutes(d *caddyfile.Dispenser, into **AllowRoutes) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if *into == nil {
		*into = new(AllowRoutes)
	}
	return (*into).unmarshal(d)
}
