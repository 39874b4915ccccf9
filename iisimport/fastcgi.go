package iisimport

import (
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
	handler iisconfig.Handler
}

var reExtensionPattern = regexp.MustCompile(`^\*(\.[a-z0-9_-]+)$`)

// fastCGI tells whether a handler becomes a transport fastcgi: one for an extension.
func (w *siteWriter) fastCGI(h iisconfig.Handler) bool {
	return w.b.plan.opts.FastCGI != "" && reExtensionPattern.MatchString(strings.ToLower(h.Path)) &&
		slices.ContainsFunc(strings.Split(h.Modules, ","), func(m string) bool { return strings.EqualFold(strings.TrimSpace(m), "FastCgiModule") })
}

// toFastCGI sends scripts to a FastCGI server. A script that is not there is 404 here: what
// is left of its path must not become the name of another file.
func (w *siteWriter) toFastCGI(from *node, s scripts) (out []*Directive) {
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
		kids = append(kids,
			block([]*Directive{block([]*Directive{directive("try_files", "{path}"), directive("split_path", ext)}, "file")}, there),
			directive("vars", places.Marker, w.b.plan.opts.FastCGI),
			block([]*Directive{block(settings, "transport", "fastcgi")},
				"reverse_proxy", there, "{$IIS_FASTCGI:"+w.b.plan.opts.FastCGI+"}").because("The handler "+f.handler.Name+" of IIS runs these by "+f.handler.ScriptProcessor+"."),
			directive("error", "404"))
		out = append(out,
			block([]*Directive{
				directive("vars", iishttp.ScriptVar, "true"),
				directive("path_regexp", "fastcgi"+number, `(?i)^(.*?`+regexp.QuoteMeta(ext)+`)(?:/|$)`),
			}, is),
			block([]*Directive{block(kids, "route")}, "handle", is))
	}
	return out
}

// fastCGISettings are those of the program in fastCgi.
func (w *siteWriter) fastCGISettings(h iisconfig.Handler, ext string) []*Directive {
	out := []*Directive{directive("split", ext)}
	program, arguments, _ := strings.Cut(h.ScriptProcessor, "|")
	i := slices.IndexFunc(w.b.server.FastCGI, func(app iisconfig.FastCGI) bool {
		return strings.EqualFold(app.FullPath, program) && strings.TrimSpace(app.Arguments) == strings.TrimSpace(arguments)
	})
	pool := ""
	if i >= 0 {
		app := w.b.server.FastCGI[i]
		timeout := strconv.Itoa(app.ActivityTimeout) + "s"
		out = append(out, directive("read_timeout", timeout), directive("write_timeout", timeout))
		for _, v := range app.Environment {
			if v.Name == "" || !expressible(v.Name) || !expressible(literal(v.Value)) {
				w.report().decide(app.Source, "environment variable "+v.Name, "set it where the program runs", "it has no form in a Caddyfile")
				continue
			}
			out = append(out, directive("env", v.Name, literal(v.Value)))
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
