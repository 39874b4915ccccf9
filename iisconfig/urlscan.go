package iisconfig

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
)

const (
	urlScanDLL       = `\urlscan.dll`
	filteringSection = webServer + "security/requestFiltering"
)

// urlScan is a urlscan.ini, which the ISAPI filter UrlScan of IIS 6 reads: request
// filtering is made of it.
type urlScan struct {
	file     string
	sections map[string][]Value // their lines, by the name in lower case
	used     bool
	unclear  *UnknownPart // the first line that is not understood
}

// readURLScan reads the lines of the sections. What is behind a semicolon is a comment.
func readURLScan(file string, text []byte) *urlScan {
	u := &urlScan{file: file, sections: make(map[string][]Value)}
	section := ""
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, ";")
		switch line = strings.TrimSpace(line); {
		case line == "":
		case line[0] == '[' && !strings.HasSuffix(line, "]"):
			section = "" // nobody knows what UrlScan makes of the lines behind
			u.bad(line, Source{File: file, Line: i + 1})
		case line[0] == '[':
			section = strings.ToLower(strings.TrimSpace(line[1 : len(line)-1]))
		default:
			u.sections[section] = append(u.sections[section], Value{Value: line, Source: Source{File: file, Line: i + 1}})
		}
	}
	return u
}

// option returns the value of Name=Value in a section; the first one counts.
func (u *urlScan) option(section, name string) (value Value, ok bool) {
	for _, line := range u.sections[strings.ToLower(section)] {
		if n, v, _ := strings.Cut(line.Value, "="); strings.EqualFold(strings.TrimSpace(n), name) {
			return Value{Value: strings.TrimSpace(v), Source: line.Source}, true
		}
	}
	return Value{}, false
}

// isSet reads a switch. One that is not there has the default of UrlScan: where Microsoft's
// UrlScan 3 Reference (learn.microsoft.com/iis/extensions/working-with-urlscan) and the comments
// of the urlscan.ini that comes with it (UseAllowExtensions, AllowHighBitCharacters,
// AllowDotInPath, RemoveServerHeader: 1 there, and 0 here) contradict each other, the one that
// refuses more.
func (u *urlScan) isSet(section, name string, initial bool) bool {
	value, ok := u.option(section, name)
	if !ok {
		return initial
	}
	n, err := strconv.Atoi(value.Value)
	if err != nil {
		u.bad(name+"="+value.Value, value.Source)
	}
	return n != 0
}

func (u *urlScan) list(section, name string) (values []Value) {
	all, _ := u.option(section, name)
	for word := range strings.SplitSeq(all.Value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			values = append(values, Value{Value: word, Source: all.Source})
		}
	}
	return values
}

// urlScanHeader is the name of a header, which UrlScan writes with its colon.
func urlScanHeader(name string) string { return strings.TrimSpace(strings.TrimSuffix(name, ":")) }

// headers are those that a rule looks into.
func (u *urlScan) headers(rule string) (values []Value) {
	for _, v := range u.list(rule, "ScanHeaders") {
		values = append(values, Value{Value: urlScanHeader(v.Value), Source: v.Source})
	}
	return values
}

// texts are the lines of a section that are searched for: those with escapes mean what is
// escaped, too, since a semicolon has no other form there.
func (u *urlScan) texts(section string) (values []Value) {
	for _, line := range u.sections[strings.ToLower(section)] {
		values = append(values, line)
		if plain, err := url.PathUnescape(line.Value); err == nil && plain != line.Value {
			values = append(values, Value{Value: plain, Source: line.Source})
		}
	}
	return values
}

// logsOnly tells whether UrlScan refuses nothing.
func (u *urlScan) logsOnly() bool {
	reject, _ := u.option("options", "RejectResponseUrl")
	return reject.Value == "/~*" || u.isSet("options", "LoggingOnlyMode", false)
}

// filtering returns what UrlScan does, in the words of IIS 7. The error is a part of the file
// that is not understood.
func (u *urlScan) filtering(rep *reporter) (*RequestFiltering, *UnknownPart) {
	on := func(name string, initial bool) bool { return u.isSet("options", name, initial) }
	f := &RequestFiltering{
		URLScan:        true,
		DoubleEscaping: !on("VerifyNormalization", true), HighBit: on("AllowHighBitCharacters", false), DenySeveralDots: !on("AllowDotInPath", false),
		UnescapeQueryString: on("UnescapeQueryString", true), RemoveServerHeader: on("RemoveServerHeader", true),
		UnlistedExtensions: !on("UseAllowExtensions", true), UnlistedVerbs: !on("UseAllowVerbs", true),
		DeniedURLSequences: u.texts("DenyUrlSequences"), AlwaysAllowedURLs: u.sections["alwaysallowedurls"],
		DeniedQuerySequences: u.texts("DenyQueryStringSequences"), AlwaysAllowedQueries: u.sections["alwaysallowedquerystrings"],
		MaxContentLength: defaultContentLength, MaxURL: 260, MaxQueryString: defaultMaxQuery, // the reference has 4096 for the last, the file that comes with UrlScan 2048
		Source: Source{File: u.file, Line: 1},
	}
	if f.UnlistedVerbs {
		for _, v := range u.words("denyverbs") { // in any case
			for _, verb := range []string{v.Value, strings.ToUpper(v.Value), strings.ToLower(v.Value)} {
				f.DeniedVerbs = addValue(f.DeniedVerbs, Value{Value: verb, Source: v.Source})
			}
		}
	} else {
		f.AllowedVerbs = u.words("allowverbs")
	}
	if f.UnlistedExtensions {
		f.DeniedExtensions = u.words("denyextensions")
	} else {
		f.AllowedExtensions = u.words("allowextensions")
	}
	for _, h := range u.words("denyheaders") {
		f.HeaderLimits = append(f.HeaderLimits, HeaderLimit{Header: urlScanHeader(h.Value), Source: h.Source})
	}
	if raw, ok := u.option("options", "NormalizeUrlBeforeScan"); ok && raw.Value == "0" {
		rep.warn(CodeUnsupported, raw.Source, "look whether the lists mean escapes", "NormalizeUrlBeforeScan=0: UrlScan looks at URLs as they are sent, iis_filter also at what they mean")
	}
	if name, _ := u.option("options", "AlternateServerName"); name.Value != "" && !f.RemoveServerHeader {
		rep.warn(CodeUnsupported, name.Source, "write header Server into the site", "AlternateServerName: the header Server is not set to %s", shorten(name.Value))
	}
	u.limits(f)
	u.rules(f)
	if u.unclear != nil {
		return nil, u.unclear
	}
	for _, v := range f.DeniedURLSequences {
		if v.Value == "%" {
			rep.warn(CodeUnsupported, v.Source, "take % out of the list in the copy of the file if names of files need escapes, as blanks do", "the sequence %% is searched in URLs as they are sent, too: all with escapes are refused")
		}
	}
	return f, nil
}

func addValue(list []Value, v Value) []Value {
	for _, have := range list {
		if have.Value == v.Value {
			return list
		}
	}
	return append(list, v)
}

// bad notes a line that is not understood.
func (u *urlScan) bad(what string, src Source) {
	if u.unclear == nil {
		u.unclear = &UnknownPart{Section: filteringSection, What: "in urlscan.ini, " + shorten(what), Source: src, Fix: "mend the file and import again"}
	}
}

// words are the lines of a section of which each is one word: text behind it, such as a comment
// without a semicolon, would be a part of a word that nothing fits.
func (u *urlScan) words(section string) []Value {
	for _, line := range u.sections[section] {
		if strings.ContainsAny(line.Value, " \t#,") {
			u.bad(line.Value, line.Source)
		}
	}
	return u.sections[section]
}

func (u *urlScan) limits(f *RequestFiltering) {
	for _, line := range u.sections["requestlimits"] {
		name, value, _ := strings.Cut(line.Value, "=")
		name = strings.TrimSpace(name)
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
		if err != nil {
			u.bad(line.Value, line.Source)
			continue
		}
		header, isHeader := cutPrefixFold(name, "Max-")
		switch {
		case isHeader:
			f.HeaderLimits = append(f.HeaderLimits, HeaderLimit{Header: header, Size: uint32(n), Source: line.Source})
		case strings.EqualFold(name, "MaxAllowedContentLength"):
			f.MaxContentLength = n
		case strings.EqualFold(name, "MaxUrl"):
			f.MaxURL = uint32(n)
		case strings.EqualFold(name, "MaxQueryString"):
			f.MaxQueryString = uint32(n)
		default:
			u.bad(line.Value, line.Source)
		}
	}
}

// rules reads those of UrlScan 3, each of which names a section with texts.
func (u *urlScan) rules(f *RequestFiltering) {
	for _, name := range u.list("options", "RuleList") {
		data, ok := u.option(name.Value, "DenyDataSection")
		if _, there := u.sections[strings.ToLower(data.Value)]; !ok || !there {
			u.bad("the rule "+name.Value+" without its texts", name.Source)
		}
		f.Rules = append(f.Rules, FilteringRule{
			Name:    name.Value,
			ScanURL: u.isSet(name.Value, "ScanURL", false), ScanAllRaw: u.isSet(name.Value, "ScanAllRaw", false),
			ScanQueryString: u.isSet(name.Value, "ScanQueryString", false), DenyUnescapedPercent: u.isSet(name.Value, "DenyUnescapedPercent", true),
			ScanHeaders: u.headers(name.Value), AppliesTo: u.list(name.Value, "AppliesTo"), DenyStrings: u.texts(data.Value),
			Source: name.Source,
		})
	}
}

// urlScanFilter puts what the file of UrlScan says in place of the filter. Without that file,
// nobody knows what it refuses.
func (c *converter) urlScanFilter(n *mbNode, site *Site, dll string) {
	u := c.b.urlScan
	if u == nil {
		part := unknownFilter(dll, n.source)
		part.Fix = `import urlscan.ini with the other files, from the folder of urlscan.dll; or take the filter out of the copy of the file, and write iis_filter`
		c.close(site, "/", part)
		return
	}
	u.used = true
	if u.logsOnly() {
		c.b.rep.info(CodeIgnored, n.source, "UrlScan only logs: it refuses nothing")
		return
	}
	f, unknown := u.filtering(c.b.rep)
	if unknown != nil {
		c.close(site, "/", *unknown)
		return
	}
	l := &layer{changes: []change{{section: Section{Name: filteringSection, Source: f.Source}, apply: func(s *Settings) { s.RequestFiltering = f }}}}
	c.b.placed = append(c.b.placed, placement{owner: site, path: "/", layer: l, source: f.Source})
}

// readURLScan keeps the file until a filter is found that reads it.
func (b *builder) readURLScan(name string, text []byte) {
	if b.urlScan != nil {
		b.rep.warn(CodeConflict, Source{File: name, Line: 1}, "import the one that the server has", "a second urlscan.ini: that of %s counts", b.urlScan.file)
	}
	b.urlScan = cmp.Or(b.urlScan, readURLScan(name, text))
}

// unusedURLScan tells of a file that no filter reads.
func (b *builder) unusedURLScan() {
	if u := b.urlScan; u != nil && !u.used {
		b.rep.warn(CodeIgnored, Source{File: u.file, Line: 1}, "import the file that names the filter, too: all of MetaBase.xml", "no file says that the ISAPI filter UrlScan is there: it is not used")
	}
}
