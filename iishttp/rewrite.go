package iishttp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

func init() {
	caddy.RegisterModule(new(Rewrite))
}

// Rewrite runs rules of the URL Rewrite module of IIS. A rule set with a fault is not
// loaded. What has no answer while a request is served ends it with 500.50.
type Rewrite struct {
	rewrite.Config

	// Where the files of the site are, for rules that ask for them or for their names; the
	// longest path counts.
	Folders []Folder `json:"folders,omitempty"`

	set     *rewrite.Set
	files   *siteFiles
	varying *varyingFolders // in place of files, where they have variables of sites
	logger  *zap.Logger
}

// Folder says where the files of a path are.
type Folder struct {
	// The path, such as / or /images.
	URL string `json:"url"`
	// The folder on this machine. Placeholders are replaced when it is loaded, and
	// variables of sites, such as {iis.vars.root}, for each request.
	Local string `json:"local"`
	// The folder that {REQUEST_FILENAME} shows: that of the IIS server. It may have variables
	// of sites. Default: made of Local.
	Windows string `json:"windows,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Rewrite) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_rewrite", New: func() caddy.Module { return new(Rewrite) }}
}

// Provision implements caddy.Provisioner.
func (m *Rewrite) Provision(ctx caddy.Context) (err error) {
	m.logger = ctx.Logger()
	if m.set, err = rewrite.Compile(m.Config); err != nil {
		return fmt.Errorf("iis_rewrite: %w", err)
	}
	var folders []winpath.Folder
	varying := false
	for _, f := range m.Folders {
		if strings.Contains(f.Local, `\`+siteVarPrefix) {
			return fmt.Errorf("iis_rewrite: folder %s: %s: the backslash in front of the variable is read as an escape: write a slash", f.URL, f.Local)
		}
		local, err := caddy.NewReplacer().ReplaceOrErr(f.Local, true, false)
		if err != nil {
			return fmt.Errorf("iis_rewrite: folder %s: %w", f.URL, err)
		}
		folders = append(folders, winpath.Folder{URL: f.URL, Local: local, Windows: f.Windows})
		varying = varying || siteVar.MatchString(local) || siteVar.MatchString(f.Windows)
	}
	switch {
	case varying:
		m.varying = newVaryingFolders(folders)
	case folders != nil:
		m.files = &siteFiles{winpath.New(folders)}
	}
	return nil
}

// siteFiles answers the questions of rules about files.
type siteFiles struct{ folders *winpath.Map }

// Physical implements rewrite.Files.
func (f *siteFiles) Physical(urlPath string) (string, bool) { return f.folders.Physical(urlPath) }

// Is implements rewrite.Files.
func (f *siteFiles) Is(physical string) (file, directory bool, err error) {
	kind, err := f.folders.Stat(physical)
	switch {
	case errors.Is(err, fs.ErrInvalid), errors.Is(err, fs.ErrNotExist):
		err = rewrite.ErrNoFile
	case err != nil:
		err = errors.New("a file cannot be asked for")
	}
	return kind == winpath.File, kind == winpath.Directory, err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (m *Rewrite) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	req := &rewrite.Request{Request: r, Original: r.URL}
	if req.OriginalURL, _ = caddyhttp.GetVar(r.Context(), originalURLVar).(string); req.OriginalURL == "" {
		dropHeader(r.Header, "X-Original-Url") // ours to set
	}
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		req.Original = orig.URL
	}
	req.Local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case m.files != nil:
		req.Files = m.files
	case m.varying != nil:
		req.Files = &varyingFiles{folders: m.varying, repl: r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)}
	}
	result, err := m.set.Run(req)
	if err != nil {
		if errors.Is(err, rewrite.ErrNoFile) {
			return refuse(r, http.StatusNotFound, 0, err.Error())
		}
		m.logger.Warn("rule without an answer", zap.String("rule", result.Rule), zap.Error(err))
		return refuse(r, http.StatusInternalServerError, 50, err.Error())
	}
	for _, h := range result.Headers {
		setHeader(r, h)
	}
	if !m.set.HasOutbound() {
		return m.act(w, r, next, result)
	}
	out := newOutboundWriter(w, m, req, &result)
	return out.end(m.act(out, r, next, result))
}

func setHeader(r *http.Request, h rewrite.Header) {
	if h.Name == "Host" {
		if caddyhttp.GetVar(r.Context(), clientHostVar) == nil {
			caddyhttp.SetVar(r.Context(), clientHostVar, r.Host)
		}
		r.Host = h.Value
		return
	}
	dropHeader(r.Header, h.Name)
	if h.Value != "" {
		r.Header.Set(h.Name, h.Value)
	}
}

// dropHeader deletes a header in all spellings that are the same HTTP_ variable to a
// worker: X-Y and X_Y.
func dropHeader(h http.Header, name string) {
	for key := range h {
		if len(key) == len(name) && strings.EqualFold(strings.ReplaceAll(key, "_", "-"), name) {
			delete(h, key)
		}
	}
}

// act does what the rules have decided.
func (m *Rewrite) act(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, result rewrite.Result) error {
	switch result.Action {
	case "abort":
		panic(http.ErrAbortHandler)
	case "redirect":
		w.Header().Set("Location", result.Location)
		w.WriteHeader(result.Status)
		return nil
	case "respond":
		return m.respond(w, r, result)
	}
	if result.OriginalURL != "" {
		caddyhttp.SetVar(r.Context(), originalURLVar, result.OriginalURL)
		r.Header.Set("X-Original-Url", result.OriginalURL)
	}
	setPath(r, result.Path)
	if r.URL.RawQuery != result.Query {
		r.URL.RawQuery, r.URL.ForceQuery = result.Query, false
		r.RequestURI = r.URL.RequestURI()
	}
	if result.Proxy == "404" {
		return refuse(r, http.StatusNotFound, 0, "a rule leads to a server that is not among those it may lead to")
	}
	if result.Proxy != "" {
		target, err := url.Parse(result.Proxy)
		if err != nil {
			return refuse(r, http.StatusInternalServerError, 50, "the result of a rule is no URL")
		}
		caddyhttp.SetVar(r.Context(), proxyTargetVar, target)
	}
	return next.ServeHTTP(w, r)
}

// respond answers as CustomResponse does. An error without a text of its own goes to the
// error routes.
func (m *Rewrite) respond(w http.ResponseWriter, r *http.Request, result rewrite.Result) error {
	SetSubStatus(r, result.Status, result.SubStatus)
	if result.Description == "" && result.Status >= 400 {
		return refuse(r, result.Status, result.SubStatus, "rule "+result.Rule)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(result.Status)
	if r.Method != http.MethodHead && result.Description != "" {
		_, _ = w.Write([]byte(strings.ToValidUTF8(result.Description, "")))
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Rewrite)(nil)
	_ caddyhttp.MiddlewareHandler = (*Rewrite)(nil)
	_ rewrite.Files               = (*siteFiles)(nil)
)
