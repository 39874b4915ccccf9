package iisimport_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// part is an element of a configuration, or one of its attributes.
type part struct {
	path     []string // names of elements
	attr     string   // empty for the element
	value    string
	from, to int // in the text
}

func (p part) String() string { return strings.Join(p.path, "/") + " " + p.attr }

var reAttribute = regexp.MustCompile(`\s([\w:.-]+)\s*=\s*("[^"]*"|'[^']*')`)

// partsOf lists elements and attributes.
func partsOf(t *testing.T, text []byte) (parts []part) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	type open struct{ at, index int }
	var path []string
	var opened []open
	for {
		from := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			opened = append(opened, open{from, len(parts)})
			parts = append(parts, part{path: slices.Clone(path), from: from})
			for _, m := range reAttribute.FindAllSubmatchIndex(text[from:d.InputOffset()], -1) {
				parts = append(parts, part{
					path: slices.Clone(path), attr: string(text[from+m[2] : from+m[3]]), value: string(text[from+m[4]+1 : from+m[5]-1]),
					from: from + m[2], to: from + m[5],
				})
			}
		case xml.EndElement:
			last := opened[len(opened)-1]
			parts[last.index].to = int(d.InputOffset())
			path, opened = path[:len(path)-1], opened[:len(opened)-1]
		}
	}
}

// without replaces a part of a text; lines stay where they are.
func (p part) without(text []byte, by string) []byte {
	out := slices.Clone(text[:p.from])
	out = append(out, by...)
	out = append(out, bytes.Repeat([]byte("\n"), bytes.Count(text[p.from:p.to], []byte("\n")))...)
	return append(out, text[p.to:]...)
}

// otherwise are other values that the attribute may have.
func (p part) otherwise(seen map[string][]string) (values []string) {
	switch strings.ToLower(p.value) {
	case "true":
		return []string{"false"}
	case "false":
		return []string{"true"}
	}
	if n, err := strconv.Atoi(p.value); err == nil {
		values = append(values, strconv.Itoa(n+1), strconv.Itoa(max(n-1, 0)))
	}
	for _, v := range slices.Concat(map[string][]string{"sslFlags": {"Ssl"}, "accessPolicy": {"Read", "None"}}[p.attr], seen[p.attr]) {
		if v != p.value && len(values) < 8 {
			values = append(values, v)
		}
	}
	return append(values, p.value+"x", p.value+"|")
}

// counted is a configuration whose parts are counted.
type counted struct {
	read func(text []byte) *iisimport.Plan
	text []byte

	plain, report string
	refused       int
	lines         []iisimport.Line
}

func (c *counted) imported(text []byte) (plain, report string, refused int, lines []iisimport.Line) {
	plan := c.read(text)
	if plan == nil {
		return "", "", 1 << 30, nil
	}
	var sb strings.Builder
	for _, l := range plan.Report.Lines {
		if l.What == iisconfig.CodeBadValue || l.What == iisconfig.CodeUnknown {
			refused++
		}
		fmt.Fprintln(&sb, l)
	}
	return string(reComment.ReplaceAll(plan.Caddyfile(), nil)), sb.String(), refused, plan.Report.Lines
}

var reComment = regexp.MustCompile(`(?m)^\s*#.*\n`)

// means tells whether a part does something: without it, or with another value that IIS
// takes, the result or the report is another one.
func (c *counted) means(p part, seen map[string][]string) bool {
	changes := func(by string, removed bool) bool {
		plain, report, refused, _ := c.imported(p.without(c.text, by))
		return plain != c.plain && (removed || refused <= c.refused) || report != c.report && (removed || refused <= c.refused) && refused < 1<<30
	}
	if changes("", true) {
		return true
	}
	return p.attr != "" && slices.ContainsFunc(p.otherwise(seen), func(v string) bool { return changes(p.attr+`="`+v+`"`, false) })
}

// named tells whether a line of the report that says what was not taken over names a part: the
// attribute or the element itself, at its place, or, as a whole, an element that it is in. A line that only
// speaks about such an element says nothing of what else is in it.
func (c *counted) named(p, element part) bool {
	lineOf := func(at int) int { return 1 + bytes.Count(c.text[:at], []byte("\n")) }
	first, last := lineOf(element.from), lineOf(element.to)
	own := p.attr
	above := p.path[1:]
	if own == "" {
		own, above = p.path[len(p.path)-1], p.path[1:len(p.path)-1]
	}
	itself := word(own)
	return slices.ContainsFunc(c.lines, func(l iisimport.Line) bool {
		switch {
		case l.Outcome == iisimport.Translated:
			return false
		case l.What == iisconfig.CodeNoSite && p.path[1] == "location":
			return true // of a site that is not there
		case l.What == "what IIS brings along" || l.Source.Line >= first && l.Source.Line <= last:
			if itself.MatchString(l.What + " " + l.Message) {
				return true
			}
		}
		return slices.ContainsFunc(above, func(name string) bool { return wholly(l, name) })
	})
}

var words = make(map[string]*regexp.Regexp)

// word finds a name that is not a part of another one.
func word(name string) *regexp.Regexp {
	if words[name] == nil {
		words[name] = regexp.MustCompile(`(?:^|[^\w.])` + regexp.QuoteMeta(name) + `(?:[^\w]|$)`)
	}
	return words[name]
}

// wholly tells whether a line is about all that is in an element: it is closed, or nothing of
// the section or element counts.
func wholly(l iisimport.Line, name string) bool {
	text := l.What + " " + l.Message
	switch {
	case !word(name).MatchString(text):
		return false
	case l.Outcome == iisimport.Closed || l.Outcome == iisimport.Waiting:
		return true
	case l.What == "what IIS brings along":
		text = strings.ReplaceAll(text, "; ", "\nsection ") // each begins with a section, or an element and a colon
		text = strings.Replace(text, "with its lines: ", "\nsection ", 1)
	}
	key := "wholly " + name
	if words[key] == nil {
		words[key] = regexp.MustCompile(`(?m)\b(?:section|element) (?:[\w.]+/)*` + regexp.QuoteMeta(name) + `(?:[ ,]|$)`)
	}
	return words[key].MatchString(text)
}

// aboutBelow are attributes that say what configuration files below may have, and
// configSections are the sections that there can be: package iisconfig tests what becomes of
// files that do not keep to them.
var aboutBelow = []string{"lockItem", "lockAttributes", "lockElements", "lockAllAttributesExcept", "lockAllElementsExcept", "overrideMode", "allowOverride", "inheritInChildApplications"}

// counts tells whether a part is one to ask about: an element of which, and below which,
// nothing is said needs no answer.
func (p part) counts(all []part) bool {
	if p.attr != "" {
		return !slices.Contains(aboutBelow, p.attr) && !strings.HasPrefix(p.attr, "xmlns")
	}
	return slices.ContainsFunc(all, func(other part) bool { return other.attr != "" && p.from < other.from && other.to < p.to })
}

// unnamed lists parts that are neither executed nor named. Of parts with the same path and
// name one must count, if only one is asked for.
func (c *counted) unnamed(t *testing.T, parts []part, each bool, known map[string]bool, seen map[string][]string) (out []string, asked int) {
	t.Helper()
	c.plain, c.report, c.refused, c.lines = c.imported(c.text)
	left := make(map[string]int)
	for i, p := range slices.Backward(parts) { // attributes before their element
		key := p.String()
		if !each && known[key] || left[key] > 3 || len(p.path) < 2 || p.path[1] == "configSections" || !p.counts(parts) {
			continue
		}
		asked++
		ofElement := p.attr == "" && slices.ContainsFunc(parts[i+1:], func(other part) bool {
			return other.attr != "" && other.to < p.to && known[other.String()]
		})
		element := i
		for parts[element].attr != "" {
			element--
		}
		if ofElement || c.named(p, parts[element]) || c.means(p, seen) {
			known[key] = true
			delete(left, key)
			continue
		}
		left[key]++
	}
	for key := range left {
		if !known[key] || each {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out, asked
}

// TestEachPartCounts: each element and attribute of real configurations is executed, closes
// something, or is named by a line of the report.
func TestEachPartCounts(t *testing.T) {
	fixtures := needs.Fixtures(t)
	known, seen := make(map[string]bool), make(map[string][]string)
	total := 0
	var all [][]byte
	webs, err := filepath.Glob(filepath.Join(fixtures, "webconfig", "*.config"))
	if err != nil || len(webs) < 20 {
		t.Fatal(webs, err)
	}
	hosts, err := filepath.Glob(filepath.Join(fixtures, "applicationhost", "*.config"))
	if err != nil || len(hosts) < 10 {
		t.Fatal(hosts, err)
	}
	hosts = slices.DeleteFunc(hosts, func(name string) bool { return strings.Contains(name, "missing_closing") })
	for _, name := range slices.Concat(webs, hosts) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
		for _, p := range partsOf(t, text) {
			if p.attr != "" && !slices.Contains(seen[p.attr], p.value) && len(seen[p.attr]) < 8 {
				seen[p.attr] = append(seen[p.attr], p.value)
			}
		}
	}
	host := []byte(`<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost><system.webServer><proxy enabled="true" />` +
		`<httpProtocol><customHeaders><add name="X-Powered-By" value="ASP.NET" /></customHeaders></httpProtocol><staticContent><mimeMap fileExtension=".json" mimeType="text/json" /></staticContent></system.webServer></configuration>`)
	for i, text := range all {
		name := slices.Concat(webs, hosts)[i]
		c := &counted{text: text, read: func(text []byte) *iisimport.Plan {
			files := []iisconfig.File{{Name: "applicationHost.config", Data: text}}
			if i < len(webs) {
				files = []iisconfig.File{{Name: "export/applicationHost.config", Data: host}, {Name: "export/web/web.config", Data: text}}
			}
			server, err := iisconfig.Read(files, iisconfig.Options{})
			if err != nil {
				return nil
			}
			return iisimport.Import(server, iisimport.Options{})
		}}
		unnamed, asked := c.unnamed(t, partsOf(t, text), i < len(webs), known, seen)
		total += asked
		for _, what := range unnamed {
			t.Errorf("%s: %s: neither executed nor named", filepath.Base(name), what)
		}
	}
	t.Logf("%d parts asked, %d kinds", total, len(known))
}
