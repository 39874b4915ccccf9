package iisimport_test

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite/rewritetest"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

const ownSamples = "testdata/samples"

var samplesFlag = flag.String("samples", ownSamples, "the folder with samples of rules for TestSamples, such as Microsoft's iis-docs")

var (
	reNoElement = regexp.MustCompile(`(?s)<!--.*?-->|<\?xml.*?\?>`)
	reRule      = regexp.MustCompile(`(?s)<rule\b[^>]*\bname=.*?</rule>`)
	reAllowed   = regexp.MustCompile(`(?s)<allowedServerVariables>.*</allowedServerVariables>`)
	reFirst     = regexp.MustCompile(`<([A-Za-z.]+)`)
)

// sampleRule is a rule as its XML has it, which the reference reads by itself.
type sampleRule struct {
	Name    string `xml:"name,attr"`
	Enabled string `xml:"enabled,attr"`
	Syntax  string `xml:"patternSyntax,attr"`
	Stop    string `xml:"stopProcessing,attr"`
	Pre     string `xml:"preCondition,attr"`
	Match   struct {
		URL      string `xml:"url,attr"`
		Variable string `xml:"serverVariable,attr"`
		samplePattern
	} `xml:"match"`
	Conditions sampleConditions `xml:"conditions"`
	Set        []struct {
		Name    string `xml:"name,attr"`
		Value   string `xml:"value,attr"`
		Replace string `xml:"replace,attr"`
	} `xml:"serverVariables>set"`
	Action struct {
		Type     string `xml:"type,attr"`
		URL      string `xml:"url,attr"`
		Append   string `xml:"appendQueryString,attr"`
		Redirect string `xml:"redirectType,attr"`
		Status   int    `xml:"statusCode,attr"`
		Sub      int    `xml:"subStatusCode,attr"`
		Reason   string `xml:"statusReason,attr"`
		Text     string `xml:"statusDescription,attr"`
		Value    string `xml:"value,attr"`
		Replace  string `xml:"replace,attr"`
	} `xml:"action"`
}

type samplePattern struct {
	Pattern    string `xml:"pattern,attr"`
	IgnoreCase string `xml:"ignoreCase,attr"`
	Negate     string `xml:"negate,attr"`
}

func (p samplePattern) as(text string) rewrite.Pattern {
	return rewrite.Pattern{Pattern: text, CaseSensitive: p.IgnoreCase == "false", Not: p.Negate == "true"}
}

type sampleConditions struct {
	Grouping string `xml:"logicalGrouping,attr"`
	Track    string `xml:"trackAllCaptures,attr"`
	Add      []struct {
		Input     string `xml:"input,attr"`
		MatchType string `xml:"matchType,attr"`
		samplePattern
	} `xml:"add"`
}

func (c sampleConditions) list() (out []rewrite.Condition) {
	for _, a := range c.Add {
		out = append(out, rewrite.Condition{
			Input: upperVariables(a.Input), Pattern: a.as(a.Pattern),
			Is: map[string]string{"isfile": "file", "isdirectory": "directory"}[strings.ToLower(a.MatchType)],
		})
	}
	return out
}

func upperVariables(text string) string {
	return regexp.MustCompile(`\{[A-Za-z]\w*\}`).ReplaceAllStringFunc(text, strings.ToUpper)
}

type sampleMap struct {
	Name    string `xml:"name,attr"`
	Default string `xml:"defaultValue,attr"`
	Add     []struct {
		Key   string `xml:"key,attr"`
		Value string `xml:"value,attr"`
	} `xml:"add"`
}

type samplePre struct {
	Name   string `xml:"name,attr"`
	Syntax string `xml:"patternSyntax,attr"`
	sampleConditions
}

// sample is one rule with what stands around it.
type sample struct {
	text     string // of the whole section, with no other rule
	global   bool
	rule     sampleRule
	maps     []sampleMap
	pre      []samplePre
	outbound bool
}

// wrap makes a whole section of rules of what a page of documentation shows.
func wrap(text string) string {
	above := map[string][]string{"rewrite": {}, "rules": {"rewrite"}, "outboundRules": {"rewrite"}, "globalRules": {"rewrite"}}
	first := reFirst.FindStringSubmatch(text)
	if first == nil {
		return ""
	}
	parents, ok := above[first[1]]
	switch {
	case first[1] == "rule" && strings.Contains(text, "serverVariable="):
		parents = []string{"outboundRules", "rewrite"}
	case first[1] == "rule":
		parents = []string{"rules", "rewrite"}
	case !ok: // configuration, system.webServer
		_, text, _ = cutBefore(text, "<rewrite>")
		text, _, _ = strings.Cut(text, "</rewrite>")
		return text + "</rewrite>"
	}
	for _, name := range parents {
		text = "<" + name + ">" + text + "</" + name + ">"
	}
	return text
}

// readSamples takes the rules of a file apart. Those that are no XML come back as they are.
func readSamples(data string) (samples []sample, broken []string) {
	text := wrap(reNoElement.ReplaceAllString(data, ""))
	for _, at := range reRule.FindAllStringIndex(text, -1) {
		var sb strings.Builder
		last := 0
		for _, other := range reRule.FindAllStringIndex(text, -1) {
			if other[0] != at[0] {
				sb.WriteString(text[last:other[0]])
				last = other[1]
			}
		}
		s := sample{text: sb.String() + text[last:]}
		var doc struct {
			Rules    []sampleRule `xml:"rules>rule"`
			Global   []sampleRule `xml:"globalRules>rule"`
			Outbound []sampleRule `xml:"outboundRules>rule"`
			Loose    []sampleRule `xml:"rule"`
			Maps     []sampleMap  `xml:"rewriteMaps>rewriteMap"`
			Pre      []samplePre  `xml:"outboundRules>preConditions>preCondition"`
		}
		if xml.Unmarshal([]byte(s.text), new(struct{})) != nil { // perhaps only what stands around it
			s.text = wrap(text[at[0]:at[1]])
		}
		if err := xml.Unmarshal([]byte(s.text), &doc); err != nil {
			broken = append(broken, text[at[0]:at[1]])
			continue
		}
		if doc.Loose != nil { // a page leaves the element around the rule out
			s.text = strings.Replace(strings.Replace(s.text, "<rewrite>", "<rewrite><rules>", 1), "</rewrite>", "</rules></rewrite>", 1)
		}
		s.rule = slices.Concat(doc.Rules, doc.Global, doc.Outbound, doc.Loose)[0]
		s.global, s.outbound = doc.Global != nil, doc.Outbound != nil
		s.maps, s.pre = doc.Maps, doc.Pre
		samples = append(samples, s)
	}
	return samples, broken
}

// reference is the rule for the reference, all on its own. It leads to servers that it names.
func (s *sample) reference() rewrite.Config {
	r := s.rule
	c := rewrite.Config{Global: s.global}
	for _, m := range s.maps {
		entries := make(map[string]string)
		for _, a := range m.Add {
			entries[a.Key] = a.Value
		}
		c.Maps = append(c.Maps, rewrite.Map{Name: m.Name, Default: m.Default, Entries: entries})
	}
	if origin := regexp.MustCompile(`^https?://[^/{]+`).FindString(r.Action.URL); origin != "" && r.Action.Type == "Rewrite" {
		c.Proxy = []string{origin}
	}
	if s.outbound {
		for _, p := range s.pre {
			c.PreConditions = append(c.PreConditions, rewrite.PreCondition{
				Name: p.Name, Syntax: ecma.Syntax(p.Syntax), AnyCondition: p.Grouping == "MatchAny", Conditions: p.list(),
			})
		}
		c.Outbound = []rewrite.OutboundRule{{
			Name: r.Name, PreCondition: r.Pre, Syntax: ecma.Syntax(r.Syntax), Variable: strings.ToUpper(r.Match.Variable), Match: r.Match.as(r.Match.Pattern),
			AnyCondition: r.Conditions.Grouping == "MatchAny", TrackAllCaptures: r.Conditions.Track != "false", Conditions: r.Conditions.list(),
			Action: strings.ToLower(r.Action.Type), Value: upperVariables(r.Action.Value), Keep: r.Action.Replace == "false", Stop: r.Stop == "true",
		}}
		return c
	}
	out := rewrite.Rule{
		Name: r.Name, Syntax: ecma.Syntax(r.Syntax), Match: r.Match.as(r.Match.URL), Stop: r.Stop == "true",
		AnyCondition: r.Conditions.Grouping == "MatchAny", TrackAllCaptures: r.Conditions.Track == "true", Conditions: r.Conditions.list(),
		Action: rewrite.Action{
			Type: strings.ToLower(r.Action.Type), URL: upperVariables(r.Action.URL), DropQueryString: r.Action.Append == "false",
			Status: r.Action.Status, SubStatus: r.Action.Sub, Reason: r.Action.Reason, Description: r.Action.Text,
		},
	}
	switch r.Action.Type {
	case "Redirect":
		out.Action.Status = map[string]int{"": 301, "Permanent": 301, "Found": 302, "SeeOther": 303, "Temporary": 307}[r.Action.Redirect]
	case "CustomResponse":
		out.Action.Type = "respond"
	case "AbortRequest":
		out.Action.Type = "abort"
	}
	for _, v := range r.Set {
		out.Set = append(out.Set, rewrite.Variable{Name: v.Name, Value: upperVariables(v.Value), Keep: v.Replace == "false"})
	}
	for _, name := range regexp.MustCompile(`name="([^"]*)"`).FindAllStringSubmatch(reAllowed.FindString(s.text), -1) {
		c.AllowVariables = append(c.AllowVariables, name[1])
	}
	c.Rules = []rewrite.Rule{out}
	return c
}

// importSample imports a section of rules, and returns the rules that were written and the report.
func importSample(t *testing.T, text string, global bool) (rewrite.Config, *iisimport.Report) {
	t.Helper()
	host := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost><system.webServer><proxy enabled="true" />`
	web := `<configuration><system.webServer>`
	if allowed := reAllowed.FindString(text); allowed != "" { // only the server may say that
		host, text = host+"<rewrite>"+allowed+"</rewrite>", strings.Replace(text, allowed, "", 1)
	}
	if global {
		host, text = host+text, ""
	}
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "export/a/web.config", Data: []byte(web + text + `</system.webServer></configuration>`)},
		{Name: "export/applicationHost.config", Data: []byte(host + `</system.webServer></configuration>`)},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\a`, To: t.TempDir()}}})
	var root any
	if err := json.Unmarshal(adapt(t, plan.Caddyfile()), &root); err != nil {
		t.Fatal(err)
	}
	var c rewrite.Config
	raw, err := json.Marshal(findHandler(root, "iis_rewrite"))
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, plan.Report
}

// TestSamples takes rules as documentation shows them: each is executed as the reference
// executes what its XML says, for requests that it fits and for others, or the report refuses
// it by its name. With -samples, those of another folder: of MicrosoftDocs/iis-docs, all.
func TestSamples(t *testing.T) {
	executed, refused, noXML := 0, 0, 0
	err := filepath.WalkDir(*samplesFlag, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".xml", ".config"}, filepath.Ext(name)) {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			samples, broken := readSamples(string(data))
			for _, text := range broken {
				refuseBroken(t, text)
			}
			noXML += len(broken)
			for _, s := range samples {
				config, report := importSample(t, s.text, s.global)
				written := func(name string) bool { return name == s.rule.Name }
				switch {
				case slices.ContainsFunc(config.Rules, func(r rewrite.Rule) bool { return written(r.Name) }):
					executed++
					s.execute(t, config)
				case slices.ContainsFunc(config.Outbound, func(r rewrite.OutboundRule) bool { return written(r.Name) }):
					executed++
					s.executeOutbound(t, config)
				case slices.ContainsFunc(report.Lines, s.refusedBy):
					refused++
					t.Log(report.Lines[slices.IndexFunc(report.Lines, s.refusedBy)])
				default:
					t.Errorf("%s is neither executed nor refused by its name", s.rule.Name)
				}
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	numbers := fmt.Sprintf("of %d rules: %d executed, %d refused by name, %d in files that are no XML", executed+refused+noXML, executed, refused, noXML)
	t.Log(numbers)
	if *samplesFlag == ownSamples && numbers != "of 50 rules: 40 executed, 9 refused by name, 1 in files that are no XML" {
		t.Error(numbers)
	}
}

// refusedBy tells whether a line of the report refuses the rule by its name, with a reason.
func (s *sample) refusedBy(l iisimport.Line) bool {
	return (l.Outcome == iisimport.Closed || l.Outcome == iisimport.Decide) && l.Message != "" &&
		(strings.HasSuffix(l.What, "rule "+s.rule.Name) || strings.Contains(l.Message, strconv.Quote(s.rule.Name)))
}

// refuseBroken wants a file that is no XML to close its place, with a line that names it.
func refuseBroken(t *testing.T, text string) {
	t.Helper()
	_, report := importSample(t, "<rewrite><rules>"+text+"</rules></rewrite>", false)
	if !slices.ContainsFunc(report.Lines, func(l iisimport.Line) bool {
		return l.Outcome == iisimport.Closed && strings.HasSuffix(l.Source.File, "web.config")
	}) {
		t.Errorf("what is no XML does not close its place:\n%s", text)
	}
}

// execute compares the rule with the reference, for many requests.
func (s *sample) execute(t *testing.T, config rewrite.Config) {
	t.Helper()
	set, err := rewrite.Compile(config)
	if err != nil {
		t.Fatal(err)
	}
	plain := s.reference()
	probe := plain
	probe.Rules = slices.Clone(plain.Rules)
	probe.Rules[0].Set, probe.Rules[0].Action = nil, rewrite.Action{Type: "respond", Status: 299}
	fits, others := 0, 0
	draw := rand.New(rand.NewPCG(1, 2)) // the same for each run
	for range 500 {
		req := s.request(t, draw)
		fired, err := rewritetest.Run(probe, req)
		got, want := rewritetest.Outcome(set.Run(req)), rewritetest.Outcome(rewritetest.Run(plain, req))
		if got != want {
			t.Errorf("%s: http://%s%s %v: %q, the reference says %q", s.rule.Name, req.Host, req.URL.RequestURI(), req.Header, got, want)
			return
		}
		if err == nil && fired.Status == 299 {
			fits++
		} else {
			others++
		}
	}
	everywhere := slices.Contains([]string{".*", "*"}, strings.Trim(s.rule.Match.URL, "^$()")) && s.rule.Conditions.Add == nil
	if fits == 0 || others == 0 && !everywhere {
		t.Errorf("%s: fits %d requests and %d others do not: the test is none", s.rule.Name, fits, others)
	}
}

// executeOutbound compares an outbound rule with the reference, for many answers.
func (s *sample) executeOutbound(t *testing.T, config rewrite.Config) {
	t.Helper()
	set, err := rewrite.Compile(config)
	if err != nil {
		t.Fatal(err)
	}
	plain := s.reference()
	name := strings.ReplaceAll(strings.TrimPrefix(plain.Outbound[0].Variable, "RESPONSE_"), "_", "-")
	changed, same := 0, 0
	draw := rand.New(rand.NewPCG(1, 2)) // the same for each run
	for range 200 {
		req := s.request(t, draw)
		header := http.Header{"Content-Type": {"text/html"}}
		lines := []string{"Content-Type: text/html"}
		if value := some(draw, s.rule.Match.Pattern); value != "" {
			lines = append(lines, name+": "+value)
		}
		for _, line := range lines[1:] {
			n, v, _ := strings.Cut(line, ": ")
			header.Set(n, v)
		}
		status := []int{200, 301, 302}[draw.IntN(3)]
		want, err := rewritetest.RunOutbound(plain, req, status, lines)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Outbound(req, &rewrite.Result{Path: req.URL.Path, Query: req.URL.RawQuery}, status, header); err != nil {
			t.Fatal(err)
		}
		for _, line := range want {
			n, v, _ := strings.Cut(line, ": ")
			if got := header.Values(n); len(got) != 1 || got[0] != v {
				t.Errorf("%s: %d %q of http://%s%s: %q, the reference says %q", s.rule.Name, status, lines, req.Host, req.URL, header, want)
				return
			}
		}
		if len(header) != len(want) {
			t.Errorf("%s: %q, the reference says %q", s.rule.Name, header, want)
			return
		}
		if slices.Equal(want, lines) {
			same++
		} else {
			changed++
		}
	}
	if changed == 0 || same == 0 {
		t.Errorf("%s: %d answers changed and %d not: the test is none", s.rule.Name, changed, same)
	}
}

// request makes one of which parts fit patterns of the rule.
func (s *sample) request(t *testing.T, draw *rand.Rand) *rewrite.Request {
	t.Helper()
	scheme := []string{"http", "https"}[draw.IntN(2)]
	host, query := []string{"a.test", "localhost", "www.b.test"}[draw.IntN(3)], []string{"", "x=1"}[draw.IntN(2)]
	path := strings.TrimPrefix(some(draw, s.pattern(s.rule.Match.URL)), "/")
	headers := make(map[string]string)
	for _, c := range s.rule.Conditions.Add {
		value := some(draw, s.pattern(c.Pattern))
		if c.IgnoreCase != "false" && draw.IntN(4) == 0 {
			value = strings.ToUpper(value)
		}
		input := upperVariables(c.Input)
		for _, m := range s.maps {
			if strings.Contains(input, "{"+m.Name+":") && len(m.Add) > 0 && draw.IntN(3) > 0 {
				value = m.Add[draw.IntN(len(m.Add))].Key
				input = strings.TrimSuffix(strings.TrimPrefix(input, "{"+m.Name+":"), "}")
				if input == "{C:1}" { // of the query
					input, value = "{QUERY_STRING}", "id="+value
				}
			}
		}
		name, ok := strings.CutPrefix(strings.Trim(input, "{}"), "HTTP_")
		switch {
		case draw.IntN(3) == 0:
		case input == "{HTTP_HOST}":
			host = value
		case input == "{QUERY_STRING}" || input == "{URLDECODE:{QUERY_STRING}}" || strings.Contains(input, "{QUERY_STRING}"):
			if query = value; draw.IntN(2) == 0 {
				query += "&" + value
			}
		case slices.Contains([]string{"{URL}", "{PATH_INFO}", "{REQUEST_URI}", "{UNENCODED_URL}"}, input):
			path = strings.TrimPrefix(value, "/")
		case ok:
			headers[strings.ReplaceAll(name, "_", "-")] = value
		}
	}
	for _, c := range s.rule.Conditions.Add { // several patterns for one query
		if strings.Contains(c.Input, "QUERY_STRING") && draw.IntN(2) == 0 {
			query += "&" + some(draw, s.pattern(c.Pattern))
		}
	}
	path, moved, isQuery := strings.Cut(path, "?")
	if isQuery {
		query = moved
	}
	u := url.URL{Scheme: scheme, Host: "h", Path: "/" + path, RawQuery: strings.Trim(query, "&")}
	u.RawQuery = regexp.MustCompile(`[^!-~]`).ReplaceAllStringFunc(u.RawQuery, url.PathEscape)
	req := rewritetest.Request(u.String(), rewritetest.Tree{"/css/a.css", "/css/", "/sub/", "/index.html"})
	req.Host = host
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return req
}

// pattern is a pattern of the rule in the language of Go.
func (s *sample) pattern(text string) string {
	switch s.rule.Syntax {
	case "ExactMatch":
		return regexp.QuoteMeta(text)
	case "Wildcard":
		return strings.NewReplacer(`\*`, "[a-z0-9/]*", `\?`, "[a-z]").Replace(regexp.QuoteMeta(text))
	}
	return text
}
