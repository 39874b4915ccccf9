package rewrite_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite/rewritetest"
)

var (
	segments  = []string{"a", "b", "A", "blog", "css", "a.css", "sub", "index.html", "1", "22", "x-y", "a%20b", "%3Fq", "a%26b", "%2e%2e", "a%2Fb", "%25", "%2541", "a+b", "~", "%7B", "%5C", "%23", "http:", ""}
	queries   = []string{"", "", "a=1", "id=22&b", "x=%41%26", "?", "q=http://10.0.0.1/", "%0a", "A=b+c", "a#"}
	regexps   = []string{".*", "(.*)", "^$", "^a", "^(a|b)/(.*)$", "([a-z]+)", "(a)|(b)", "[0-9]+", "^blog/([^/]+)/?(.*)", `\.css$`, "x*", "^((a)|b)/", "id=([0-9]+)", "(?:a|b)(.?)", "a+?(.*)", `^/?(\w+)(?:/|$)`, `\?(.*)`, "^OFF$", `^(h)(\.x)?$`, "c:\\\\site(.*)", "."}
	wildcards = []string{"*", "a*", "*/*", "blog/*/*", "?", "*.css", "?*", "a.b", "/*", "*=*", "OFF"}
	exacts    = []string{"a", "A", "blog/a", "a.css", "", "h", "OFF", "/a", "a b"}
	inputs    = []string{"{URL}", "{QUERY_STRING}", "{HTTP_HOST}", "{HTTPS}", "{REQUEST_URI}", "{UNENCODED_URL}", "{R:1}", "{R:0}-{C:1}", "{C:0}", "{M:{R:0}}", "{S:{URL}}", "x{HTTP_X_A}y", "{MINE}", "{ToLower:{URL}}", "{UrlDecode:{QUERY_STRING}}", "{HTTP_X_ORIGINAL_URL}", "{REQUEST_FILENAME}"}
	targets   = []string{"/", "a", "x/{R:0}", "{R:1}", "/{R:2}/{R:1}", "{C:1}", "/{C:0}/{C:2}", "?", "q={R:1}", "&", "{URL}", "{REQUEST_URI}", "{UNENCODED_URL}", "{QUERY_STRING}", "http://10.0.0.1", "HTTPS://{HTTP_HOST}", "http://other/", "{M:{R:1}}", "{UrlEncode:{R:0}}", "{UrlDecode:{QUERY_STRING}}", "{ToLower:{C:1}{URL}}", "%41", "%2f", "..", "#f", "{MINE}", "{HTTP_X_A}", " b"}
	values    = []string{"", "v", "{R:1}", "{URL}", "{UrlDecode:{QUERY_STRING}}"}
)

func pick(t *rapid.T, list []string) string { return rapid.SampledFrom(list).Draw(t, "pick") }

func some(t *rapid.T) bool { return rapid.IntRange(0, 3).Draw(t, "some") == 0 }

func drawPattern(t *rapid.T, syntax ecma.Syntax) rewrite.Pattern {
	list := regexps
	switch syntax {
	case ecma.Wildcard:
		list = wildcards
	case ecma.ExactMatch:
		list = exacts
	}
	return rewrite.Pattern{Pattern: pick(t, list), CaseSensitive: some(t), Not: some(t)}
}

func drawRule(t *rapid.T) rewrite.Rule {
	r := rewrite.Rule{
		Name: "r", Base: rapid.SampledFrom([]string{"", "", "/", "/a", "/blog/"}).Draw(t, "base"),
		Syntax:       rapid.SampledFrom([]ecma.Syntax{"", ecma.ECMAScript, ecma.Wildcard, ecma.ExactMatch}).Draw(t, "syntax"),
		AnyCondition: some(t), TrackAllCaptures: some(t), Stop: some(t),
	}
	r.Match = drawPattern(t, r.Syntax)
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		c := rewrite.Condition{Input: pick(t, inputs), Pattern: drawPattern(t, r.Syntax)}
		if some(t) {
			c = rewrite.Condition{Input: "{REQUEST_FILENAME}", Is: pick(t, []string{"file", "directory"}), Pattern: rewrite.Pattern{Not: c.Not}}
		}
		r.Conditions = append(r.Conditions, c)
	}
	if some(t) {
		r.Set = append(r.Set, rewrite.Variable{Name: pick(t, []string{"MINE", "HTTP_X_A", "HTTP_NOT_ALLOWED"}), Value: pick(t, values), Keep: some(t)})
	}
	r.Action.Type = rapid.SampledFrom([]string{"none", "rewrite", "rewrite", "rewrite", "redirect", "redirect", "respond", "abort"}).Draw(t, "action")
	switch r.Action.Type {
	case "rewrite", "redirect":
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			r.Action.URL += pick(t, targets)
		}
		r.Action.DropQueryString = some(t)
		if r.Action.Type == "redirect" {
			r.Action.Status = 302
		}
	case "respond":
		r.Action.Status, r.Action.SubStatus = 403, 7
	}
	return r
}

func drawRequest(t *rapid.T) *rewrite.Request {
	target := ""
	for range rapid.IntRange(1, 4).Draw(t, "segments") {
		target += "/" + pick(t, segments)
	}
	if q := pick(t, queries); q != "" {
		target += "?" + q
	}
	req := get(pick(t, []string{"http://h", "http://h.x", "http://10.0.0.1"}) + target)
	if some(t) {
		req.Header.Set("X-A", "a?b")
	}
	return req
}

// TestAgainstReference: any rules do what the interpreter does that is written as their
// description reads.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rewrite.Config{
			Global: false, AllowVariables: []string{"mine", "HTTP_X_A"}, Proxy: []string{"http://10.0.0.1"}, KeepEscapes: some(t),
			Maps: []rewrite.Map{
				{Name: "M", Default: "d", Entries: map[string]string{"a": "http://10.0.0.1", "b": "/x?y", "blog": ""}},
				{Name: "S", CaseSensitive: true, Entries: map[string]string{"/A": "1", "/a": "2"}},
			},
			Rules: []rewrite.Rule{{Name: "mine", Match: pattern("^never$"), Set: []rewrite.Variable{{Name: "MINE", Value: "x"}}}},
		}
		for range rapid.IntRange(1, 5).Draw(t, "rules") {
			if r := drawRule(t); rewrite.CheckRule(c, r) == nil {
				c.Rules = append(c.Rules, r)
			}
		}
		set, err := rewrite.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		req := drawRequest(t)
		got, want := outcome(set.Run(req)), outcome(rewritetest.Run(c, req))
		if got != want {
			text, _ := json.MarshalIndent(c.Rules, "", " ")
			t.Fatalf("%s: %q, the reference says %q\n%s", req.URL, got, want, text)
		}
	})
}
