package iisimport

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// needsWorker tells what at a path only a worker process can answer, by the handlers
// in their order: the first one for every path decides.
func (w *siteWriter) needsWorker(n *node) string {
	set := n.settings
	if set.AspNetCore != nil {
		program := strings.TrimSpace(set.AspNetCore.ProcessPath + " " + set.AspNetCore.Arguments)
		return "ASP.NET Core (" + cmp.Or(program, "process path not known") + ")"
	}
	if set.Handlers != nil {
		for _, h := range set.Handlers.Entries {
			if h.Path != "*" || !getVerb(h.Verb) {
				continue
			}
			if h.NeedsWorker() {
				return "the handler " + h.Name
			}
			break
		}
	}
	for _, sec := range set.Managed {
		if sec.Source.Scope != "" {
			if strings.HasPrefix(sec.Name, "the module ") {
				return sec.Name
			}
			return "the section " + sec.Name
		}
	}
	return ""
}

// permits tells whether an accessPolicy has a word. One that is not set has Read and
// Script, as every server is installed.
func permits(policy, word string) bool {
	if policy == "" {
		return word != "Execute"
	}
	return slices.ContainsFunc(strings.FieldsFunc(policy, func(r rune) bool { return r == ',' || r == ' ' || r == '|' }), func(have string) bool {
		return strings.EqualFold(strings.TrimPrefix(have, "Access"), word)
	})
}

// getVerb tells whether a handler answers GET: those for OPTIONS, TRACE, PROPFIND and
// the like say nothing about who serves contents.
func getVerb(verbs string) bool {
	for verb := range strings.SplitSeq(verbs, ",") {
		if verb = strings.TrimSpace(verb); verb == "" || verb == "*" || strings.EqualFold(verb, "GET") {
			return true
		}
	}
	return false
}

// ownConfig tells whether a web.config of the path or of one above it is among the
// files. Without it nobody knows what protects a worker there.
func (w *siteWriter) ownConfig(n *node) bool {
	return slices.ContainsFunc(w.site.source.Configured, func(c iisconfig.ConfiguredPath) bool {
		return within(n.path, c.Path) && slices.ContainsFunc(c.Sections, func(s iisconfig.Section) bool {
			return strings.EqualFold(path.Base(strings.ReplaceAll(s.Source.File, `\`, "/")), "web.config")
		})
	})
}

// tellHandlers names the handlers that a site adds, and what stands in for them.
func (w *siteWriter) tellHandlers(n *node) {
	if n.settings.Handlers == nil {
		return
	}
	for _, h := range n.settings.Handlers.Entries {
		instead := "files, default documents and listings are sent as its order says"
		switch {
		case h.Source.Scope == "":
			continue
		case n.worker != "":
			instead = "all requests there go to the worker process"
		case h.NeedsWorker():
			instead = "iis_content_types sends none of these as files, and passes them on or refuses them"
		}
		w.report().translated(h.Source, fmt.Sprintf("handler %s: %s %s by %s", h.Name, cmp.Or(h.Verb, "*"), h.Path, cmp.Or(h.ScriptProcessor, h.Type, h.Modules)),
			"%s (%s)", instead, strings.Join([]string{cmp.Or(h.ResourceType, "Unspecified"), cmp.Or(h.RequireAccess, "Script")}, ", "))
	}
}

// answer is what answers at a node: a worker process, or files.
func (w *siteWriter) answer(n *node) []*Directive {
	w.tellHandlers(n)
	if n.worker == "" {
		return w.static(n)
	}
	what := "worker process at " + n.path
	if !w.ownConfig(n) {
		return []*Directive{w.closed(403, n.source, what, "copy the web.config of the application and import it too, or write reverse_proxy",
			n.worker+" answers there in IIS, and its web.config is not among the files")}
	}
	w.report().upstream(n.source, what, "run the application there, or let the IIS server go on running it",
		"%s needs a worker process: requests go to the address in IIS_UPSTREAM", n.worker)
	return w.toWorker(n.worker)
}

// toWorker sends requests to the address that stands in for worker processes.
func (w *siteWriter) toWorker(why string, matcher ...string) []*Directive {
	return append(connectionAuth(),
		directive("vars", places.Marker, w.b.plan.opts.Upstream),
		directive(append(append([]string{"reverse_proxy"}, matcher...), w.upstream())...).because("A worker process of IIS answers here: "+why+"."))
}

// connectionAuth refuses the credentials that a backend would take as those of the
// whole connection (RFC 4559 for Negotiate, NTLM likewise): the proxy uses connections
// for many clients, and the next one would be answered as the first one's user.
func connectionAuth() []*Directive {
	const m = "@connection_auth"
	return []*Directive{
		directive(m, "header_regexp", "Authorization", `(?i)^\s*(?:NTLM|Negotiate)\b`).
			because("NTLM and Negotiate sign in a connection, which the proxy shares between clients. Ways out: Basic or Kerberos at").
			because("the application by forward_auth in front, an application that asks for accounts itself, or a transport with a connection a client."),
		directive("error", m, "401"),
	}
}

// handlerPath is a pattern of a handler that the directive iis_content_types takes.
var handlerPath = regexp.MustCompile(`^(?:/?[A-Za-z0-9_.~/-]*\*?[A-Za-z0-9_.~/-]*)$`)

// scriptExtensions are run by worker processes, on servers whose handlers are not among
// the files; a file server would send their source.
var scriptExtensions = []string{
	".asp", ".aspx", ".ashx", ".asmx", ".axd", ".svc", ".cshtml", ".vbhtml", ".asa", ".soap", ".rem",
	".php", ".phtml", ".cgi", ".jsp", ".cfm", ".shtml", ".shtm", ".stm", ".idc", ".htr",
}

// scripts are the patterns of paths that a worker process runs.
type scripts struct {
	sent, closed []string           // sent to the stand-in of worker processes, and not
	source       iisconfig.Source   // of a handler whose pattern is sent
	unclear      *iisconfig.Handler // one whose pattern has no form here
	fast         []fastScripts      // of those that are sent, those that FastCGI runs
}

func (s *scripts) isFast(pattern string) bool {
	return slices.ContainsFunc(s.fast, func(f fastScripts) bool { return f.pattern == pattern })
}

// scripts sorts what a worker process runs at a node, by patterns of paths, into what
// goes to the stand-in of worker processes and what is closed.
func (w *siteWriter) scripts(n *node) scripts {
	var s scripts
	own := w.ownConfig(n)
	kinds := make(map[string]bool) // whether it is sent
	for _, ext := range scriptExtensions {
		kinds["*"+ext] = false
	}
	if h := n.settings.Handlers; h != nil {
		for _, e := range h.Entries {
			p := strings.ToLower(e.Path)
			switch {
			case !e.NeedsWorker() || p == "*" || p == "*." || p == "":
			case !handlerPath.MatchString(p):
				s.unclear = &e
			case own && w.fastCGI(n, e) && (!kinds[p] || s.isFast(p)):
				s.addFast(e, p)
				kinds[p] = true
			case own && e.Source.Scope != "" && !kinds[p] && mayRun(n, e):
				kinds[p], s.source = true, e.Source
			case !kinds[p]:
				kinds[p] = false
			}
		}
	}
	for p, send := range kinds {
		if send {
			s.sent = append(s.sent, p)
		} else {
			s.closed = append(s.closed, p)
		}
	}
	slices.Sort(s.sent)
	slices.Sort(s.closed)
	return s
}
