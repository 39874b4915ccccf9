package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI is a module that shows what the iis app serves, through Caddy's
// admin endpoint:
//
//	GET /iis/sites          all sites
//	GET /iis/sites/{id}     one site
//	GET /iis/endpoints      the addresses and ports
//	GET /iis/certificates   the certificates, and {name} one of them
//	GET /iis/explain        what a client would get, and why
//	GET /iis/check          all findings
//	GET /iis/sources        the sources of sites
//	GET /iis/revisions      what was written to a source
//	GET /iis/export         the sites of a source, one on each line
//	GET /iis/backup         a copy of the file of a source
//	GET /iis/events         what is written to a source, as it is served
//	GET /iis/ready          whether all sites are served that there are
//
// It changes the sites of sources that can be written, such as bolt:
//
//	PUT, PATCH, DELETE /iis/sites/{id}
//	PUT, DELETE /iis/certificates/{name}
//	POST /iis/sites                        a new site, whose id is given out
//	POST /iis/changes                      several changes, all or none
//	POST /iis/revisions/{revision}/revert  takes a revision back
//	POST /iis/sources/{name}/accept        takes a source as it is that has lost many sites
//
// All else is changed through Caddy's own /config/apps/iis.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.iis",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns the admin routes of the iis app.
func (a adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{
		Pattern: adminapi.Base,
		Handler: caddy.AdminHandlerFunc(a.serve),
	}}
}

// serve answers from the configuration that is active at this moment. It
// takes no lock, so it answers while Caddy loads another one.
func (a adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	err := a.answer(w, r)
	if refused, ok := errors.AsType[caddy.APIError](err); ok && refused.HTTPStatus == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	return err
}

func (adminAPI) answer(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set(adminapi.ProcessHeader, adminapi.Process)
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, adminapi.Base), "/")
	found, name := resourceAt(path)
	switch {
	case found == nil:
		return apiError(http.StatusNotFound, "no resource %s: below %s there are %s", path, adminapi.Base, resourceNames())
	case !slices.Contains(found.methods(), r.Method):
		w.Header().Set("Allow", strings.Join(found.methods(), ", "))
		return apiError(http.StatusMethodNotAllowed, "method %s is not allowed for %s", r.Method, r.URL.Path)
	case strings.HasSuffix(found.path, "/accept"):
		return serveAccept(w, r, name)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return serveWrite(w, r, path)
	case found.stream != nil:
		return found.stream(w, r)
	}
	q, err := parseQuery(r, name, found.parameters)
	if err != nil {
		return err
	}
	now, err := activeSnapshot()
	if err != nil {
		return err
	}
	if q.get("revision") != "" {
		if err := waitForRevision(now.App, r, q); err != nil {
			return err
		}
		if now, err = activeSnapshot(); err != nil {
			return err
		}
	}
	answer, err := found.answer(now, q)
	if err != nil {
		return err
	}
	if tag := tagOf(answer); tag != "" {
		w.Header().Set("ETag", tag)
		if live.AnyTag(strings.Join(r.Header["If-None-Match"], ","), tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return writeJSON(w, answer)
}

// tagOf is the entity tag of an answer, empty if it has none.
func tagOf(answer any) string {
	switch answer := answer.(type) {
	case adminapi.Site:
		return answer.ETag
	case adminapi.Certificate:
		return answer.ETag
	}
	return ""
}

// activeApp returns the app that serves now.
func activeApp() (*serve.Instance, error) {
	now := caddy.ActiveContext()
	if now.Context == nil { // this endpoint answers before the first configuration serves
		return nil, apiError(http.StatusServiceUnavailable, "no configuration serves yet, or none does anymore: ask again")
	}
	active, err := serve.Of(now)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, apiError(http.StatusNotFound, "%w", errNoApp)
	}
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	return active, nil
}

// activeSnapshot returns what the active configuration serves.
func activeSnapshot() (view, error) {
	app, err := activeApp()
	if err != nil {
		return view{}, err
	}
	return newView(app.Serving()), nil
}

// resource is what the API has at a path.
type resource struct {
	path       string                                         // below /iis/; what is in braces stands for one name
	writes     []string                                       // the methods that change sites
	parameters []string                                       // that GET knows
	answer     func(view, query) (any, error)                 // to GET
	stream     func(http.ResponseWriter, *http.Request) error // to GET, in its place
}

// resources are all that there are.
var resources = func() []resource {
	paging := []string{"limit", "after"}
	return []resource{
		{path: "sites", writes: []string{http.MethodPost}, parameters: slices.Concat(paging, siteFilters, []string{"refused", "revision", "wait"}), answer: view.sitesView},
		{path: "sites/{id}", writes: []string{http.MethodPut, http.MethodPatch, http.MethodDelete}, answer: view.siteView},
		{path: "changes", writes: []string{http.MethodPost}},
		{path: "sources", answer: view.sourcesView},
		{path: "sources/{name}/accept", writes: []string{http.MethodPost}},
		{path: "revisions", parameters: []string{"limit", "after", "source"}, answer: view.revisionsView},
		{path: "revisions/{revision}/revert", writes: []string{http.MethodPost}},
		{path: "export", stream: serveExport},
		{path: "backup", stream: serveBackup},
		{path: "events", stream: serveEvents},
		{path: "ready", parameters: []string{"fresh"}, answer: view.readyView},
		{path: "endpoints", parameters: paging, answer: view.endpointsView},
		{path: "certificates/{name}", writes: []string{http.MethodPut, http.MethodDelete}, answer: view.certificateView},
		{path: "certificates", parameters: paging, answer: view.certificatesView},
		{path: "explain", parameters: []string{"local", "sni", "host", "scheme"}, answer: view.explainView},
		{path: "check", parameters: paging, answer: view.checkView},
	}
}()

// resourceAt finds the resource at a path, and the name that stands in it.
func resourceAt(path string) (*resource, string) {
	for i := range resources {
		before, rest, named := strings.Cut(resources[i].path, "{")
		_, after, _ := strings.Cut(rest, "}")
		name := strings.TrimSuffix(strings.TrimPrefix(path, before), after)
		switch {
		case path == resources[i].path && !named:
			return &resources[i], ""
		case named && before+name+after == path && !strings.Contains(name, "/"):
			return &resources[i], name
		}
	}
	return nil, ""
}

// reads are the methods that change nothing.
func (r *resource) reads() []string {
	if r.answer == nil && r.stream == nil {
		return nil
	}
	return []string{http.MethodGet, http.MethodHead}
}

// methods are those that the resource has.
func (r *resource) methods() []string { return append(r.reads(), r.writes...) }

// resourceNames lists the resources for a message.
func resourceNames() string {
	names := make([]string, len(resources))
	for i := range resources {
		names[i] = resources[i].path
	}
	return strings.Join(names, ", ")
}

// query is what a request asks for.
type query struct {
	values map[string][]string
	name   string // the rest of the path
}

// get returns a parameter, empty if it is missing.
func (q query) get(name string) string {
	if values := q.values[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// parseQuery refuses what nobody would look at: parameters that are mistyped, and those that
// cannot be read, which [url.URL.Query] leaves out.
func parseQuery(r *http.Request, name string, known []string) (q query, err error) {
	q.name = name
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return q, apiError(http.StatusBadRequest, "the parameters cannot be read: %v", err)
	}
	for _, name := range serve.SortedKeys(q.values) {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			return q, apiError(http.StatusBadRequest, "unknown parameter %q: there are none here", name)
		case !slices.Contains(known, name):
			return q, apiError(http.StatusBadRequest, "unknown parameter %q: expected one of %s", name, strings.Join(known, ", "))
		case len(q.values[name]) > 1:
			return q, apiError(http.StatusBadRequest, "parameter %q is there %d times", name, len(q.values[name]))
		}
	}
	return q, nil
}

// flag returns whether a parameter is there that is 1 or missing, which is for something.
func (q query) flag(name, without string) (bool, error) {
	if q.values[name] != nil && q.get(name) != "1" {
		return false, apiError(http.StatusBadRequest, "%s: %q is not 1: leave it out for %s", name, q.get(name), without)
	}
	return q.values[name] != nil, nil
}

// limit returns the size of a page.
func (q query) limit() (int, error) {
	text := q.get("limit")
	if text == "" {
		return adminapi.DefaultLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > adminapi.MaxLimit {
		return 0, apiError(http.StatusBadRequest, "limit: %q is not a number from 1 to %d", text, adminapi.MaxLimit)
	}
	return limit, nil
}

// page cuts the page out of a list that the query asks for. The list must be
// sorted; start finds the first item behind the one that after names, and name names
// one.
func page[S, T any](q query, list []S, start func(after string) (int, error), show func(S) T, name func(i int) string) (p adminapi.Page[T], err error) {
	limit, err := q.limit()
	if err != nil {
		return p, err
	}
	first := 0
	if after := q.get("after"); after != "" {
		if first, err = start(after); err != nil {
			return p, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("after: %w", err)}
		}
	}
	end := min(len(list), first+limit)
	p = adminapi.Page[T]{Items: make([]T, 0, end-first), Total: len(list)}
	for _, item := range list[first:end] {
		p.Items = append(p.Items, show(item))
	}
	if end < len(list) {
		p.Next = name(end - 1)
	}
	return p, nil
}

// writeJSON encodes first and writes then, so that a failure is not half of an
// answer.
func writeJSON(w http.ResponseWriter, answer any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(buf.Bytes())
	return nil
}

func apiError(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// Interface guards
var (
	_ caddy.AdminRouter = adminAPI{}
	_ caddy.Provisioner = adminAPI{}
)

// Provision implements [caddy.Provisioner]. Caddy calls it at the beginning of each load.
func (adminAPI) Provision(ctx caddy.Context) error { return serve.BeforeLoad(ctx) }

// Methods lists the methods of each resource of the admin API, by path.
func Methods() map[string][]string {
	methods := make(map[string][]string)
	for i := range resources {
		methods[resources[i].path] = resources[i].methods()
	}
	return methods
}

// Parameters lists the parameters of GET that the resources of the API check.
func Parameters() map[string][]string {
	parameters := make(map[string][]string)
	for i := range resources {
		if resources[i].answer != nil {
			parameters[resources[i].path] = resources[i].parameters
		}
	}
	return parameters
}
