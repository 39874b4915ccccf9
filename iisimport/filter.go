package iisimport

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// What IIS with ASP.NET never sends, for sources that do not have the section of the
// server: the longer lists, so that nothing is opened that was closed.
var (
	defaultSegments   = []string{"web.config", "bin", "App_code", "App_GlobalResources", "App_LocalResources", "App_WebReferences", "App_Data", "App_Browsers"}
	defaultExtensions = strings.Fields(`.ad .adprototype .asa .asax .ascx .browser .cd .compiled .config .cs .csproj .dd .dsdgm .dsprototype
		.exclude .java .jsl .ldb .ldd .lddprototype .ldf .licx .lsad .lsaprototype .master .mdb .mdf .msgx .refresh .resources
		.resx .rules .sd .sdm .sdmDocument .sitemap .skin .ssdgm .ssmap .vb .vbproj .vjsproj .vsdisco .webinfo`)
)

// bar is why nobody gets anything at a node.
type bar struct {
	status         int
	src            iisconfig.Source
	what, fix, why string
}

// barred tells why IIS serves nothing at a node: its application is not there for HTTP, its
// pool was stopped, IIS answers 500.19, serverRuntime switches it off, or something may be
// protected that nobody here understands. Nil if none of them is so.
func (w *siteWriter) barred(n *node) *bar {
	app, pool, runtime := w.application(n.path), w.b.stoppedPool(n.pool), n.settings.ServerRuntime
	switch {
	case app != nil && app.NoHTTP: // HTTP.sys knows no such URL, as of a site that is stopped
		return &bar{
			404, app.Source, "enabledProtocols " + app.EnabledProtocols, "add http to enabledProtocols if it is to be served, and import again",
			fmt.Sprintf("http is not among them: IIS does not serve the application %s of site %d by HTTP", app.Path, w.site.ID),
		}
	case pool != nil && !w.offline:
		return &bar{
			503, pool.Source, "application pool " + pool.Name, "start it, and import again",
			fmt.Sprintf("it was stopped, and the application %s of site %d is in it", w.appOf(n), w.site.ID),
		}
	case n.settings.Faults != nil:
		f := n.settings.Faults[0]
		return &bar{500, f.Source, f.Section, "mend the file and import again", "IIS answers 500.19 here: " + f.Message}
	case runtime != nil && !runtime.Enabled:
		// Microsoft's page on serverRuntime says that IIS does not serve content for such a URL, and
		// neither it nor the list of status codes (KB 943891) says which status a client gets: 503
		// is chosen here, as for an application that was stopped.
		return &bar{503, runtime.Source, "serverRuntime enabled=false", "switch it on if the place is to be served, and import again", "IIS serves nothing here"}
	case n.settings.Unknown != nil:
		u := n.settings.Unknown[0]
		return &bar{403, u.Source, u.Section, cmp.Or(u.Fix, "write what it does in its place"), u.What + " is not understood"}
	}
	return nil
}

// refused closes a node at which nobody gets anything.
func (w *siteWriter) refused(n *node) []*Directive {
	if b := w.barred(n); b != nil {
		return []*Directive{w.closed(b.status, b.src, b.what, b.fix, b.why)}
	}
	return nil
}

// refusedAgain closes such a node also for requests that rules lead into it.
func (w *siteWriter) refusedAgain(n *node) []*Directive {
	if b := w.barred(n); b != nil {
		return []*Directive{directive("error", "*", strconv.Itoa(b.status)).because("Closed: see above.")}
	}
	return nil
}

// filter is request filtering.
func (w *siteWriter) filter(n *node) []*Directive {
	if closed := w.refused(n); closed != nil {
		return closed
	}
	w.runtimeLimits(n)
	f := n.settings.RequestFiltering
	unknown := w.b.serverSource("requestFiltering").File == ""
	if f == nil {
		return []*Directive{block([]*Directive{
			directive(append([]string{"hidden_segments"}, defaultSegments...)...),
			directive(append([]string{"file_extensions", "deny"}, defaultExtensions...)...),
		}, "iis_filter").because(unknownLists)}
	}
	if f.URLScan || unknown {
		f = withDefaultLists(*f)
	}
	t := &filterWriter{}
	t.switches(f)
	t.lists(f)
	for _, r := range f.Rules {
		t.rule(r)
	}
	if t.wrong != "" {
		return []*Directive{w.closed(404, t.source, "requestFiltering", "write it with iis_filter", t.wrong)}
	}
	w.report().translated(f.Source, "requestFiltering", "iis_filter")
	out := w.acceptedOr(block(t.kids, "iis_filter"), 404, f.Source)
	if unknown && !f.URLScan {
		out.because(unknownLists)
	}
	return []*Directive{out}
}

// runtimeLimits names those of serverRuntime, which have no form here.
func (w *siteWriter) runtimeLimits(n *node) {
	r := n.settings.ServerRuntime
	if r == nil {
		return
	}
	if r.MaxRequestEntity != math.MaxUint32 {
		w.report().decide(r.Source, fmt.Sprintf("serverRuntime maxRequestEntityAllowed %d", r.MaxRequestEntity), "write request_body with max_size",
			"bodies that are larger, and not too large for iis_filter, are let through")
	}
	if r.MaxConcurrent != 5000 {
		w.report().decide(r.Source, fmt.Sprintf("serverRuntime appConcurrentRequestLimit %d", r.MaxConcurrent), "limit the requests at the application itself",
			"nothing here limits the requests that an application has at a time")
	}
}

const unknownLists = "The lists of the server are not known: those of IIS with ASP.NET."

// withDefaultLists adds the lists that stand for those of the server, but for what the levels
// below take out or allow; also where UrlScan has its own.
func withDefaultLists(f iisconfig.RequestFiltering) *iisconfig.RequestFiltering {
	f.HiddenSegments = withShipped(f.HiddenSegments, defaultSegments, f.SegmentsGone, nil)
	if f.UnlistedExtensions {
		f.DeniedExtensions = withShipped(f.DeniedExtensions, defaultExtensions, f.ExtensionsGone, f.AllowedExtensions)
	}
	return &f
}

// withShipped adds what every server has to a list of the levels below.
func withShipped(list []iisconfig.Value, shipped []string, gone iisconfig.Gone, but []iisconfig.Value) []iisconfig.Value {
	list = slices.Clip(list)
	for _, word := range shipped {
		is := func(v iisconfig.Value) bool { return strings.EqualFold(v.Value, word) }
		if !gone.Has(word) && !slices.ContainsFunc(list, is) && !slices.ContainsFunc(but, is) {
			list = append(list, iisconfig.Value{Value: word})
		}
	}
	return list
}

// filterWriter writes an iis_filter.
type filterWriter struct {
	kids   []*Directive
	wrong  string // what has no form
	source iisconfig.Source
}

func (t *filterWriter) add(words ...string) { t.kids = append(t.kids, directive(words...)) }

func (t *filterWriter) switches(f *iisconfig.RequestFiltering) {
	for _, s := range []struct {
		set  bool
		word string
	}{{f.DoubleEscaping, "allow_double_escaping"}, {!f.HighBit, "deny_high_bit_characters"}, {f.DenySeveralDots, "deny_several_dots"}, {!f.UnescapeQueryString, "keep_query_string_escaped"}} {
		if s.set {
			t.add(s.word)
		}
	}
	for _, s := range []struct {
		value, initial uint64
		word           string
	}{{f.MaxContentLength, 30_000_000, "max_content_length"}, {uint64(f.MaxURL), 4096, "max_url"}, {uint64(f.MaxQueryString), 2048, "max_query_string"}} {
		if s.value != s.initial {
			t.add(s.word, strconv.FormatUint(s.value, 10))
		}
	}
	for _, h := range f.HeaderLimits {
		if !reHeaderName.MatchString(h.Header) {
			t.no(h.Source, "the header limit of "+h.Header+" is of no header")
			continue
		}
		t.add("header_limit", h.Header, strconv.FormatUint(uint64(h.Size), 10))
	}
}

// no notes what has no form, so that the place is closed.
func (t *filterWriter) no(src iisconfig.Source, why string) {
	if t.wrong == "" {
		t.wrong, t.source = why, src
	}
}

// words writes a list; entries without a value say nothing.
func (t *filterWriter) words(values []iisconfig.Value, words ...string) {
	have := len(words)
	for _, v := range values {
		switch {
		case v.Value == "":
		case !expressible(v.Value):
			t.no(v.Source, fmt.Sprintf("%s %q has no form in a Caddyfile", words[0], v.Value))
		default:
			words = append(words, v.Value)
		}
	}
	if len(words) > have {
		t.add(words...)
	}
}

func (t *filterWriter) lists(f *iisconfig.RequestFiltering) {
	segments := f.HiddenSegments
	if !slices.ContainsFunc(segments, func(v iisconfig.Value) bool { return strings.EqualFold(v.Value, "web.config") }) {
		segments = append([]iisconfig.Value{{Value: "web.config"}}, segments...)
	}
	t.words(segments, "hidden_segments")
	t.words(f.AllowedVerbs, "verbs", "allow")
	t.words(f.DeniedVerbs, "verbs", "deny")
	if !f.UnlistedVerbs {
		t.add("unlisted_verbs", "deny")
	}
	t.words(f.AllowedExtensions, "file_extensions", "allow")
	t.words(f.DeniedExtensions, "file_extensions", "deny")
	if !f.UnlistedExtensions {
		t.add("unlisted_file_extensions", "deny")
	}
	t.words(f.DeniedURLSequences, "deny_url_sequences")
	t.words(f.AlwaysAllowedURLs, "always_allowed_urls")
	t.words(f.DeniedQuerySequences, "deny_query_string_sequences")
	t.words(f.AlwaysAllowedQueries, "always_allowed_query_strings")
}

// rule writes an entry of filteringRules.
func (t *filterWriter) rule(r iisconfig.FilteringRule) {
	sub := &filterWriter{}
	for _, s := range []struct {
		set  bool
		word string
	}{{r.ScanURL, "scan_url"}, {r.ScanQueryString, "scan_query_string"}, {r.ScanAllRaw, "scan_all_raw"}, {!r.DenyUnescapedPercent, "allow_unescaped_percent"}} {
		if s.set {
			sub.add(s.word)
		}
	}
	sub.words(r.ScanHeaders, "scan_headers")
	sub.words(r.AppliesTo, "applies_to")
	sub.words(r.DenyStrings, "deny_strings")
	if sub.wrong != "" {
		t.no(sub.source, sub.wrong)
		return
	}
	t.kids = append(t.kids, block(sub.kids, "rule", ruleName(r.Name)))
}
