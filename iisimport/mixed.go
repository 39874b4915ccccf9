package iisimport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// mixture is a place whose handlers are lines of handler in iis_content_types: which one has a
// request depends on what is there, or on more of it than a matcher says.
type mixture struct {
	list    []iisconfig.Handler // those that a request may reach
	answers []string            // of each
	fast    []fastScripts
	sources map[string]iisconfig.Source // of the first handler of an answer
}

// mixed returns the mixture of a node; nil if it needs none, or if nobody can tell here what is
// there. Where managed modules see the requests for files, all is theirs.
func (w *siteWriter) mixed(n *node) *mixture {
	h := n.settings.Handlers
	if h == nil || n.worker != "" && (w.managed(n) != "" || !w.ownConfig(n)) {
		return nil
	}
	m := &mixture{sources: make(map[string]iisconfig.Source)}
	for _, e := range h.Entries {
		if verbs := e.Verbs(); verbs != nil && len(verbs) == 0 || !w.exists(n, e) {
			continue
		}
		if e.Path != "*" && e.Path != "*." && !hasForm(strings.ToLower(e.Path)) {
			return nil
		}
		m.list = append(m.list, e)
		if coversAll(e) {
			break
		}
	}
	if from := w.folderOf(n); !w.mixes(n, m.list) || from.physical == "" || !expressible(from.path) || !w.nameable(from) {
		return nil
	}
	if _, mapped := iisconfig.Translate(w.b.plan.opts.Folders, w.folderOf(n).physical); !mapped && slices.ContainsFunc(m.list, func(e iisconfig.Handler) bool { return !coversTail(e) && !anyResource(e) }) {
		return nil
	}
	own := w.ownConfig(n)
	for _, e := range m.list {
		answer := w.answerOf(n, m, e, own)
		if _, ok := m.sources[answer]; !ok {
			m.sources[answer] = e.Source
		}
		m.answers = append(m.answers, answer)
	}
	return m
}

// coversAll tells whether a handler has every request.
func coversAll(h iisconfig.Handler) bool { return h.Path == "*" && h.Verbs() == nil && anyResource(h) }

// coversTail tells whether a handler is one of files for all that is there: what it does not have
// is not there.
func coversTail(h iisconfig.Handler) bool {
	return h.Path == "*" && h.Verbs() == nil && !h.NeedsWorker() && strings.EqualFold(h.ResourceType, "Either")
}

// mixes tells whether handlers of a site, or of its folders, share requests in a way that only
// their whole list tells: some depend on what is there, or two of other kinds share paths.
func (w *siteWriter) mixes(n *node, list []iisconfig.Handler) bool {
	for i, e := range list {
		if e.Source.Scope == "" {
			continue
		}
		if n.keepsFromWorker(e) || !anyResource(e) && (n.worker != "" || e.NeedsWorker() && !knows(e) || slices.ContainsFunc(list[i+1:], func(later iisconfig.Handler) bool {
			return later.NeedsWorker() && later.Source.Scope != "" && meet(e.Path, later.Path)
		})) {
			return true
		}
		for _, earlier := range list[:i] {
			if earlier.Source.Scope != "" && earlier.NeedsWorker() && e.NeedsWorker() && ofCore(earlier) != ofCore(e) && earlier.Refuses()+e.Refuses() == 0 && meet(earlier.Path, e.Path) {
				return true
			}
			if n.worker == "" && e.Path != "*" && earlier.Path != "*" && !strings.EqualFold(e.Path, earlier.Path) && meet(earlier.Path, e.Path) &&
				(e.NeedsWorker() || earlier.NeedsWorker()) {
				return true
			}
		}
	}
	return false
}

// knows tells whether who runs scripts of an extension knows by itself which are there: nobody
// else has those that are not.
func knows(e iisconfig.Handler) bool {
	return !ofCore(e) && e.Refuses() == 0 && !strings.EqualFold(e.ResourceType, "Directory") && reExtensionPattern.MatchString(strings.ToLower(e.Path))
}

// answerOf is what a handler does, as a line of handler says it.
func (w *siteWriter) answerOf(n *node, m *mixture, e iisconfig.Handler, own bool) string {
	switch {
	case n.refuses(e) > 0 && e.Refuses() == 0:
		return denied
	case n.refuses(e) > 0:
		return strconv.Itoa(n.refuses(e))
	case !mayRun(n, e):
		return "403"
	case hasModule(e, "WebDAVModule"):
		return "405"
	case !e.NeedsWorker() && (sendsFiles(n, e) || hasModule(e, "ProtocolSupportModule", "DefaultDocumentModule", "DirectoryListingModule")):
		return "files"
	case !e.NeedsWorker() || e.Source.Scope == "" || !own:
		return "404.4"
	case w.fastCGI(n, e):
		name := "fastcgi" + strconv.Itoa(len(m.fast)+1)
		m.fast = append(m.fast, fastScripts{pattern: strings.ToLower(e.Path), handler: e, name: name})
		return name
	case ofCore(e):
		return "program"
	}
	return "worker"
}

// inFolder tells what a handler of files does for folders: the resources that it leaves to a
// refusal are those of folders.
func (n *node) inFolder(h iisconfig.Handler) (documents, listing, folders bool) {
	return runs(n, h, "DefaultDocumentModule"), runs(n, h, "DirectoryListingModule"), !strings.EqualFold(h.ResourceType, "File")
}

// lines are the lines of handler.
func (m *mixture) lines(n *node, documents bool) (out []*Directive) {
	for i, e := range m.list {
		answer, p := m.answers[i], strings.ToLower(e.Path)
		resource := strings.ToLower(e.ResourceType)
		if anyResource(e) || answer == "worker" && knows(e) && m.onlyFiles(i+1) {
			resource = ""
		}
		with := func(answer, resource string) {
			d := directive("handler", answer, p)
			if resource != "" {
				d.Words = append(d.Words, resource)
			}
			d.Words = append(d.Words, e.Verbs()...)
			out = append(out, d)
		}
		if d, _, folders := n.inFolder(e); answer == "files" && folders && documents != d && !hasModule(e, "ProtocolSupportModule") {
			with("403.14", "directory")
		}
		with(answer, resource)
	}
	if !coversAll(m.list[len(m.list)-1]) {
		out = append(out, directive("handler", "404.4", "*"))
	}
	return out
}

// onlyFiles tells whether no program has what comes behind some handlers: the one that is asked
// knows by itself what is there.
func (m *mixture) onlyFiles(from int) bool {
	return !slices.ContainsFunc(m.answers[from:], func(a string) bool { return a != "files" && a[0] != '4' })
}

// mix writes a mixture.
func (w *siteWriter) mix(n *node, m *mixture) []*Directive {
	from := w.folderOf(n)
	s := scripts{listing: true, fast: m.fast, closed: w.sources(n, m)}
	for i, e := range m.list {
		if documents, listing, folders := n.inFolder(e); m.answers[i] == "files" && folders && !hasModule(e, "ProtocolSupportModule") {
			s.documents, s.listing = s.documents || documents, s.listing && listing
		}
	}
	for _, p := range w.closedDocuments(n) {
		s.lines = append(s.lines, directive("handler", "404.4", p))
	}
	s.lines = append(s.lines, m.lines(n, s.documents)...)
	types := w.acceptedOr(w.contentTypes(n, from, s), 404, n.source)
	if types.Words[0] == "iis_closed" {
		return []*Directive{types}
	}
	root := w.folderAt(directive("root", "*"), from).because("On the IIS server: " + from.physical)
	out := append(w.documentGuards(n), root, types)
	out = append(out, w.toFastCGI(n, from, s)...)
	for _, name := range []string{"worker", "program"} {
		src, ok := m.sources[name]
		if !ok {
			continue
		}
		what, settings := "handlers at "+n.path, []*Directive(nil)
		if name == "program" {
			settings = w.answerTimeout(n)
		}
		out = append(out, directive("@"+name, "vars", iishttp.ScriptVar, name),
			block([]*Directive{block(w.toWorker(n, name == "program", src, what, "handlers of the site", settings...), "route")}, "handle", "@"+name))
	}
	return append(out, w.fileServer(n, s))
}

// sources are patterns of what is run somewhere, and so never sent, unless the site itself
// gives it to files first.
func (w *siteWriter) sources(n *node, m *mixture) (out []string) {
	for _, ext := range scriptExtensions {
		out = append(out, "*"+ext)
	}
	for _, e := range n.settings.Handlers.Entries {
		if p := strings.ToLower(e.Path); e.NeedsWorker() && e.Refuses() == 0 && reExtensionPattern.MatchString(p) && w.exists(n, e) {
			out = append(out, p)
		}
	}
	out = slices.DeleteFunc(out, func(p string) bool {
		i := slices.IndexFunc(m.list, func(e iisconfig.Handler) bool { return strings.EqualFold(e.Path, p) && e.AnswersGET() })
		return i >= 0 && m.answers[i] == "files" && givesFiles(m.list[i])
	})
	slices.Sort(out)
	return slices.Compact(out)
}
