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

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(new(Authorization))
	httpcaddyfile.RegisterHandlerDirective("iis_authorization", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		a := new(Authorization)
		return a, a.UnmarshalCaddyfile(h.Dispenser)
	})
}

// Authorization decides who may have what is asked for, as the sections
// anonymousAuthentication and authorization of IIS do. Who the user is, a
// handler in front has found out, such as basic_auth, or forward_auth and a map: the
// placeholder {http.auth.user.id}. Without one the request is anonymous.
//
// Rules that deny are tried before rules that allow, those of places above
// before others, then in their order; the first one that fits decides, and
// whom none fits is denied. The answer is 401.2, for users as well. It has no
// challenge of its own.
type Authorization struct {
	// Whether nobody may be anonymous (anonymousAuthentication is disabled).
	DenyAnonymous bool `json:"deny_anonymous,omitempty"`

	// The rules. Without any everybody is allowed, as by the rule that IIS is
	// shipped with.
	Rules []AuthorizationRule `json:"rules,omitempty"`

	ordered []authorizationRule
}

// AuthorizationRule is an entry of the section authorization. It fits if the
// user or one of the user's roles does, and the method.
type AuthorizationRule struct {
	// Whether the rule allows (accessType). Default: it denies.
	Allow bool `json:"allow,omitempty"`

	// Names of users, without regard to case; "*" is everybody, "?" who is
	// anonymous. A rule that denies a name without domain, or in another form
	// of domain, denies it with any: bob, CORP\bob and bob@corp.example.
	Users []string `json:"users,omitempty"`

	// Names of roles. Nobody's roles are known here: a rule that denies a role
	// fits everybody, and one that allows a role fits nobody by it.
	Roles []string `json:"roles,omitempty"`

	// Methods, with regard to case. Default: all.
	Verbs []string `json:"verbs,omitempty"`

	// Whether the rule is one of a place above.
	Parent bool `json:"parent,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Authorization) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_authorization", New: func() caddy.Module { return new(Authorization) }}
}

// Provision implements caddy.Provisioner.
func (a *Authorization) Provision(caddy.Context) error {
	if err := a.compile(); err != nil {
		return fmt.Errorf("iis_authorization: %w", err)
	}
	return nil
}

// authorizationRule is a rule with its place in the configuration, from 1.
type authorizationRule struct {
	AuthorizationRule
	number int
}

func (a *Authorization) compile() error {
	a.ordered = nil
	for i, rule := range a.Rules {
		if len(rule.Users)+len(rule.Roles) == 0 {
			return fmt.Errorf("rule %d names neither users nor roles", i+1)
		}
		if slices.Contains(slices.Concat(rule.Users, rule.Roles, rule.Verbs), "") {
			return fmt.Errorf("rule %d has an empty name", i+1)
		}
		a.ordered = append(a.ordered, authorizationRule{rule, i + 1})
	}
	rank := func(r authorizationRule) (n int) {
		if r.Allow {
			n += 2
		}
		if !r.Parent {
			n++
		}
		return n
	}
	slices.SortStableFunc(a.ordered, func(x, y authorizationRule) int { return rank(x) - rank(y) })
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (a *Authorization) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var user string
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		user, _ = repl.GetString("http.auth.user.id")
	}
	if why := a.denies(user, r.Method); why != "" {
		return refuse(r, http.StatusUnauthorized, 2, why)
	}
	return next.ServeHTTP(w, r)
}

// denies returns why somebody is denied, or nothing.
func (a *Authorization) denies(user, verb string) string {
	if user == "" && a.DenyAnonymous {
		return "nobody may be anonymous"
	}
	if len(a.ordered) == 0 {
		return ""
	}
	for i := range a.ordered {
		if rule := &a.ordered[i]; rule.fits(user, verb) {
			if rule.Allow {
				return ""
			}
			return fmt.Sprintf("denied by rule %d", rule.number)
		}
	}
	return "no rule allows it"
}

func (ar *AuthorizationRule) fits(user, verb string) bool {
	if len(ar.Verbs) > 0 && !slices.Contains(ar.Verbs, verb) {
		return false
	}
	if len(ar.Roles) > 0 && !ar.Allow {
		return true
	}
	for _, name := range ar.Users {
		switch {
		case name == "*", name == "?" && user == "":
			return true
		case user == "" || name == "?":
		case ar.Allow && winpath.Fold(name) == winpath.Fold(user), !ar.Allow && maybeSameUser(name, user):
			return true
		}
	}
	return false
}

// maybeSameUser tells whether two names may be of one user. A name without
// domain may be of any, and a domain's two names, CORP and corp.example, cannot
// be compared.
func maybeSameUser(a, b string) bool {
	domainA, accountA, formA := splitUser(foldLoosely(a))
	domainB, accountB, formB := splitUser(foldLoosely(b))
	return accountA == accountB && (domainA == domainB || domainA == "" || domainB == "" || formA != formB)
}

// splitUser splits DOMAIN\account and account@domain, of which form is the
// separator. A domain of "." is this machine.
func splitUser(name string) (domain, account string, form byte) {
	if domain, account, found := strings.Cut(name, `\`); found {
		if domain == "." {
			domain = ""
		}
		return domain, account, '\\'
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[i+1:], name[:i], '@'
	}
	return "", name, 0
}

// UnmarshalCaddyfile reads:
//
//	iis_authorization [<matcher>] {
//		anonymous on|off
//		allow|deny [users <user,...>] [roles <role,...>] [verbs <verb,...>] [parent]
//	}
func (a *Authorization) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args, err := wordOf(d)
		switch {
		case err != nil:
		case word == "anonymous" && len(args) == 1 && (args[0] == "on" || args[0] == "off"):
			a.DenyAnonymous = args[0] == "off"
		case word == "anonymous":
			err = d.Err("anonymous needs on or off")
		case word == "allow" || word == "deny":
			rule := AuthorizationRule{Allow: word == "allow"}
			err = rule.unmarshal(d, args)
			a.Rules = append(a.Rules, rule)
		default:
			err = d.Errf("unknown word %q of iis_authorization", word)
		}
		if err != nil {
			return err
		}
	}
	if err := a.compile(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (ar *AuthorizationRule) unmarshal(d *caddyfile.Dispenser, args []string) error {
	if n := len(args) - 1; n >= 0 && n%2 == 0 && args[n] == "parent" {
		ar.Parent, args = true, args[:n]
	}
	for ; len(args) > 1; args = args[2:] {
		lists := map[string]*[]string{"users": &ar.Users, "roles": &ar.Roles, "verbs": &ar.Verbs}
		into := lists[args[0]]
		if into == nil {
			return d.Errf("unknown word %q of a rule: expected users, roles or verbs, and a list with commas", args[0])
		}
		for name := range strings.SplitSeq(args[1], ",") {
			if name = strings.TrimSpace(name); name != "" {
				*into = append(*into, name)
			}
		}
		if len(*into) == 0 {
			return d.Errf("%s names nobody and nothing", args[0])
		}
	}
	if len(args) > 0 {
		return d.Errf("%q of a rule needs a list with commas", args[0])
	}
	if len(ar.Users)+len(ar.Roles) == 0 {
		return d.Err("a rule names users or roles")
	}
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (a *Authorization) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line)
	if a.DenyAnonymous {
		l.Add(caddytext.New("anonymous", "off"))
	}
	for _, rule := range a.Rules {
		l.Add(rule.line())
	}
	return l
}

func (ar *AuthorizationRule) line() *caddytext.Line {
	l := caddytext.New(allowDeny(!ar.Allow))
	for _, list := range []struct {
		word  string
		names []string
	}{{"users", ar.Users}, {"roles", ar.Roles}, {"verbs", ar.Verbs}} {
		if len(list.names) > 0 {
			l.Words = append(l.Words, list.word, strings.Join(list.names, ","))
		}
	}
	if ar.Parent {
		l.Words = append(l.Words, "parent")
	}
	return l
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Authorization)(nil)
	_ caddyhttp.MiddlewareHandler = (*Authorization)(nil)
	_ caddyfile.Unmarshaler       = (*Authorization)(nil)
	_ caddytext.Marshaler         = (*Authorization)(nil)
)
