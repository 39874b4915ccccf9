package iishttp

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

func init() {
	caddy.RegisterModule(new(ContentTypes))
}

// ContentTypes decides about files as the StaticFile handler of IIS does, in
// front of Caddy's file_server, which sends them. A file is sent only if its
// extension has a content type (else 404.3), whatever led to it: a path, a
// rewrite or a default document. Names are found without regard to case. A
// folder is answered with its default document, a listing if that is allowed,
// or 403.14; without the slash at its end it is redirected (301).
//
// Files are looked for on this machine's own file system; file_server must have
// the same root.
type ContentTypes struct {
	// The folder that is served. Placeholders are allowed. Default:
	// {http.vars.root}, or the working directory, as with file_server.
	Root string `json:"root,omitempty"`

	// The path of the URL that Root is: that of the virtual directory. It is
	// taken off the path before the next handler gets it, unless that is a
	// script's. A request for another path is answered with 404. Default: /.
	Prefix string `json:"prefix,omitempty"`

	// The list that Type and Remove change: "iis10", that of IIS 10 (default),
	// or "none".
	Types string `json:"types,omitempty"`

	// Content types by extension: ".webp". "." is for files without extension,
	// "*" or ".*" for all that have no type of their own.
	Type map[string]string `json:"type,omitempty"`

	// Extensions that lose their type in the list.
	Remove []string `json:"remove,omitempty"`

	// The default documents, the first that is there counts. Default:
	// Default.htm, Default.asp, index.htm, index.html and iisstart.htm, as of
	// an IIS without ASP.NET. An empty list: none.
	Documents []string `json:"documents,omitzero"`

	// Whether a folder without default document may be listed. The listing is
	// made by file_server, if that has browse.
	Browse bool `json:"browse,omitempty"`

	// Entries of IIS's section handlers, in their order. A request that none
	// has, or one of files, is for Closed, Scripts and files.
	Handlers []ContentHandler `json:"handlers,omitempty"`

	// Paths that a handler behind this one answers, such as *.php, trace.axd or
	// /api/*: see the path of IIS's handlers. Such a request is passed on as it
	// is, also with path info (/x.php/y). file_server never sends such a file.
	Scripts []string `json:"scripts,omitempty"`

	// Paths that no handler here answers, though one of IIS does: 404.4, also
	// with path info and as default document. They come before Scripts.
	Closed []string `json:"closed,omitempty"`

	// The header Cache-Control of files. Default: none.
	CacheControl string `json:"cache_control,omitempty"`

	// The header Expires of files. Default: none.
	Expires string `json:"expires,omitempty"`

	types     map[string]string // by folded extension
	fallback  string            // of all other extensions
	prefix    []string          // folded
	documents documents
	scripts   *handlerPaths
	closed    *handlerPaths
}

// CaddyModule returns the Caddy module information.
func (*ContentTypes) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_content_types", New: func() caddy.Module { return new(ContentTypes) }}
}

// Provision compiles the configuration.
func (c *ContentTypes) Provision(ctx caddy.Context) error {
	ctx.FileSystems().Register(noSourceFS, noSource{})
	if c.Root == "" {
		c.Root = "{http.vars.root}"
	}
	if c.Documents == nil {
		c.Documents = []string{"Default.htm", "Default.asp", "index.htm", "index.html", "iisstart.htm"}
	}
	prefix, _, err := winpath.Segments(c.Prefix)
	if err != nil || strings.Contains(c.Prefix, `\`) {
		return fmt.Errorf("iis_content_types: prefix %q is no path of a URL", c.Prefix)
	}
	for _, name := range prefix {
		c.prefix = append(c.prefix, winpath.Fold(name))
	}
	if err := c.compileTypes(); err != nil {
		return fmt.Errorf("iis_content_types: %w", err)
	}
	if c.documents, err = newDocuments(c.Documents); err != nil {
		return fmt.Errorf("iis_content_types: documents: %w", err)
	}
	for i := range c.Handlers {
		if err := c.Handlers[i].provision(); err != nil {
			return fmt.Errorf("iis_content_types: handler %s: %w", c.Handlers[i].Path, err)
		}
	}
	if c.scripts, err = newHandlerPaths(c.Scripts); err != nil {
		return fmt.Errorf("iis_content_types: scripts: %w", err)
	}
	if c.closed, err = newHandlerPaths(c.Closed); err != nil {
		return fmt.Errorf("iis_content_types: closed: %w", err)
	}
	for word, value := range map[string]string{"cache_control": c.CacheControl, "expires": c.Expires} {
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("iis_content_types: %s: %q cannot be the value of a header", word, value)
		}
	}
	return nil
}

// compileTypes makes the list of types in force.
func (c *ContentTypes) compileTypes() error {
	switch c.Types {
	case "", "iis10":
		c.types = IIS10Types()
	case "none":
		c.types = make(map[string]string, len(c.Type))
	default:
		return fmt.Errorf("types %q is unknown: expected iis10 or none", c.Types)
	}
	for _, extension := range c.Remove {
		key, err := extensionKey(extension)
		if err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		delete(c.types, key)
	}
	given := make(map[string]string, len(c.Type))
	for extension, value := range c.Type {
		key, err := extensionKey(extension)
		if err != nil {
			return fmt.Errorf("type: %w", err)
		}
		if value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("type %s: %q is no content type", extension, value)
		}
		if other, ok := given[key]; ok && other != value {
			return fmt.Errorf("type %s: there are two, %q and %q", extension, other, value)
		}
		given[key] = value
		c.types[key] = value
	}
	c.fallback = c.types[".*"]
	return nil
}

// extensionKey returns the form of an extension by which types are found.
func extensionKey(extension string) (string, error) {
	if extension == "*" {
		return ".*", nil
	}
	if !strings.HasPrefix(extension, ".") || strings.ContainsAny(extension, `/\`) {
		return "", fmt.Errorf("%q is no extension: expected one with a dot in front, or *", extension)
	}
	return winpath.Fold(extension), nil
}

// typeOf returns the content type of a file.
func (c *ContentTypes) typeOf(name string) (string, bool) {
	name = name[strings.LastIndexByte(name, '/')+1:]
	extension := "."
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		extension = winpath.Fold(name[i:])
	}
	if value, ok := c.types[extension]; ok {
		return value, true
	}
	return c.fallback, c.fallback != ""
}

// ServeHTTP decides what the request is for and passes it on, or refuses it.
func (c *ContentTypes) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if caddyhttp.GetVar(r.Context(), proxyTargetVar) != nil && !isErrorPage(r) {
		return refuse(r, http.StatusNotFound, 4, "rewritten to another server, and no handler for that")
	}
	if strings.Contains(r.URL.Path, `\`) {
		// Windows reads it as a slash. Handlers and matchers in front have not,
		// and what they protect must not be reached so.
		return refuse(r, http.StatusNotFound, 0, "path with a backslash")
	}
	names, folder, err := winpath.Segments(r.URL.Path)
	if err != nil {
		return refuseFile(r, err)
	}
	t := c.targetOf(r, names, folder)
	does, err := c.handlerOf(t)
	switch {
	case err != nil:
		return refuseFile(r, err)
	case does.kind != answerFiles:
		return does.serve(w, r, next)
	case r.Method == http.MethodOptions && !isErrorPage(r):
		return answerOptions(w)
	case !t.inside:
		return refuse(r, http.StatusNotFound, 0, "outside the virtual directory")
	}
	name, info, err := t.find()
	switch {
	case err != nil:
		return refuseFile(r, err)
	case !info.IsDir():
		return c.serveFile(w, r, next, name, info)
	case !folder:
		return redirectToFolder(w, r, joinPath(names, true))
	}
	return c.serveFolder(w, r, next, t.root, name)
}

// serve answers with what does not send files.
func (a answer) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if a.kind == answerScript {
		return a.passScript(w, r, next)
	}
	return refuse(r, a.status, a.sub, "no handler of this path, verb and resource sends it")
}

// serveFile has file_server send a file, spelled as it is, if it has a type.
func (c *ContentTypes) serveFile(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, name string, info fs.FileInfo) error {
	contentType, ok := c.typeOf(name)
	switch {
	case !info.Mode().IsRegular():
		return refuse(r, http.StatusNotFound, 0, "neither a file nor a folder")
	case hiddenFile(info):
		return refuse(r, http.StatusNotFound, 9, "file with the attribute hidden")
	case !ok:
		return refuse(r, http.StatusNotFound, 3, "no content type for this extension")
	case !isRead(r):
		return refuseMethod(w, r)
	}
	setPath(r, "/"+name)
	header := headerChange{header: w.Header()}
	if w.Header().Get("Content-Type") == "" {
		header.set("Content-Type", contentType)
	}
	if c.CacheControl != "" {
		header.set("Cache-Control", c.CacheControl)
	}
	if c.Expires != "" {
		header.set("Expires", c.Expires)
	}
	err := next.ServeHTTP(w, r)
	if err != nil {
		header.undo() // they are not for the page about the error
	}
	return err
}

// serveFolder answers with the default document, or has file_server list the
// folder.
func (c *ContentTypes) serveFolder(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, root, name string) error {
	document, info, found := c.documents.in(filepath.Join(root, filepath.FromSlash(name)))
	if found {
		if name != "" {
			document = name + "/" + document
		}
		names := append(slices.Clip(c.prefix), strings.Split(document, "/")...)
		whole := joinPath(names, false)
		if err := filterDocument(r, whole); err != nil {
			return err
		}
		switch does, err := c.handlerOf(c.targetOf(r, names, false)); {
		case err != nil:
			return refuseFile(r, err)
		case does.kind == answerScript:
			setPath(r, whole)
			return does.serve(w, r, next)
		case does.kind != answerFiles:
			return does.serve(w, r, next)
		}
		return c.serveFile(w, r, next, document, info)
	}
	switch {
	case !isRead(r):
		return refuseMethod(w, r)
	case !c.Browse:
		return refuse(r, http.StatusForbidden, 14, "no default document, and no listing")
	case name != "":
		name += "/"
	}
	setPath(r, "/"+name)
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ContentTypes)(nil)
	_ caddyhttp.MiddlewareHandler = (*ContentTypes)(nil)
)
