package iisconfig

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mbReader reads a property: the section of a later IIS that it has become, and what
// it does to inherited settings. Lists of IIS 6 replace inherited ones.
type mbReader func(rep *reporter, src Source, p mbProp) (section string, apply func(*Settings))

// mbProperties are the properties that the model holds, by name in lower case. adsutil shows
// bits of the flags as properties of their own.
var mbProperties = withBits(map[string]mbReader{
	"defaultdoc":        mbDefaultDoc,
	"enabledefaultdoc":  mbToggleDoc,
	"enabledirbrowsing": mbToggleBrowse,
	"dirbrowseflags":    mbDirBrowse,
	"httpredirect":      mbRedirect,
	"httperrors":        mbErrors,
	"httpcustomheaders": mbHeaders,
	"mimemap":           mbMIME,
	"scriptmaps":        mbScripts,
	"accessflags":       mbAccess,
	"accesssslflags":    mbSSL,
	"authflags":         mbAuth,

	"websvcextrestrictionlist": mbRestriction,
})

func withBits(readers map[string]mbReader) map[string]mbReader {
	for _, w := range mbAccessWords {
		readers["access"+strings.ToLower(w.word)] = mbAccessBit(w.word)
	}
	for _, n := range accessNames {
		readers["access"+strings.ToLower(n.name)] = mbSSLBit(n.flag)
	}
	for _, m := range mbAuthMethods {
		readers[m.flag] = mbAuthBit(m.method)
	}
	return readers
}

// mbKeys returns the properties of a node in the order in which they count: a bit says more
// than the flags that it is one of, which may be of before it was set.
func mbKeys(n *mbNode) []string {
	last := func(key string) int {
		if strings.HasSuffix(key, "flags") {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(n.props), func(a, b string) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(a, b))
	})
}

// mbProtects names what a property protects that is not understood, by its name: its section.
func mbProtects(key string) string {
	switch {
	case strings.HasPrefix(key, "auth"):
		return securityGroup + "/authentication"
	case strings.HasPrefix(key, "access"):
		return securityGroup + "/access"
	case key == "azenable": // URL authorization by a store of policies
		return securityGroup + "/authorization"
	}
	return ""
}

// mbSiteProperties are read with the site or the folder itself.
var mbSiteProperties = map[string]bool{
	"keytype": true, "servercomment": true, "serverautostart": true, "serverstate": true, "serverbindings": true,
	"securebindings": true, "sslcerthash": true, "sslstorename": true, "path": true, "approot": true,
	"apppoolid": true, "uncusername": true, "uncpassword": true, "appfriendlyname": true, "appisolated": true,
}

// mbNoEffect are beginnings of names that are about logs, caches, worker processes,
// accounts of the old server, or the tools of IIS.
var mbNoEffect = []string{
	"accessnophysicaldir", "adminacl", "adminserver", "allowkeepalive", "allowpathinfo", "anonymous", "app", "asp", "authadvnotify",
	"authchange", "authexpired", "authnotify", "authpersist", "cacheisapi", "passwordchange", "wamuser",
	"cachecontrol", "cachi", "canonicalize", "centralbinary", "certcheck", "cgi", "connectiontimeout",
	"contentindexed", "cpu", "createcgi", "createprocess", "custom", "defaultlogondomain", "demandstart",
	"description", "dirbrowse", "disablesocketpooling", "disallow", "dontlog", "downlevel", "etagchangenumber",
	"filter", "frontpage", "hc", "historymajor", "httppics", "idletimeout", "iis5isolation", "inprocessisapi",
	"isapi", "load", "log", "managed", "max", "md_", "minfilebytes", "netlogon", "notdeletable", "notify",
	"ntauthentication", "orphan", "passport", "periodicrestart", "ping", "pool", "processntcr", "rapidfail",
	"realm", "revocation", "server", "sethostname", "shutdown", "smp", "ssi", "sslctl", "sslusedsmapper",
	"startuptime", "unknownname", "uploadreadahead", "usehostname", "webdav", "webservice", "win32error",
}

func mbIgnored(key string) bool {
	if mbSiteProperties[key] {
		return true
	}
	for _, p := range mbNoEffect {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

const webServer = "system.webServer/"

func mbDefaultDoc(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var files []Value
	for f := range strings.SplitSeq(p.value, ",") {
		if f = strings.TrimSpace(f); f != "" {
			files = append(files, Value{Value: f, Source: src})
		}
	}
	return webServer + "defaultDocument", func(s *Settings) {
		replace(&s.DefaultDocument, DefaultDocument{Enabled: true}, func(d *DefaultDocument) { d.Files, d.Gone, d.Source = files, Gone{All: true}, src })
	}
}

func mbTrue(p mbProp) bool { return strings.EqualFold(p.value, "true") || p.value == "1" }

// adsutil shows the bits of DirBrowseFlags as properties of their own.
func mbToggleDoc(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	return webServer + "defaultDocument", func(s *Settings) {
		replace(&s.DefaultDocument, DefaultDocument{}, func(d *DefaultDocument) { d.Enabled, d.Source = mbTrue(p), src })
	}
}

func mbToggleBrowse(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	return webServer + "directoryBrowse", func(s *Settings) {
		replace(&s.DirectoryBrowse, DirectoryBrowse{}, func(d *DirectoryBrowse) { d.Enabled, d.Source = mbTrue(p), src })
	}
}

// mbFlags returns the words of a bit field as the XML has it, "A | B".
func mbFlags(value string) map[string]bool {
	out := make(map[string]bool)
	for w := range strings.SplitSeq(value, "|") {
		out[strings.ToLower(strings.TrimSpace(w))] = true
	}
	return out
}

// mbBit reports whether a bit field, in words or as a number, has a flag.
func mbBit(value, word string, bit uint64) bool {
	if n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 64); err == nil {
		return n&bit != 0
	}
	return mbFlags(value)[word]
}

func mbDirBrowse(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	browse, doc := mbBit(p.value, "enabledirbrowsing", 0x80000000), mbBit(p.value, "enabledefaultdoc", 0x40000000)
	return webServer + "directoryBrowse", func(s *Settings) {
		replace(&s.DirectoryBrowse, DirectoryBrowse{}, func(d *DirectoryBrowse) {
			d.Enabled, d.ShowFlags, d.Source = browse, p.value, src
		})
		replace(&s.DefaultDocument, DefaultDocument{Source: src}, func(d *DefaultDocument) { d.Enabled = doc })
	}
}

// mbRedirect reads "destination, FLAG, FLAG", or with patterns "*; wildcard; destination; ..., FLAG".
// What is not understood of patterns closes the place.
func mbRedirect(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	const section = webServer + "httpRedirect"
	words := strings.Split(p.value, ",")
	r, ok := mbDestination(strings.TrimSpace(words[0]), src)
	for _, word := range words[1:] {
		switch flag := strings.ToUpper(strings.TrimSpace(word)); flag {
		case "EXACT_DESTINATION":
			r.Exact = true
		case "CHILD_ONLY":
			r.ChildOnly = true
		case "PERMANENT":
			r.Status = 301
		case "TEMPORARY", "":
		default:
			ok = ok && !r.IIS6
			rep.warn(CodeUnknown, src, "", "HttpRedirect: %q is not understood", shorten(strings.TrimSpace(word)))
		}
	}
	return section, func(s *Settings) {
		s.HTTPRedirect = r
		if !ok {
			s.Unknown = append(slices.Clip(s.Unknown), UnknownPart{
				Section: section, What: "HttpRedirect with the value " + strconv.Quote(shorten(p.value)), Source: src, Fix: "write it with iis_redirect",
			})
		}
	}
}

// mbDestination reads a destination or pairs of a pattern and a destination.
func mbDestination(text string, src Source) (r *HTTPRedirect, ok bool) {
	parts := strings.Split(text, ";")
	if len(parts) == 1 || strings.TrimSpace(parts[0]) != "*" {
		return &HTTPRedirect{Status: 302, Destination: text, Enabled: text != "", Source: src}, true
	}
	r = &HTTPRedirect{Status: 302, Enabled: true, IIS6: true, Source: src}
	if parts = parts[1:]; strings.TrimSpace(parts[len(parts)-1]) == "" {
		parts = parts[:len(parts)-1]
	}
	ok = len(parts) > 0 && len(parts)%2 == 0
	for pair := range slices.Chunk(parts, 2) {
		w := WildcardRedirect{Wildcard: strings.TrimSpace(pair[0]), Destination: strings.TrimSpace(pair[len(pair)-1]), Source: src}
		ok = ok && w.Wildcard != "" && w.Destination != ""
		r.Wildcards = append(r.Wildcards, w)
	}
	return r, ok
}

var (
	reErrorItem   = regexp.MustCompile(`^\d{3},`)
	reMIMEItem    = regexp.MustCompile(`^[.*][^,]*,`)
	reScriptItem  = regexp.MustCompile(`^(?:\.[^,]*|\*),`)
	reProgramItem = regexp.MustCompile(`^\d,`)
	reHeaderItem  = regexp.MustCompile(`^[A-Za-z0-9_-]+:`)
)

// mbErrors reads items "404,*,URL,/missing.htm".
func mbErrors(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	h := &HTTPErrors{Source: src}
	modes := map[string]string{"FILE": "File", "URL": "ExecuteURL"}
	for _, item := range p.list(reErrorItem.MatchString) {
		parts := strings.SplitN(item.value, ",", 4)
		at := Source{File: src.File, Line: item.line, Scope: src.Scope}
		status, err := strconv.Atoi(parts[0])
		if len(parts) < 4 || err != nil || modes[strings.ToUpper(parts[2])] == "" {
			rep.warn(CodeUnknown, at, "", "HttpErrors: %q is not understood", shorten(item.value))
			continue
		}
		page := ErrorPage{Status: status, SubStatus: -1, Path: parts[3], Mode: modes[strings.ToUpper(parts[2])], Source: at}
		if n, err := strconv.Atoi(parts[1]); err == nil {
			page.SubStatus = n
		}
		h.Errors = append(h.Errors, page)
	}
	return webServer + "httpErrors", func(s *Settings) { s.HTTPErrors = h }
}

func mbHeaders(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var headers []Header
	for _, item := range p.list(reHeaderItem.MatchString) {
		name, value, ok := strings.Cut(item.value, ":")
		at := Source{File: src.File, Line: item.line, Scope: src.Scope}
		if !ok {
			rep.warn(CodeUnknown, at, "", "HttpCustomHeaders: %q is not understood", shorten(item.value))
			continue
		}
		headers = append(headers, Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value), Source: at})
	}
	return webServer + "httpProtocol", func(s *Settings) {
		replace(&s.HTTPProtocol, HTTPProtocol{}, func(h *HTTPProtocol) { h.CustomHeaders, h.Source = headers, src })
	}
}

func mbMIME(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var maps []MIMEMap
	for _, item := range p.list(reMIMEItem.MatchString) {
		ext, typ, ok := strings.Cut(item.value, ",")
		at := Source{File: src.File, Line: item.line, Scope: src.Scope}
		if !ok {
			rep.warn(CodeUnknown, at, "", "MimeMap: %q is not understood", shorten(item.value))
			continue
		}
		maps = append(maps, MIMEMap{Extension: ext, Type: typ, Source: at})
	}
	return webServer + "staticContent", func(s *Settings) {
		replace(&s.StaticContent, StaticContent{}, func(st *StaticContent) {
			// Entries of a site come on top of the server's.
			l := list[MIMEMap]{name: "MimeMap"}
			for _, m := range maps {
				key := strings.ToLower(m.Extension)
				l.ops = append(l.ops, listOp[MIMEMap]{op: opRemove, key: key}, listOp[MIMEMap]{op: opAdd, key: key, item: m, source: m.Source})
			}
			st.MIMEMaps = l.apply(s, st.MIMEMaps, func(m MIMEMap) string { return m.Extension })
			st.Source = src
		})
	}
}

// mbScripts reads items ".asp,C:\...\asp.dll,5,GET,HEAD,POST,TRACE".
func mbScripts(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var entries []Handler
	for _, item := range p.list(reScriptItem.MatchString) {
		parts := strings.SplitN(item.value, ",", 4)
		at := Source{File: src.File, Line: item.line, Scope: src.Scope}
		if len(parts) < 3 {
			rep.warn(CodeUnknown, at, "", "ScriptMaps: %q is not understood", shorten(item.value))
			continue
		}
		h := Handler{Name: parts[0], Path: "*" + parts[0], Verb: "*", ScriptProcessor: parts[1], Source: at}
		if parts[0] == "*" {
			h.Path = "*"
		}
		if len(parts) == 4 && parts[3] != "" {
			h.Verb = parts[3]
		}
		entries = append(entries, h)
	}
	return webServer + "handlers", func(s *Settings) {
		replace(&s.Handlers, Handlers{}, func(h *Handlers) {
			h.Entries, h.Source = slices.Concat(entries, h.programs()), src
		})
	}
}

// mbRestriction reads items "1,C:\WINDOWS\system32\inetsrv\asp.dll,0,ASP,Active Server Pages", and
// "0,*.dll" and "0,*.exe" for programs that are not listed.
func mbRestriction(rep *reporter, src Source, p mbProp) (string, func(*Settings)) {
	r := &Restriction{Source: src}
	for _, item := range p.list(reProgramItem.MatchString) {
		parts := strings.Split(item.value, ",")
		at := Source{File: src.File, Line: item.line, Scope: src.Scope}
		if len(parts) < 2 || parts[0] != "0" && parts[0] != "1" {
			rep.warn(CodeUnknown, at, "", "WebSvcExtRestrictionList: %q is not understood, and allows nothing", shorten(item.value))
		}
		if len(parts) < 2 {
			continue
		}
		switch allowed := parts[0] == "1"; strings.ToLower(parts[1]) {
		case "*.dll":
			r.OtherISAPI = allowed
		case "*.exe":
			r.OtherCGI = allowed
		default:
			r.Programs = append(r.Programs, Program{Path: parts[1], Allowed: allowed, Source: at})
		}
	}
	return restrictionSection, func(s *Settings) { s.Restriction = r }
}

// mbAccessWords are the words of AccessFlags, without "Access".
var mbAccessWords = []struct {
	word string
	bit  uint64
}{
	{"Read", 1},
	{"Write", 2},
	{"Execute", 4},
	{"Source", 16},
	{"Script", 512},
	{"NoRemoteWrite", 0x400},
	{"NoRemoteRead", 0x1000},
	{"NoRemoteExecute", 0x2000},
	{"NoRemoteScript", 0x4000},
}

func mbAccess(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var words []string
	for _, w := range mbAccessWords {
		if mbBit(p.value, "access"+strings.ToLower(w.word), w.bit) {
			words = append(words, w.word)
		}
	}
	policy := accessPolicy(words)
	return webServer + "handlers", func(s *Settings) {
		replace(&s.Handlers, Handlers{}, func(h *Handlers) { h.setAccess(policy, src) })
	}
}

// programPaths are what IIS 6 runs by itself in folders with AccessExecute ("Scripts and
// Executables"), behind what ScriptMaps has: it never sends these as files there.
var programPaths = []struct{ path, module string }{
	{"*.exe", "CgiModule"}, {"*.com", "CgiModule"}, {"*.dll", "IsapiModule"}, {"*.isa", "IsapiModule"},
}

const programName = "AccessExecute "

// programs are the entries for programs that are asked for by their own names.
func (h *Handlers) programs() (out []Handler) {
	for _, e := range h.Entries {
		if strings.HasPrefix(e.Name, programName) {
			out = append(out, e)
		}
	}
	return out
}

// setAccess sets the policy, and which programs are run by it.
func (h *Handlers) setAccess(policy string, src Source) {
	h.AccessPolicy, h.Source = policy, src
	h.Entries = slices.DeleteFunc(slices.Clone(h.Entries), func(e Handler) bool { return strings.HasPrefix(e.Name, programName) })
	if !slices.Contains(strings.Split(policy, ", "), "Execute") {
		return
	}
	for _, p := range programPaths {
		h.Entries = append(h.Entries, Handler{Name: programName + p.path, Path: p.path, Verb: "*", Modules: p.module, RequireAccess: "Execute", Source: src})
	}
}

func accessPolicy(words []string) string { return cmp.Or(strings.Join(words, ", "), "None") }

// mbAccessBit reads a bit of AccessFlags.
func mbAccessBit(word string) mbReader {
	return func(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
		on := mbTrue(p)
		if strings.HasPrefix(word, "No") {
			on = !isFalse(p.value)
		}
		return webServer + "handlers", func(s *Settings) {
			replace(&s.Handlers, Handlers{}, func(h *Handlers) {
				words := strings.Split(cmp.Or(h.AccessPolicy, "Read, Script"), ", ")
				words = slices.DeleteFunc(words, func(have string) bool { return have == word || have == "None" })
				if on {
					words = append(words, word)
				}
				h.setAccess(accessPolicy(words), src)
			})
		}
	}
}

// mbSSL reads AccessSSLFlags. What is not understood in them closes the place.
func mbSSL(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	const section = webServer + "security/access"
	flags, ok := parseAccessFlags(p.value, "|", "Access")
	return section, func(s *Settings) {
		s.Access = &Access{SSLFlags: flags, Source: src}
		if !ok {
			s.Unknown = append(slices.Clip(s.Unknown), UnknownPart{
				Section: section, What: "AccessSSLFlags with the value " + strconv.Quote(shorten(p.value)), Source: src, Fix: "mend the value and import again",
			})
		}
	}
}

// mbSSLBit reads a bit of AccessSSLFlags: what is not false asks for it.
func mbSSLBit(bit AccessFlags) mbReader {
	return func(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
		return webServer + "security/access", func(s *Settings) {
			replace(&s.Access, Access{}, func(a *Access) {
				a.SSLFlags &^= bit
				if !isFalse(p.value) {
					a.SSLFlags |= bit
				}
				a.Source = src
			})
		}
	}
}

// mbAuthMethods are the bits of AuthFlags.
var mbAuthMethods = []struct {
	flag, method string
	bit          uint64
}{{"authanonymous", "anonymous", 1}, {"authbasic", "basic", 2}, {"authntlm", "windows", 4}, {"authmd5", "digest", 16}, {"authpassport", "passport", 64}}

func mbAuth(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
	var auths []Authentication
	for _, m := range mbAuthMethods {
		auths = append(auths, Authentication{Method: m.method, Enabled: mbBit(p.value, m.flag, m.bit), Explicit: true, Source: src})
	}
	return authenticationGroup, func(s *Settings) { s.Authentication = auths }
}

// mbAuthBit reads a bit of AuthFlags.
func mbAuthBit(method string) mbReader {
	return func(_ *reporter, src Source, p mbProp) (string, func(*Settings)) {
		auth := Authentication{Method: method, Enabled: mbTrue(p), Explicit: true, Source: src}
		return authenticationGroup, func(s *Settings) { s.setAuthentication(auth, list[Value]{}) }
	}
}
