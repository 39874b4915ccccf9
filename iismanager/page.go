package iismanager

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// page answers requests of people who may see it.
type page struct {
	client   *adminapi.Client
	logger   *zap.Logger
	readOnly bool
	routes   *http.ServeMux
	cross    *http.CrossOriginProtection
	refusals *refusals

	// replaced returns a function that tells whether the configuration has been
	// replaced since; nil if the page is no part of it.
	replaced func() func() bool
}

// maxForm bounds what a form sends, and maxUpload one with a certificate.
const (
	maxForm   = 64 << 10
	maxUpload = 1 << 20
)

func newPage(client *adminapi.Client, logger *zap.Logger, readOnly bool) *page {
	p := &page{
		client: client, logger: logger, readOnly: readOnly, routes: http.NewServeMux(), cross: http.NewCrossOriginProtection(),
		refusals: &refusals{logger: logger},
	}
	for pattern, serve := range map[string]func(*visit) error{
		"GET /{$}":                         (*visit).sites,
		"GET /sites":                       (*visit).sites,
		"GET /sites/{id}":                  (*visit).site,
		"GET /sites/{id}/bindings":         (*visit).bindings,
		"POST /sites/{id}/bindings":        (*visit).changeBindings,
		"POST /sites/{id}/start":           func(v *visit) error { return v.setStarted(true) },
		"POST /sites/{id}/stop":            func(v *visit) error { return v.setStarted(false) },
		"GET /certificates":                (*visit).certificates,
		"POST /certificates":               (*visit).putCertificate,
		"GET /certificates/{name}/remove":  (*visit).askRemoval,
		"POST /certificates/{name}/remove": (*visit).removeCertificate,
		"GET /endpoints":                   (*visit).endpoints,
		"GET /explain":                     (*visit).explain,
		"GET /check":                       (*visit).check,
		"GET /changes":                     (*visit).changes,
		"POST /changes/{revision}/revert":  (*visit).revert,
		"GET /assets/{name}":               (*visit).asset,
		"/":                                (*visit).nothing,
	} {
		p.routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v := r.Context().Value(visitKey{}).(*visit)
			v.w, v.r = w, r
			if err := serve(v); err != nil {
				v.fail(err)
			}
		})
	}
	return p
}

// visit is a request of somebody who may see the page.
type visit struct {
	*page
	w   http.ResponseWriter
	r   *http.Request
	who visitor
}

// visitKey is the key of a visit in the context of its request.
type visitKey struct{}

// serve answers a request. Whether the visitor may see the page has been decided.
func (p *page) serve(w http.ResponseWriter, r *http.Request, who visitor) {
	protect(w.Header())
	v := &visit{page: p, w: w, r: r, who: who}
	if err := p.cross.Check(r); err != nil {
		p.refusals.note(r, who, reasonCrossSite)
		v.fail(&pageError{http.StatusForbidden, "This request comes from a page of somebody else. Nothing was changed."})
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && p.readOnly {
		p.refusals.note(r, who, reasonReadOnly)
		v.fail(&pageError{http.StatusForbidden, "This page is read-only here: nothing was changed."})
		return
	}
	limit := int64(maxForm)
	if r.URL.Path == "/certificates" {
		limit = maxUpload
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	ctx := adminapi.WithActor(r.Context(), "manager/"+who.Name)
	p.routes.ServeHTTP(w, r.WithContext(context.WithValue(ctx, visitKey{}, v)))
}

// protect sets the headers of all answers.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with none, a browser sends Origin: null with forms
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// refuse answers those who may not see the page.
func refuse(w http.ResponseWriter) {
	protect(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte("403: this page is for people whom the server knows.\n\n" +
		"Put basic_auth or another authentication before iis_manager, or open it on the machine itself by a loopback address.\n"))
}

// pageError is an error with its status and a text for people.
type pageError struct {
	status  int
	message string
}

// Error implements error.
func (e *pageError) Error() string { return e.message }

// statusOf is the status of an answer for an error.
func statusOf(err error) int {
	if own, ok := errors.AsType[*pageError](err); ok {
		return own.status
	}
	if said, ok := errors.AsType[*adminapi.Error](err); ok {
		return said.Status
	}
	switch {
	case errors.Is(err, adminapi.ErrNoSite):
		return http.StatusNotFound
	case errors.Is(err, adminapi.ErrChanged):
		return http.StatusConflict
	}
	return http.StatusBadGateway
}

// fail shows an error as a page of its own.
func (v *visit) fail(err error) {
	status := statusOf(err)
	v.show(status, "message.html", &view{Title: http.StatusText(status), Failure: messageOf(err)})
}

// messageOf tells an error to people.
func messageOf(err error) string {
	if adminapi.IsUnanswered(err) {
		return fmt.Sprintf("Caddy's admin endpoint, through which sites of the configuration are read and changed, does not answer (%v).", err)
	}
	return err.Error()
}

func (v *visit) nothing() error {
	return &pageError{http.StatusNotFound, "There is no such page."}
}

// view is what templates are given.
type view struct {
	Title    string // of the document
	Section  string // of the navigation
	Root     string // the way back to the page's folder, "./" or "../"
	Who      visitor
	ReadOnly bool
	Done     string // what was done
	Failure  string // why something was not done
	Counts   counts
	Data     any
}

// done are the texts for what was done, by the words that redirects have.
var done = map[string]string{
	"started":  "The site is started.",
	"stopped":  "The site is stopped. Its certificates still serve, as in IIS.",
	"saved":    "The binding is saved, and serves.",
	"added":    "The binding is added, and serves.",
	"removed":  "The binding is removed.",
	"reverted": "The revision is taken back: its sites are as they were before it.",
	"kept":     "The certificate is kept, and serves.",
	"gone":     "The certificate is removed.",
	"taken":    "The configuration has been replaced. What is shown is what serves now.",
}

// show writes a page.
func (v *visit) show(status int, name string, data *view) {
	data.Root = rootOf(v.r.URL.Path)
	data.Who, data.ReadOnly = v.who, v.readOnly
	data.Done = cmp.Or(data.Done, done[v.r.URL.Query().Get("done")])
	var buf bytes.Buffer
	part := "layout"
	if v.r.Header.Get("Iis-Part") == "results" {
		part = "results"
	}
	t := templates[name]
	if t.Lookup(part) == nil {
		part = "layout"
	}
	if err := t.ExecuteTemplate(&buf, part, data); err != nil {
		v.logger.Error("the manager page cannot be written", zap.String("page", name), zap.Error(err))
		http.Error(v.w, "the page cannot be written: see the log", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(buf.Bytes())
}

// rootOf leads from a path back to the page's folder, wherever that is.
func rootOf(path string) string {
	return cmp.Or(strings.Repeat("../", max(0, strings.Count(path, "/")-1)), "./")
}

// goTo sends the browser to a path of the page after a change.
func (v *visit) goTo(path, done string) error {
	v.w.Header().Set("Location", rootOf(v.r.URL.Path)+path+"?done="+url.QueryEscape(done))
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// ctx is that of the request, with who makes it.
func (v *visit) ctx() context.Context { return v.r.Context() }

// changeTimeout bounds a change: loading a very large configuration takes seconds.
const changeTimeout = 2 * time.Minute

// answerTime is how long the answer of a change is waited for when what it has made
// serves already.
const answerTime = 500 * time.Millisecond

// change makes a change and logs who made it. The change goes on if the browser goes
// away. A change of Caddy's configuration replaces this page too, and waits for its
// requests: so it does not wait for the end of the load, but until what it has asked for
// serves, which it reports as errReplaced.
func (v *visit) change(what string, fields []zap.Field, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx()), changeTimeout)
	var replaced func() bool
	if v.replaced != nil {
		replaced = v.replaced()
	}
	result := make(chan error, 1)
	go func() {
		defer cancel()
		err := v.attempt(ctx, do)
		v.audit(what, fields, err)
		result <- err
	}()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	var since time.Time
	for {
		select {
		case err := <-result:
			return err
		case now := <-ticker.C:
			switch {
			case replaced == nil || !replaced():
			case since.IsZero():
				since = now
			case now.Sub(since) > answerTime:
				return errReplaced
			}
		}
	}
}

// attempt calls a function whose panic ends the request, as in a server, and not the
// process: no server stands above the goroutine of a change.
func (v *visit) attempt(ctx context.Context, do func(ctx context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v.logger.Error("a change of the manager page has failed", zap.Any("panic", p), zap.Stack("stack"))
			err = &pageError{http.StatusInternalServerError, "The change has failed: see the log."}
		}
	}()
	return do(ctx)
}

// errReplaced tells that the configuration was replaced during a change.
var errReplaced = errors.New("the configuration has been replaced")

// audit writes the one line about a change.
func (v *visit) audit(what string, fields []zap.Field, err error) {
	fields = append([]zap.Field{
		zap.String("change", what), zap.String("user", v.who.Name), zap.String("known_by", v.who.How), zap.String("remote", v.r.RemoteAddr),
	}, fields...)
	if err != nil {
		v.logger.Warn("the manager page was asked for a change that was refused", append(fields, zap.Error(err))...)
		return
	}
	v.logger.Info("the manager page has made a change", fields...)
}

// configurationReplaced returns a function that tells whether Caddy has replaced the
// configuration since.
func configurationReplaced() func() bool {
	before := caddy.ActiveContext().Context
	return func() bool { return caddy.ActiveContext().Context != before }
}

// writeAPIError writes an error of the API in Caddy's form.
func writeAPIError(w http.ResponseWriter, err error) {
	said, ok := errors.AsType[caddy.APIError](err)
	if !ok || said.HTTPStatus == 0 {
		said.HTTPStatus = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(said.HTTPStatus)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// get asks the API.
func (v *visit) get(path string, params url.Values, into any) error {
	return v.client.GetJSON(v.ctx(), adminapi.Base+path, params, into)
}

//go:embed page
var files embed.FS

// asset serves what pages load.
func (v *visit) asset() error {
	name := v.r.PathValue("name")
	if name != "style.css" && name != "manager.js" && name != "icon.svg" {
		return v.nothing()
	}
	v.w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(v.w, v.r, files, "page/"+name)
	return nil
}

// templates are those of all pages by the names of their files.
var templates = func() map[string]*template.Template {
	all := make(map[string]*template.Template)
	layout := template.Must(template.New("").Funcs(functions).ParseFS(files, "page/layout.html"))
	pages, err := files.ReadDir("page")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, file := range pages {
		if name := file.Name(); strings.HasSuffix(name, ".html") && name != "layout.html" {
			all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "page/"+name))
		}
	}
	return all
}()
