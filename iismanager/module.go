package iismanager

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(Manager{})
	httpcaddyfile.RegisterHandlerDirective("iis_manager", parseManager)
	// Behind basic_auth and forward_auth, which say who the user is.
	httpcaddyfile.RegisterDirectiveOrder("iis_manager", httpcaddyfile.Before, "respond")
}

// Manager is a handler that serves a page on which people see and change the sites,
// bindings and certificates of the iis app.
//
// It answers only those it knows: users whom a handler before it has authenticated, such
// as basic_auth; client certificates of AuthorityFiles; what AuthHeader says if it comes
// from a trusted proxy; and, without AuthHeader, requests that come from this machine
// itself to a loopback address and host without a proxy. All others get 403.
type Manager struct {
	// AuthHeader is the name of a header in which a proxy in front says who the user is,
	// such as Remote-User. It counts only from peers in the server's trusted_proxies, and
	// only if it is there once. With it, nobody is known by coming from this machine.
	// Default: none.
	AuthHeader string `json:"auth_header,omitempty"`

	// AuthorityFiles are PEM files with certificates of authorities. Who shows a client
	// certificate that the handshake has verified and that one of them has issued, is
	// known by it. Default: client certificates do not count.
	AuthorityFiles []string `json:"authority_files,omitempty"`

	// Insecure serves the page to everybody who gets as far as this handler.
	Insecure bool `json:"insecure,omitempty"`

	// ReadOnly refuses changes.
	ReadOnly bool `json:"read_only,omitempty"`

	// Admin is the address of Caddy's admin endpoint, to which changes of sites of the
	// configuration go; it must be that of the same process. Sites of a source need no
	// endpoint. Default: that of the global option admin, else localhost:2019.
	Admin string `json:"admin,omitempty"`

	page        *page
	authorities []*x509.Certificate
	logger      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Manager) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_manager", New: func() caddy.Module { return new(Manager) }}
}

// Provision sets up the handler.
func (m *Manager) Provision(ctx caddy.Context) error {
	m.logger = ctx.Logger()
	m.AuthHeader = textproto.CanonicalMIMEHeaderKey(m.AuthHeader)
	if m.Admin == "" {
		m.Admin = caddy.DefaultAdminListen
	}
	client, err := adminapi.New(m.Admin)
	if err != nil {
		return fmt.Errorf("iis_manager: %w", err)
	}
	api, err := apiHandler()
	if err != nil {
		return err
	}
	for _, file := range m.AuthorityFiles {
		list, err := readAuthorities(file)
		if err != nil {
			return fmt.Errorf("iis_manager: authority %s: %w", file, err)
		}
		m.authorities = append(m.authorities, list...)
	}
	m.page = newPage(client.InProcess(api), m.logger, m.ReadOnly)
	m.page.replaced = configurationReplaced
	return nil
}

// readAuthorities reads the certificates of a PEM file.
func readAuthorities(file string) ([]*x509.Certificate, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, errors.New("it has no certificate in PEM form")
	}
	return list, nil
}

// apiHandler returns the admin API of the iis app in this process.
func apiHandler() (http.Handler, error) {
	info, err := caddy.GetModule("admin.api.iis")
	if err != nil {
		return nil, fmt.Errorf("iis_manager needs the iis app in the same program: %w", err)
	}
	router, ok := info.New().(caddy.AdminRouter)
	if !ok || len(router.Routes()) == 0 {
		return nil, errors.New("iis_manager: admin.api.iis has no routes")
	}
	handler := router.Routes()[0].Handler
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handler.ServeHTTP(w, r); err != nil {
			writeAPIError(w, err)
		}
	}), nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	rule := policy{authHeader: m.AuthHeader != "", insecure: m.Insecure}
	c := claimOf(r, m.AuthHeader, m.authorities)
	who, ok := rule.admit(c)
	if !ok {
		m.page.refusals.note(r, visitor{}, rule.why(c))
		refuse(w)
		return nil
	}
	// Links are relative to the page's folder, which must have its slash.
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if ok && len(r.URL.Path) <= 1 && !strings.HasSuffix(original.URL.Path, "/") {
		w.Header().Set("Location", "./"+url.PathEscape(path.Base(original.URL.Path))+"/")
		w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	m.page.serve(w, r, who)
	return nil
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	iis_manager [<matcher>] {
//		auth_header <name>
//		authority   <pem file>...
//		insecure
//		read_only
//		admin       <address>
//	}
func (m *Manager) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		word := d.Val()
		args := d.RemainingArgs()
		switch word {
		case "auth_header", "admin":
			if len(args) != 1 {
				return d.Errf("%s expects one value", word)
			}
			if word == "admin" {
				m.Admin = args[0]
			} else {
				m.AuthHeader = args[0]
			}
		case "authority":
			if len(args) == 0 {
				return d.Err("authority expects PEM files with certificates of authorities")
			}
			m.AuthorityFiles = append(m.AuthorityFiles, args...)
		case "insecure", "read_only":
			if len(args) != 0 {
				return d.Errf("%s has no value", word)
			}
			if word == "insecure" {
				m.Insecure = true
			} else {
				m.ReadOnly = true
			}
		default:
			return d.Errf("unknown word %q: expected one of auth_header, authority, insecure, read_only, admin", word)
		}
	}
	return nil
}

func parseManager(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := new(Manager)
	if err := m.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if admin, ok := h.Option("admin").(*caddy.AdminConfig); ok && m.Admin == "" {
		m.Admin = admin.Listen
	}
	return m, nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (m *Manager) MarshalCaddyfile() *caddytext.Line {
	return new(caddytext.Line).Add(caddytext.FieldsOf(m, []caddytext.Field{
		{Word: "auth_header", Path: "auth_header"},
		{Word: "authority", Path: "authority_files", Kind: caddytext.List},
		{Word: "insecure", Path: "insecure", Kind: caddytext.Flag},
		{Word: "read_only", Path: "read_only", Kind: caddytext.Flag},
		{Word: "admin", Path: "admin"},
	})...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Manager)(nil)
	_ caddyhttp.MiddlewareHandler = (*Manager)(nil)
	_ caddyfile.Unmarshaler       = (*Manager)(nil)
	_ caddytext.Marshaler         = (*Manager)(nil)
)
