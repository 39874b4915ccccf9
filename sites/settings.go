package sites

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// CommonSettings are those that all sources have.
type CommonSettings struct {
	// The name of the source, by which the API and messages call it. Letters, digits,
	// hyphens and underscores. Default: its kind, such as bolt.
	Name string `json:"name,omitempty"`

	// If true, changes must say which revision of a site they are about (If-Match),
	// so that nobody overwrites what another has written meanwhile; others are
	// answered with 428. Default: false.
	RequireIfMatch bool `json:"require_if_match,omitempty"`

	// How long the log of what was written is kept; at least an hour. Revisions can be
	// taken back, and keys of requests are known, as long as that. Default: 720h, 30 days.
	KeepLog caddy.Duration `json:"keep_log,omitempty"`

	// The keys that encrypt the private keys of certificates in the source, as
	// placeholders such as {file./run/secrets/key}: 32 random bytes in base64 or
	// hexadecimal digits. The first encrypts, all of them decrypt. Default: none, the
	// source takes no certificates unless plain_keys is true.
	CertificateKeys []string `json:"certificate_keys,omitempty"`

	// If true, private keys are kept as they are: whoever can read the source has
	// them. Default: false.
	PlainKeys bool `json:"plain_keys,omitempty"`

	// What the rows may claim. Default: see Allow.
	Allow *Allow `json:"allow,omitempty"`

	// Lets rows have routes of their own. Default: none may have them.
	AllowRoutes *AllowRoutes `json:"allow_routes,omitempty"`
}

// Allow says what the rows of a source may claim. What a field leaves out is as by
// default.
type Allow struct {
	// The ports, as numbers. Default: 80, 443 and those that the configuration names.
	Ports []uint16 `json:"ports,omitempty"`

	// The host names, exact or with an asterisk as first label: *.example.com stands
	// for all names below it, at any depth. Default: all.
	Hosts []string `json:"hosts,omitempty"`

	// Whether bindings may have wildcard host names, *.example.com. Default: false.
	Wildcards bool `json:"wildcards,omitempty"`

	// Whether bindings may have no host name, and so take what no other site has.
	// Default: false.
	CatchAll bool `json:"catch_all,omitempty"`

	// The IP addresses, beside none (all unassigned). Default: those that the
	// configuration names.
	Addresses []string `json:"addresses,omitempty"`

	// The templates. Default: all of the configuration.
	Templates []string `json:"templates,omitempty"`

	// The certificates. Default: all of the configuration.
	Certificates []string `json:"certificates,omitempty"`
}

// Settings returns them.
func (s *CommonSettings) Settings() *CommonSettings { return s }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// defaultKeepLog is how long the log is kept.
const defaultKeepLog = 30 * 24 * time.Hour

// Check validates the settings and fills in the name. Sources call it when they are
// provisioned.
func (s *CommonSettings) Check(kind string) error {
	if s.Name == "" {
		s.Name = kind
	}
	if !nameForm.MatchString(s.Name) {
		return fmt.Errorf("name %q: letters, digits, hyphens and underscores make a name, up to 64", s.Name)
	}
	if s.KeepLog == 0 {
		s.KeepLog = caddy.Duration(defaultKeepLog)
	}
	if time.Duration(s.KeepLog) < time.Hour {
		return fmt.Errorf("keep_log: %s is less than an hour", time.Duration(s.KeepLog))
	}
	if s.PlainKeys && len(s.CertificateKeys) > 0 {
		return errors.New("certificate_key and plain_keys exclude each other")
	}
	for _, key := range s.CertificateKeys {
		if !strings.HasPrefix(key, "{") || !strings.HasSuffix(key, "}") {
			return errors.New("certificate_key takes a placeholder such as {file./run/secrets/key}, and not the key itself: the configuration can be read")
		}
	}
	if err := s.AllowRoutes.Check(); err != nil || s.Allow == nil {
		return err
	}
	var errs []error
	for _, text := range s.Allow.Addresses {
		if ip, err := netip.ParseAddr(text); err != nil || ip.IsUnspecified() {
			errs = append(errs, fmt.Errorf("allow: %q is not an IP address, such as 10.0.0.5", text))
		}
	}
	for _, host := range s.Allow.Hosts {
		if rest := strings.TrimPrefix(host, "*."); rest == "" || strings.Contains(rest, "*") {
			errs = append(errs, fmt.Errorf("allow: host %q: an asterisk stands for the first label only, as in *.example.com", host))
		}
	}
	if slices.Contains(s.Allow.Ports, 0) {
		errs = append(errs, errors.New("allow: ports are numbers from 1 to 65535"))
	}
	return errors.Join(errs...)
}

// UnmarshalBlock reads the settings in the block of a source. Words that only this kind
// of source has are given to a function.
func (s *CommonSettings) UnmarshalBlock(d *caddyfile.Dispenser, words []string, own func(word string) error) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		switch word {
		case "name":
			if !d.AllArgs(&s.Name) {
				return d.ArgErr()
			}
		case "require_if_match":
			if d.NextArg() {
				return d.ArgErr()
			}
			s.RequireIfMatch = true
		case "keep_log":
			var text string
			if !d.AllArgs(&text) {
				return d.ArgErr()
			}
			keep, err := caddy.ParseDuration(text)
			if err != nil {
				return d.Errf("keep_log: %q is not a duration, such as 30d", text)
			}
			s.KeepLog = caddy.Duration(keep)
		case "certificate_key":
			keys := d.RemainingArgs()
			if len(keys) == 0 || s.CertificateKeys != nil {
				return d.Errf("expected, once: certificate_key <key> [<older keys...>], as placeholders such as {file./run/secrets/key}")
			}
			s.CertificateKeys = keys
		case "plain_keys":
			if d.NextArg() {
				return d.ArgErr()
			}
			s.PlainKeys = true
		case "allow":
			if d.NextArg() {
				return d.ArgErr()
			}
			if s.Allow == nil {
				s.Allow = new(Allow)
			}
			if err := s.Allow.unmarshal(d); err != nil {
				return err
			}
		case "allow_routes":
			if err := unmarshalAllowRoutes(d, &s.AllowRoutes); err != nil {
				return err
			}
		default:
			if !slices.Contains(words, word) {
				return d.Errf("unknown word %q: expected one of %s", word, strings.Join(append([]string{"name", "require_if_match", "keep_log", "certificate_key", "plain_keys", "allow", "allow_routes"}, words...), ", "))
			}
			if err := own(word); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Allow) unmarshal(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args := d.Val(), d.RemainingArgs()
		flag := word == "wildcards" || word == "catch_all"
		if flag != (len(args) == 0) {
			return d.ArgErr()
		}
		switch word {
		case "ports":
			for _, arg := range args {
				port, err := strconv.ParseUint(arg, 10, 16)
				if err != nil {
					return d.Errf("ports: %q is not a number from 1 to 65535", arg)
				}
				a.Ports = append(a.Ports, uint16(port))
			}
		case "hosts":
			a.Hosts = append(a.Hosts, args...)
		case "wildcards":
			a.Wildcards = true
		case "catch_all":
			a.CatchAll = true
		case "addresses":
			a.Addresses = append(a.Addresses, args...)
		case "templates":
			a.Templates = append(a.Templates, args...)
		case "certificates":
			a.Certificates = append(a.Certificates, args...)
		default:
			return d.Errf("unknown word %q in allow: expected one of ports, hosts, wildcards, catch_all, addresses, templates, certificates", word)
		}
	}
	return nil
}
