package iisimport

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// needsWorker tells what at a path only a worker process can answer, by the handlers
// in their order: the first one for every path decides.
func (w *siteWriter) needsWorker(n *node) string {
	set := n.settings
	_, every := w.handlers(n)
	if every != nil && n.refuses(*every) > 0 {
		return "" // whatever else is there
	}
	if n.core {
		return "ASP.NET Core (" + cmp.Or(programName(set.AspNetCore), "process path not known") + ")"
	}
	if every != nil && every.NeedsWorker() {
		return "the handler " + every.Name
	}
	return w.managed(n)
}

// managed tells what of .NET guards everything at a node, or makes it.
func (w *siteWriter) managed(n *node) string {
	set := n.settings
	for _, sec := range set.Managed {
		switch {
		case sec.Source.Scope == "":
		case strings.HasPrefix(sec.Name, "the module "):
			return sec.Name
		case w.withoutNET(n):
		case set.AspNetCore == nil || set.SeesAll() != nil || filesOfNET(set): // else they may be settings of its program
			return "the section " + sec.Name
		}
	}
	return ""
}

// filesOfNET tells whether .NET sends files, which what it says of who may guards.
func filesOfNET(set *iisconfig.Settings) bool {
	return set.Handlers != nil && slices.ContainsFunc(set.Handlers.Entries, iisconfig.Handler.FilesOfNET)
}

// ofCore tells whether a handler gives requests to the program of aspNetCore or httpPlatform.
func ofCore(h iisconfig.Handler) bool {
	return hasModule(h, "AspNetCoreModuleV2", "AspNetCoreModule", "httpPlatformHandler")
}

// allToCore tells whether the program of aspNetCore has all requests at a node: a handler for all
// paths gives them to it, or may, where nobody knows the handlers: those of the server, or of the
// web.config of an application whose program applicationHost.config says.
func (w *siteWriter) allToCore(n *node) bool {
	core, h := n.settings.AspNetCore, n.settings.Handlers
	if core == nil {
		return false
	}
	_, every := w.handlers(n)
	switch {
	case every != nil && ofCore(*every), h == nil, !isWebConfig(core.Source) && !w.configured(n, w.appOf(n)):
		return true
	case every != nil || w.b.serverSource("handlers").File != "":
		return false
	}
	return !h.Gone.Has("aspNetCore") && !h.Gone.Has("httpPlatformHandler") && !slices.ContainsFunc(h.Entries, ofCore)
}

// programName names a program. Its arguments may have secrets, all but the assembly that
// dotnet runs.
func programName(core *iisconfig.AspNetCore) string {
	assembly, _, _ := strings.Cut(strings.TrimSpace(core.Arguments), " ")
	if !strings.EqualFold(path.Ext(strings.Trim(assembly, `"`)), ".dll") {
		assembly = ""
	}
	return strings.TrimSpace(core.ProcessPath + " " + assembly)
}

// handlers are those of a node that its application pool has, in their order, cut at the
// first one that answers GET for every path: no entry behind that one decides.
func (w *siteWriter) handlers(n *node) (before []iisconfig.Handler, every *iisconfig.Handler) {
	if n.settings.Handlers == nil {
		return nil, nil
	}
	list := slices.DeleteFunc(slices.Clone(n.settings.Handlers.Entries), func(h iisconfig.Handler) bool {
		verbs := h.Verbs()
		return verbs != nil && len(verbs) == 0 || !w.exists(n, h) || foldersOnly(n, h)
	})
	i := slices.IndexFunc(list, func(h iisconfig.Handler) bool { return h.Path == "*" && h.AnswersGET() })
	if i < 0 {
		return list, nil
	}
	return list[:i], &list[i]
}

// foldersOnly tells whether a handler of all paths is one that answers for folders alone:
// the next one has the files. A worker's, and one that refuses, keeps all: it may be a guard.
func foldersOnly(n *node, h iisconfig.Handler) bool {
	return h.Path == "*" && strings.EqualFold(h.ResourceType, "Directory") && !h.NeedsWorker() && mayRun(n, h) &&
		hasModule(h, "StaticFileModule", "DefaultDocumentModule", "DirectoryListingModule")
}

// hasModule tells whether a handler has one of some modules.
func hasModule(h iisconfig.Handler, names ...string) bool {
	return slices.ContainsFunc(strings.Split(h.Modules, ","), func(m string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(strings.TrimSpace(m), name) })
	})
}

// sendsFiles tells whether a handler that needs no worker sends files at a node.
func sendsFiles(n *node, h iisconfig.Handler) bool {
	return (h.FilesOfNET() || runs(n, h, "StaticFileModule")) && mayRun(n, h)
}

// runs tells whether a handler has a module, and the server, too.
func runs(n *node, h iisconfig.Handler, module string) bool {
	return hasModule(h, module) && n.settings.HasModule(module)
}

// inFolders tells what a request for a folder gets at a node: a default document, a listing.
// As in IIS, the modules of the first entry that fits a folder do it.
func (w *siteWriter) inFolders(n *node) (documents, listing bool) {
	fits := iisconfig.Handler{Modules: "DefaultDocumentModule,DirectoryListingModule", RequireAccess: "None"}
	if n.settings.Handlers != nil {
		i := slices.IndexFunc(n.settings.Handlers.Entries, func(h iisconfig.Handler) bool {
			return h.Path == "*" && h.AnswersGET() && w.exists(n, h) && !strings.EqualFold(h.ResourceType, "File")
		})
		if _, every := w.handlers(n); i < 0 && (every != nil || w.unserved(n)) {
			return false, false
		}
		if i >= 0 {
			fits = n.settings.Handlers.Entries[i]
		}
	}
	return mayRun(n, fits) && runs(n, fits, "DefaultDocumentModule"), mayRun(n, fits) && runs(n, fits, "DirectoryListingModule")
}

// unserved tells whether no handler answers GET for every path, where one did: what no
// entry fits is 404.4. Without the handlers of the server, nobody knows.
func (w *siteWriter) unserved(n *node) bool {
	h := n.settings.Handlers
	if h == nil {
		return false
	}
	_, every := w.handlers(n)
	return every == nil && (h.Cleared || slices.ContainsFunc(h.Entries, func(e iisconfig.Handler) bool { return e.Path == "*" && e.AnswersGET() && !e.NeedsWorker() }))
}

// permits tells whether an accessPolicy has a word. One that is not set has Read and
// Script, as every server is installed. What clients of other machines have not (NoRemoteRead)
// nobody has here.
func permits(policy, word string) bool {
	words := strings.FieldsFunc(cmp.Or(policy, "Read, Script"), func(r rune) bool { return r == ',' || r == ' ' || r == '|' })
	has := func(word string) bool {
		return slices.ContainsFunc(words, func(have string) bool { return strings.EqualFold(strings.TrimPrefix(have, "Access"), word) })
	}
	return has(word) && !has("NoRemote"+word)
}

// ownConfig tells whether a web.config of the path or of one above it is among the
// files. Without it nobody knows what protects a worker there.
func (w *siteWriter) ownConfig(n *node) bool { return w.configured(n, "/") }

// configured tells whether a web.config of a node, or of a path above it and not above top, is
// among the files.
func (w *siteWriter) configured(n *node, top string) bool {
	return slices.ContainsFunc(w.site.source.Configured, func(c iisconfig.ConfiguredPath) bool {
		return within(n.path, c.Path) && within(c.Path, top) &&
			slices.ContainsFunc(c.Sections, func(s iisconfig.Section) bool { return isWebConfig(s.Source) })
	})
}

// isWebConfig tells whether a web.config says something.
func isWebConfig(src iisconfig.Source) bool {
	return strings.EqualFold(path.Base(strings.ReplaceAll(src.File, `\`, "/")), "web.config")
}

// tellHandlers names the handlers that a site adds, and what stands in for them where a
// place is not closed.
func (w *siteWriter) tellHandlers(n *node, closed bool) {
	if n.settings.Handlers == nil {
		return
	}
	reached, every := w.handlers(n)
	if every != nil {
		reached = append(slices.Clone(reached), *every)
	}
	mixed := w.mixed(n)
	if mixed != nil {
		reached = mixed.list
	}
	for _, h := range n.settings.Handlers.Entries {
		what := fmt.Sprintf("handler %s: %s %s by %s", h.Name, cmp.Or(h.Verb, "*"), h.Path, cmp.Or(h.ScriptProcessor, h.Type, h.Modules))
		conditions := strings.Join([]string{cmp.Or(h.ResourceType, "Unspecified"), cmp.Or(h.RequireAccess, "Script")}, ", ")
		if h.AllowPathInfo {
			conditions += ", allowPathInfo"
		}
		instead := "files, default documents and listings are sent as its order says"
		switch {
		case h.Source.Scope == "":
			continue
		case closed:
			w.report().dropped(h.Source, what, "nobody reaches it: the place is closed (%s)", conditions)
			continue
		case !slices.Contains(reached, h):
			w.report().dropped(h.Source, what, "no request reaches it: an earlier one answers, or its application pool has it not (%s)", conditions)
			continue
		case n.refuses(h) > 0:
			instead = fmt.Sprintf("requests that it has get %d", n.refuses(h))
			if h.Refuses() == 0 {
				instead += ": isapiCgiRestriction denies its program"
			}
		case mixed != nil && h.NeedsWorker() && !mayRun(n, h):
			w.report().closed(h.Source, what, "install its module, or give it what accessPolicy has",
				"the server has none of its modules, or accessPolicy does not let it run: what it has gets 403 (%s)", conditions)
			continue
		case mixed != nil:
			instead = "a line of handler in iis_content_types"
		case n.keepsFromWorker(h):
			w.report().closed(h.Source, what, "write handle with file_server for them in front of reverse_proxy", "IIS itself has these, and no worker process gets them; they answer 403 (%s)", conditions)
			continue
		case n.worker != "" && !h.NeedsWorker() && h.Path != "*":
			w.report().decide(h.Source, what, "write handle with a matcher file and file_server for them in front of reverse_proxy", "the worker process gets these, also where there is a file, which IIS sends itself (%s)", conditions)
			continue
		case n.worker != "":
			instead = "all requests there go to the worker process"
		case h.NeedsWorker():
			instead = "iis_content_types sends none of these as files, and passes them on or refuses them"
		case !sendsFiles(n, h):
			instead = "nothing of these is sent: it has no StaticFileModule, or may not run"
		}
		w.report().translated(h.Source, what, "%s (%s)", instead, conditions)
	}
}

// answer is what answers at a node, and says so of its handlers.
func (w *siteWriter) answer(n *node) []*Directive {
	out := w.answerer(n)
	w.tellUnread(n)
	w.tellHandlers(n, len(out) > 0 && out[0].Words[0] == "iis_closed" && out[0].Words[1] == "*")
	return out
}

// answerer is a worker process, or files.
func (w *siteWriter) answerer(n *node) []*Directive {
	if m := w.mixed(n); m != nil {
		w.tellCore(n, m.list)
		return w.mix(n, m)
	}
	refusals, unclear := w.refusals(n)
	if unclear != nil {
		return []*Directive{w.closed(cmp.Or(n.refuses(*unclear), 403), unclear.Source, "handler "+unclear.Name, "write its path as a matcher", fmt.Sprintf("its path %q has no form here", unclear.Path))}
	}
	if all := slices.IndexFunc(refusals, func(d *Directive) bool { return d.Words[0] == "error" && d.Words[1] == "*" }); all >= 0 {
		return refusals[:all+1]
	}
	reached, every := w.handlers(n)
	w.tellCore(n, reached)
	if n.worker == "" {
		return w.static(n, refusals)
	}
	var timeout []*Directive
	if n.core {
		timeout = w.answerTimeout(n)
	}
	what := "worker process at " + n.path
	if !w.ownConfig(n) {
		return []*Directive{w.closed(403, n.source, what, "copy the web.config of the application and import it too, or write reverse_proxy",
			n.worker+" answers there in IIS, and its web.config is not among the files")}
	}
	if len(reached) == 0 && w.unserved(n) {
		return []*Directive{w.noHandler(n)}
	}
	if every != nil && every.NeedsWorker() && !surely(*every) {
		return []*Directive{w.closed(403, every.Source, "handler "+every.Name, "write a matcher file and root in front of reverse_proxy",
			"what it answers depends on the files there (resourceType "+every.ResourceType+")")}
	}
	guards, may := w.workerMayRun(n)
	if every != nil && !installed(n, *every) {
		return []*Directive{w.closed(403, every.Source, "handler "+every.Name, "", "globalModules or modules do not have its "+every.Modules+", so that it does not run")}
	}
	if h := n.settings.Handlers; h != nil && !may {
		return []*Directive{w.closed(403, h.Source, "handlers accessPolicy "+h.AccessPolicy, "", "it lets the handler that answers there not run: 403.1")}
	}
	return slices.Concat(refusals, guards, w.otherVerbs(n), w.toWorker(n, n.core, n.source, what, n.worker, timeout...))
}

// tellCore says of aspNetCore what is not executed: how its program is started, or all of it,
// where no handler has anything for the program.
func (w *siteWriter) tellCore(n *node, reached []iisconfig.Handler) {
	core := n.settings.AspNetCore
	if core == nil {
		return
	}
	what := "aspNetCore"
	if core.Platform {
		what = "httpPlatform"
	}
	switch {
	case !n.core && !slices.ContainsFunc(reached, ofCore):
		w.report().dropped(core.Source, what, "the section %s counts for nothing here: no handler gives a request to its program", what)
	case !w.b.plan.opts.Services:
		w.report().dropped(core.Source, what, "hostingModel, environmentVariables, startupTimeLimit, shutdownTimeLimit, rapidFailsPerMinute, stdoutLogEnabled, stdoutLogFile: "+
			"how the program is started says whoever starts it; --services writes units of systemd")
	}
}

// otherVerbs refuses the verbs that no worker has at a node whose first handler of all paths is
// not one of all verbs: other handlers have them.
func (w *siteWriter) otherVerbs(n *node) []*Directive {
	_, every := w.handlers(n)
	if every == nil || !every.NeedsWorker() {
		return nil
	}
	var v verbs
	for _, h := range n.settings.Handlers.Entries {
		if h.Path == "*" && w.exists(n, h) && !foldersOnly(n, h) {
			v.take(h.Verbs(), ofCore(h) == ofCore(*every) && runsThere(n, h))
		}
	}
	return v.guards("@verbs", nil)
}

// runsThere tells whether a worker process has what a handler has: it stands in for none of WebDAV.
func runsThere(n *node, h iisconfig.Handler) bool {
	return h.NeedsWorker() && n.refuses(h) == 0 && surely(h) && mayRun(n, h) && !hasModule(h, "WebDAVModule")
}

// noHandler closes a place where no handler is left.
func (w *siteWriter) noHandler(n *node) *Directive {
	return w.closed(404, n.settings.Handlers.Source, "handlers", "", "none is left for what is there: 404.4")
}

// workerMayRun tells whether the access policy lets run what answers at a node with a worker,
// and returns what refuses scripts where only files may be read.
func (w *siteWriter) workerMayRun(n *node) (guards []*Directive, may bool) {
	if n.settings.Handlers == nil {
		return nil, true
	}
	_, every := w.handlers(n)
	if every != nil && every.NeedsWorker() {
		return nil, mayRun(n, *every)
	}
	if mayRun(n, iisconfig.Handler{}) {
		return nil, true
	}
	s := w.scripts(n)
	if n.settings.AspNetCore != nil || s.unclear != nil || !permits(n.settings.Handlers.AccessPolicy, "Read") {
		return nil, false
	}
	return []*Directive{
		directive("@norun", "path_regexp", pathsPattern(s.closed)),
		directive("error", "@norun", "403").because("The access policy lets no script run here."),
	}, true
}

// toWorker sends requests to what stands in for the worker process of a node: a service, the
// address for its pool, or that for all, with settings of the proxy. Applications get the host of the client also by
// https, for which reverse_proxy has another way. core says that it is the program of aspNetCore.
func (w *siteWriter) toWorker(n *node, core bool, src iisconfig.Source, what, why string, settings ...*Directive) []*Directive {
	proxy := block([]*Directive{directive("header_up", "Host", "{hostport}")}, "reverse_proxy").because("A worker process of IIS answered here: " + why + ".")
	proxy.Block = slices.Concat(proxy.Block, settings, w.replaced(n))
	var service *Service
	if core {
		service = w.service(n)
	}
	out := connectionAuth()
	address := w.b.plan.opts.PoolUpstreams[n.pool]
	if service != nil {
		address = service.Address
	} else if address != "" {
		w.report().upstream(src, what, "run the application there", "requests go to %s, the address for the application pool %s", address, n.pool)
	}
	if address != "" {
		proxy.Words = append(proxy.Words, address)
		if _, _, err := net.SplitHostPort(address); err == nil { // what a variable can say
			proxy.slots = append(proxy.slots, slot{word: 1, name: w.variable("upstream", &node{path: w.appOf(n)}), value: address, to: true})
		}
		return append(out, proxy)
	}
	w.report().upstream(src, what, "run the application there, or let the IIS server go on running it", "%s: requests go to the address in IIS_UPSTREAM", why)
	proxy.Words = append(proxy.Words, w.upstream())
	return append(out, directive("vars", places.Marker, w.b.plan.opts.Upstream), proxy)
}

// answerTimeout is requestTimeout, how long IIS waits for the answer of a program. It does not
// count for one in the process of IIS.
func (w *siteWriter) answerTimeout(n *node) []*Directive {
	core := n.settings.AspNetCore
	if core == nil || core.RequestTimeout == "" {
		return nil
	}
	what := "requestTimeout " + core.RequestTimeout
	seconds, ok := timeSpan(core.RequestTimeout)
	switch {
	case strings.EqualFold(core.HostingModel, "inprocess"):
		w.report().dropped(core.Source, what, "IIS has none for a program that runs in its own process (hostingModel)")
		return nil
	case !ok || seconds == 0:
		w.report().decide(core.Source, what, "write response_header_timeout into transport http of reverse_proxy", "it is no time: nothing ends a request")
		return nil
	}
	timeout := strconv.Itoa(seconds) + "s"
	w.report().translated(core.Source, what, "response_header_timeout %s of reverse_proxy: 504 where no answer has begun by then", timeout)
	return []*Directive{block([]*Directive{directive("response_header_timeout", timeout)}, "transport", "http")}
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
