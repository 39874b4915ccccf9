package iisimport

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// fastScripts are scripts that FastCGI runs.
type fastScripts struct {
	pattern string // *.php
	name    string // of the matcher vars; empty: true
	handler iisconfig.Handler
	verbs   []string // nil: all
	others  []string // that other handlers have
	rest    bool     // another handler has all verbs that this one has not
}

var reExtensionPattern = regexp.MustCompile(`^\*(\.[a-z0-9_-]+)$`)

// fastCGI tells whether a handler becomes a transport fastcgi: one for an extension, whose
// program fastCgi has, and which the place lets run. The address that was given stands
// for one program: the first that a handler names.
func (w *siteWriter) fastCGI(n *node, h iisconfig.Handler) bool {
	if w.b.plan.opts.FastCGI == "" || !reExtensionPattern.MatchString(strings.ToLower(h.Path)) ||
		!hasModule(h, "FastCgiModule") {
		return false
	}
	app := w.fastProgram(h)
	if app == nil || !mayRun(n, h) || n.refuses(h) > 0 {
		return false
	}
	if w.b.fastProgram == nil {
		w.b.fastProgram = app
	}
	return w.b.fastProgram == app
}

// fastProgram is the program of a handler in fastCgi; nil if it is not there, which IIS
// answers with 500.
func (w *siteWriter) fastProgram(h iisconfig.Handler) *iisconfig.FastCGI {
	program, arguments, _ := strings.Cut(h.ScriptProcessor, "|")
	for i := range w.b.server.FastCGI {
		app := &w.b.server.FastCGI[i]
		if strings.EqualFold(app.FullPath, program) && strings.TrimSpace(app.Arguments) == strings.TrimSpace(arguments) {
			return app
		}
	}
	return nil
}

// mayRun tells whether the access policy of a place has what a handler requires (403.1 to
// 403.3 otherwise), and whether the server has one of its modules (500.21).
func mayRun(n *node, h iisconfig.Handler) bool {
	if !installed(n, h) {
		return false
	}
	require := cmp.Or(h.RequireAccess, "Script")
	return strings.EqualFold(require, "None") || n.settings.Handlers != nil && permits(n.settings.Handlers.AccessPolicy, require)
}

// installed tells whether the server has one of the modules of a handler.
func installed(n *node, h iisconfig.Handler) bool {
	return h.Modules == "" || h.Type != "" || slices.ContainsFunc(strings.Split(h.Modules, ","), func(m string) bool { return n.settings.HasModule(strings.TrimSpace(m)) })
}

// addFast notes a handler for scripts of FastCGI. Several may share the verbs of a pattern.
func (s *scripts) addFast(h iisconfig.Handler, pattern string) {
	verbs := h.Verbs()
	i := slices.IndexFunc(s.fast, func(f fastScripts) bool { return f.pattern == pattern })
	switch {
	case i < 0:
		s.fast = append(s.fast, fastScripts{pattern: pattern, handler: h, verbs: verbs, others: slices.Concat(s.verbs["*"], s.verbs[pattern])})
	case verbs == nil || s.fast[i].verbs == nil:
		s.fast[i].verbs = nil
	default:
		s.fast[i].verbs = append(s.fast[i].verbs, verbs...)
	}
}

// other notes the verbs of a handler behind those of FastCGI: what these have is theirs.
func (f *fastScripts) other(h iisconfig.Handler) {
	verbs := h.Verbs()
	f.rest = f.rest || verbs == nil
	for _, verb := range verbs {
		if f.verbs != nil && !slices.Contains(f.verbs, verb) {
			f.others = append(f.others, verb)
		}
	}
}

// toFastCGI sends scripts to a FastCGI server. A script that is not there is 404 here: what
// is left of its path must not become the name of another file.
func (w *siteWriter) toFastCGI(n, from *node, s scripts) (out []*Directive) {
	for i, f := range s.fast {
		ext := reExtensionPattern.FindStringSubmatch(f.pattern)[1]
		number := ""
		if i > 0 {
			number = strconv.Itoa(i + 1)
		}
		is, there := "@fastcgi"+number, "@there"+number
		var kids []*Directive
		settings := w.fastCGISettings(f.handler, ext)
		if from.path != "/" {
			kids = append(kids, directive("uri", "strip_prefix", from.path))
			name := "{re.fastcgi" + number + ".1}" // with the prefix
			settings = append(settings, directive("env", "SCRIPT_NAME", name), directive("env", "DOCUMENT_URI", name))
		}
		kids = append(kids, f.verbGuards(number)...)
		// FastCGI here splits a path at the first place where the extension stands, IIS at
		// the first name that ends so.
		unclear := "@unclear" + number
		kids = append(kids,
			directive(unclear, "path_regexp", "(?i)"+regexp.QuoteMeta(ext)+"[^/]"),
			directive("error", unclear, "404"),
			block([]*Directive{block(append(w.globRoot(from), directive("try_files", "{path}"), directive("split_path", ext)), "file")}, there),
			directive("vars", places.Marker, w.b.plan.opts.FastCGI),
			block(append([]*Directive{block(settings, "transport", "fastcgi")}, w.replaced(n)...),
				"reverse_proxy", there, "{$IIS_FASTCGI:"+w.b.plan.opts.FastCGI+"}").because("The handler "+f.handler.Name+" of IIS runs these by "+f.handler.ScriptProcessor+"."),
			directive("error", "404"))
		out = append(out,
			block([]*Directive{
				directive("vars", iishttp.ScriptVar, cmp.Or(f.name, "true")),
				directive("path_regexp", "fastcgi"+number, `(?i)^(.*?`+regexp.QuoteMeta(ext)+`)(?:/|$)`),
			}, is),
			block([]*Directive{block(kids, "route")}, "handle", is))
	}
	return out
}

// globRoot names the folder of a node for the matcher file, which takes it for a pattern: where
// it is one, with the escapes by which it means itself. Windows has no patterns there.
func (w *siteWriter) globRoot(n *node) []*Directive {
	folder := w.b.plan.opts.folder(n.physical)
	if reWindowsRoot.MatchString(folder) || !strings.ContainsAny(folder, `*?[\`) {
		return nil
	}
	return []*Directive{directive("root", literal(globEscapes.Replace(folder)))}
}

var globEscapes = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)

// verbGuards refuse the verbs that FastCGI does not answer: with 405 those that no handler
// of IIS has, with 404 those of a handler that does not run here.
func (f fastScripts) verbGuards(number string) (out []*Directive) {
	if len(f.others) > 0 {
		m := "@others" + number
		out = append(out, directive(append([]string{m, "method"}, f.others...)...), directive("error", m, "404").because("Another handler of IIS has these."))
	}
	if f.verbs != nil {
		m, status := "@verb"+number, "405"
		if f.rest {
			status = "404"
		}
		out = append(out, directive(append([]string{m, "not", "method"}, f.verbs...)...), directive("error", m, status))
	}
	return out
}

// fastCGISettings are those of the program in fastCgi.
func (w *siteWriter) fastCGISettings(h iisconfig.Handler, ext string) []*Directive {
	out := []*Directive{directive("split", ext)}
	pool := ""
	if app := w.fastProgram(h); app != nil {
		timeout := strconv.Itoa(app.ActivityTimeout) + "s"
		out = append(out, directive("read_timeout", timeout), directive("write_timeout", timeout))
		for _, v := range app.Environment {
			if d := w.b.fastVariable(app, v); d != nil {
				out = append(out, d)
			}
		}
		children := strconv.Itoa(app.MaxInstances)
		if app.MaxInstances == 0 {
			children = "as many as the machine bears"
		}
		pool = fmt.Sprintf("; IIS has %s processes (pm.max_children of PHP-FPM), for %d requests each (pm.max_requests), and ends a request after %ds (request_terminate_timeout)",
			children, app.InstanceMaxRequests, app.RequestTimeout)
		w.report().translated(app.Source, "fastCgi "+app.FullPath, "transport fastcgi with its timeouts and environment")
	}
	w.report().upstream(h.Source, "handler "+h.Name+" "+h.Path, "run the FastCGI server there", "requests for these scripts go to the address in IIS_FASTCGI%s", pool)
	return out
}

// fastVariable gives a program a variable of its environment. Its value may be a secret: it
// is not in the Caddyfile, but in the environment of Caddy, under a name of its own.
func (b *builder) fastVariable(app *iisconfig.FastCGI, v iisconfig.Pair) *Directive {
	what, name := "environment variable "+v.Name, "IIS_FASTCGI_"+v.Name
	if !reEnvironmentName.MatchString(v.Name) || !environmentValue(v.Value) {
		b.plan.Report.decide(app.Source, what, "set it where the program runs", "its name or its value has no form in an environment here")
		return nil
	}
	if line := environmentLine(name, v.Value); !bytes.Contains(b.plan.Environment, line) {
		b.plan.Environment = append(b.plan.Environment, line...)
	}
	b.plan.Report.decide(app.Source, what, "give Caddy the variable "+name+": --environment writes its value into a file for that", "it may be a secret: the Caddyfile has {env.%s} in place of its value", name)
	return directive("env", v.Name, "{env."+name+"}")
}
