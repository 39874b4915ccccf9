package iisimport

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// scripts are the patterns of paths that a worker process runs.
type scripts struct {
	sent, closed []string           // sent to the stand-in of worker processes, and not
	source       iisconfig.Source   // of a handler whose pattern is sent
	unclear      *iisconfig.Handler // one whose pattern has no form here
	few          bool               // no handler sends all files
	documents    bool               // a folder is answered with a default document
	listing      bool               // or, if it may be, with a listing
	fast         []fastScripts      // of those that are sent, those that FastCGI runs
	lines        []*Directive       // of handler, in place of what is sent

	kinds   map[string]bool     // whether a pattern is sent
	settled map[string]bool     // patterns whose requests an entry has already
	files   []string            // patterns that an entry gives to files
	own     []string            // of these, what an entry of the site does
	workers []string            // patterns that are sent, and not to FastCGI
	verbs   map[string][]string // of other handlers, by pattern
	runs    map[string]*verbs   // of workers, by pattern
	core    map[string]bool     // whether it is the program of aspNetCore, by pattern that is sent to a worker
}

// close closes a pattern that is not sent.
func (s *scripts) close(pattern string) {
	if !s.kinds[pattern] {
		s.kinds[pattern] = false
	}
}

// givesFiles tells whether a handler of files is one by which a site says of its own that what
// has a path is a file.
func givesFiles(e iisconfig.Handler) bool {
	return e.Source.Scope != "" && !strings.EqualFold(e.ResourceType, "Directory")
}

// notFiles closes a pattern, unless the site itself gives it to files.
func (s *scripts) notFiles(pattern string) {
	if !slices.Contains(s.own, pattern) {
		s.close(pattern)
	}
}

// scripts sorts what a worker process runs at a node, by patterns of paths, into what
// goes to the stand-in of worker processes and what is closed. As in IIS, the first entry
// that fits a request decides: what it may not run, nobody runs.
func (w *siteWriter) scripts(n *node) scripts {
	s := scripts{kinds: make(map[string]bool), settled: make(map[string]bool), verbs: make(map[string][]string), runs: make(map[string]*verbs), core: make(map[string]bool)}
	own := w.ownConfig(n)
	before, _ := w.handlers(n)
	for _, e := range before {
		w.script(n, &s, e, own)
	}
	// Those that do not decide are no files either, but where the site says so in front of them.
	for _, ext := range scriptExtensions {
		s.notFiles("*" + ext)
	}
	if h := n.settings.Handlers; h != nil {
		for _, e := range h.Entries {
			if p := strings.ToLower(e.Path); e.NeedsWorker() && hasForm(p) && w.exists(n, e) {
				s.notFiles(p)
			}
		}
	}
	for p, send := range s.kinds {
		if send {
			s.sent = append(s.sent, p)
		} else {
			s.closed = append(s.closed, p)
		}
	}
	s.fast = slices.DeleteFunc(s.fast, func(f fastScripts) bool { return !s.kinds[f.pattern] })
	slices.Sort(s.sent)
	slices.Sort(s.closed)
	return s
}

// hasForm tells whether a pattern is one of some paths that iis_content_types takes.
func hasForm(pattern string) bool {
	return pattern != "*" && pattern != "*." && pattern != "" && handlerPath.MatchString(pattern)
}

// pathsPattern is the regular expression of the paths that fit patterns, with path info.
func pathsPattern(patterns []string) string {
	var list []string
	for _, p := range patterns {
		switch {
		case p == "*.": // a last name without a dot
			list = append(list, ".*/[^/.]+$")
			continue
		case !strings.HasPrefix(p, "/"):
			p = "*/" + p
		}
		list = append(list, strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*"))
	}
	return "(?i)^(?:" + strings.Join(list, "|") + ")(?:/|$)"
}

// script takes the next entry.
func (w *siteWriter) script(n *node, s *scripts, e iisconfig.Handler, own bool) {
	p := strings.ToLower(e.Path)
	worker := own && e.NeedsWorker() && e.Source.Scope != "" && mayRun(n, e) && s.takes(p, e)
	s.noteVerbs(p, e, worker && p != "*" && n.refuses(e) == 0)
	fast := slices.IndexFunc(s.fast, func(f fastScripts) bool { return f.pattern == p })
	switch {
	case p == "":
	case p == "*.":
		if !s.settled[p] && e.AnswersGET() && e.NeedsWorker() && e.Source.Scope != "" && !ofASPNET(e) {
			s.settled[p], s.kinds[p] = true, worker && n.refuses(e) == 0
			s.source, s.core[p] = e.Source, ofCore(e)
		}
	case p == "*": // for other verbs than GET
		s.verbs[p] = append(s.verbs[p], e.Verbs()...)
	case !handlerPath.MatchString(p):
		s.unclear = &e
	case s.settled[p]:
	case own && w.fastCGI(n, e):
		s.addFast(e, p)
		s.settled[p] = e.Verbs() == nil
		s.send(p, slices.Concat(s.files, s.workers))
	case fast >= 0:
		s.fast[fast].other(e)
		s.settled[p] = e.AnswersGET()
	case n.refuses(e) > 0:
		if s.settled[p] = e.AnswersGET(); s.settled[p] {
			s.close(p)
		}
	case worker:
		s.settled[p], s.source, s.core[p] = e.AnswersGET(), e.Source, ofCore(e)
		if !s.settled[p] { // FastCGI may have GET
			s.verbs[p] = append(s.verbs[p], e.Verbs()...)
		}
		s.workers = append(s.workers, p)
		s.send(p, slices.Concat(s.files, slices.DeleteFunc(slices.Clone(s.workers), func(other string) bool { return s.core[other] == ofCore(e) })))
	case !e.AnswersGET():
		s.verbs[p] = append(s.verbs[p], e.Verbs()...)
	case e.NeedsWorker():
		s.settled[p] = true
		s.close(p)
	default:
		s.settled[p] = true
		if !sendsFiles(n, e) {
			s.close(p)
			return
		}
		s.files = append(s.files, p)
		if givesFiles(e) {
			s.own = append(s.own, p)
		}
	}
}

// ofASPNET tells whether a handler of paths without extension is one that every site with
// ASP.NET has, for its routes.
func ofASPNET(e iisconfig.Handler) bool {
	kind, _, _ := strings.Cut(e.Type, ",")
	return strings.EqualFold(strings.TrimSpace(kind), "System.Web.Handlers.TransferRequestHandler") ||
		strings.HasSuffix(strings.ToLower(e.ScriptProcessor), `\aspnet_isapi.dll`)
}

// send notes a pattern that is sent. What earlier patterns have of it is closed, which
// may be all.
func (s *scripts) send(pattern string, earlier []string) {
	s.kinds[pattern] = true
	for _, p := range earlier {
		if both := overlap(p, pattern); both != "" && p != pattern {
			s.kinds[both] = false
		}
	}
}

// overlap returns a pattern of the paths that fit an earlier pattern and a later one;
// empty if there are none.
func overlap(earlier, later string) string {
	switch {
	case strings.HasPrefix(later, "*") && strings.HasSuffix(earlier, later[1:]):
		return earlier
	case strings.HasPrefix(later, "*") && strings.HasSuffix(earlier, "*"):
		return earlier + later[1:]
	case strings.HasSuffix(later, "*") && strings.HasPrefix(earlier, later[:len(later)-1]):
		return earlier
	case strings.HasSuffix(later, "*") && strings.HasPrefix(earlier, "*"):
		return later + earlier[1:]
	case strings.HasSuffix(earlier, "*") && strings.HasPrefix(later, earlier[:len(earlier)-1]),
		strings.HasPrefix(earlier, "*") && strings.HasSuffix(later, earlier[1:]):
		return later
	}
	return ""
}

// takes tells whether a worker may have what a handler has of a pattern: one worker has all of it.
// A program of aspNetCore answers also for files that are not there, which the import cannot tell.
func (s *scripts) takes(pattern string, h iisconfig.Handler) bool {
	core, known := s.core[pattern]
	return (!known || core == ofCore(h)) && (!ofCore(h) || anyResource(h))
}

// noteVerbs notes whether workers have the verbs of the next handler of a pattern, behind those of
// handlers for all paths.
func (s *scripts) noteVerbs(pattern string, h iisconfig.Handler, runs bool) {
	if s.runs[pattern] == nil {
		s.runs[pattern] = new(verbs)
		if all := s.runs["*"]; all != nil {
			*s.runs[pattern] = verbs{run: slices.Clone(all.run), other: slices.Clone(all.other), rest: all.rest, settled: all.settled}
		}
	}
	s.runs[pattern].take(h.Verbs(), runs)
}

// toWorkers sends what FastCGI does not run to worker processes: to the program of aspNetCore what
// its handlers have, to that of the site the rest.
func (w *siteWriter) toWorkers(n *node, s scripts) (out []*Directive) {
	var patterns [2][]string // of the site, and of aspNetCore
	for _, p := range s.sent {
		if slices.ContainsFunc(s.fast, func(f fastScripts) bool { return f.pattern == p }) {
			continue
		}
		i := 0
		if s.core[p] {
			i = 1
		}
		patterns[i] = append(patterns[i], p)
	}
	for i, list := range patterns {
		if list == nil {
			continue
		}
		name, what, why := "@scripts", fmt.Sprintf("handlers at %s of site %d", n.path, w.site.ID), "handlers of the site"
		var settings []*Directive
		if i == 1 {
			name, why, settings = "@program", "handlers of ASP.NET Core", w.answerTimeout(n)
		}
		is := directive(name, "vars", iishttp.ScriptVar, "true")
		if patterns[1-i] != nil {
			is = block([]*Directive{directive(is.Words[1:]...), directive("path_regexp", pathsPattern(list))}, name)
		}
		kids := append(s.verbGuards(name, list), w.toWorker(n, i == 1, s.source, what, why, settings...)...)
		out = append(out, is, block([]*Directive{block(kids, "route")}, "handle", name))
	}
	return out
}

// verbGuards refuse the verbs that no worker has of patterns that are sent to one.
func (s *scripts) verbGuards(name string, patterns []string) (out []*Directive) {
	for i, p := range patterns {
		out = append(out, s.runs[p].guards(name+"_verbs"+strconv.Itoa(i+1), []*Directive{directive("path_regexp", pathsPattern([]string{p}))})...)
	}
	return out
}
