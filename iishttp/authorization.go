package iishttp

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Authorization))
	httpcaddyfile.RegisterHandlerDirective("iis_authorization", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		a := new(Authorization)
		return a, a.UnmarshalCaddyfile(h.Dispenser)
	})
}

// Authorization decides who may have what is asked for, as the sections
// anonymousAuthentication and authorization of IIS do. Who the user is, a handler in
// front has found out, such as basic_auth: the placeholder {http.auth.user.id}. Without
// one everybody is anonymous.
//
// Rules that deny are tried before rules that allow, each in their order; the first one
// that fits decides, and who fits none is denied. The answer is 401.2.
type Authorization struct {
	// Whether nobody may be anonymous: anonymousAuthentication is disabled.
	DenyAnonymous bool `json:"deny_anonymous,omitempty"`

	// The rules, those of places above first. Without rules everybody is allowed.
	Rules []AuthorizationRule `json:"rules,omitempty"`

	deny, allow []AuthorizationRule
}

// AuthorizationRule is an entry of the section authorization. It fits if the user or one
// of the user's roles and the verb do.
type AuthorizationRule struct {
	Allow bool `json:"allow,omitempty"`
	// Names of users without regard to case; "*" is everybody, "?" who is anonymous.
	Users []string `json:"users,omitempty"`
	// Names of roles. Nobody's roles are known here: a rule that denies a role fits
	// everybody, and one that allows it nobody.
	Roles []string `json:"roles,omitempty"`
	// Methods with regard to case; none means all.
	Verbs []string `json:"verbs,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Authorization) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_authorization", New: func() caddy.Module { return new(Authorization) }}
}

// Provision implements caddy.Provisioner.
func (a *Authorization) Provision(caddy.Context) error {
	for i, rule := range a.Rules {
		if len(rule.Users)+len(rule.Roles) == 0 {
			return fmt.Errorf("iis_authorization: rule %d names neither users nor roles", i+1)
		}
		if rule.Allow {
			a.allow = append(a.allow, rule)
		} else {
			a.deny = append(a.deny, rule)
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (a *Authorization) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	user, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).GetString("http.auth.user.id")
	if !a.admits(user, r.Method) {
		return refuse(r, http.StatusUnauthorized, 2, "user or method")
	}
	return next.ServeHTTP(w, r)
}

func (a *Authorization) admits(user, method string) bool {
	if user == "" && a.DenyAnonymous {
		return false
	}
	fits := func(rule AuthorizationRule) bool { return rule.fits(user, method) }
	if slices.ContainsFunc(a.deny, fits) {
		return false
	}
	return len(a.Rules) == 0 || slices.ContainsFunc(a.allow, fits)
}

func (rule *AuthorizationRule) fits(user, method string) bool {
	if len(rule.Verbs) > 0 && !slices.Contains(rule.Verbs, method) {
		return false
	}
	if len(rule.Roles) > 0 && !rule.Allow {
		return true
	}
	return slices.ContainsFunc(rule.Users, func(name string) bool {
		return name == "*" || name == "?" && user == "" || user != "" && strings.EqualFold(name, user)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_authorization {
//		anonymous off|on
//		allow|deny [users <user,...>] [roles <role,...>] [verbs <verb,...>]
//	}
func (a *Authorization) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		word, args := d.Val(), d.RemainingArgs()
		switch {
		case word == "anonymous" && len(args) == 1 && (args[0] == "off" || args[0] == "on"):
			a.DenyAnonymous = args[0] == "off"
		case (word == "allow" || word == "deny") && len(args) > 0 && len(args)%2 == 0:
			rule, err := parseAuthorizationRule(args)
			if err != nil {
				return d.WrapErr(err)
			}
			rule.Allow = word == "allow"
			a.Rules = append(a.Rules, rule)
		default:
			return d.Errf("%s: expected anonymous off, or allow or deny with users, roles and verbs", word)
		}
	}
	return nil
}

func parseAuthorizationRule(args []string) (AuthorizationRule, error) {
	var rule AuthorizationRule
	for i := 0; i < len(args); i += 2 {
		var list []string
		for name := range strings.SplitSeq(args[i+1], ",") {
			if name = strings.TrimSpace(name); name != "" {
				list = append(list, name)
			}
		}
		switch args[i] {
		case "users":
			rule.Users = append(rule.Users, list...)
		case "roles":
			rule.Roles = append(rule.Roles, list...)
		case "verbs":
			rule.Verbs = append(rule.Verbs, list...)
		default:
			return rule, fmt.Errorf("unknown word %q: expected users, roles or verbs", args[i])
		}
	}
	if len(rule.Users)+len(rule.Roles) == 0 {
		return rule, fmt.Errorf("a rule names users or roles")
	}
	return rule, nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Authorization)(nil)
	_ caddyhttp.MiddlewareHandler = (*Authorization)(nil)
	_ caddyfile.Unmarshaler       = (*Authorization)(nil)
)
