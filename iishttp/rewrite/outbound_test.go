package rewrite_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite/rewritetest"
)

// asSent is the result of rules that do nothing.
func asSent(r *rewrite.Request) *rewrite.Result {
	return &rewrite.Result{Path: r.URL.Path, Query: r.URL.RawQuery}
}

func headerOf(lines []string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		n, v, _ := strings.Cut(line, ": ")
		h.Add(n, v)
	}
	return h
}

// TestOutboundAgainstReference: any outbound rules do what the slow reading of them does.
func TestOutboundAgainstReference(t *testing.T) {
	values := []string{"http://in/x", "a=1; path=/", "b=2", "", "a", "a, b", "text/html"}
	templates := []string{"", "https://{HTTP_HOST}/{R:1}", "{R:0}", "{C:1}", "{C:0}-{C:2}", "v", "{RESPONSE_X_A}", "{RESPONSE_STATUS}", "{URL}", "{ToLower:{R:0}}", "{RESPONSE_SET_COOKIE}"}
	inputs := []string{"{RESPONSE_STATUS}", "{RESPONSE_X_A}", "{RESPONSE_LOCATION}", "{HTTP_HOST}", "{URL}", "{R:1}", "{C:1}", "{RESPONSE_SET_COOKIE}"}
	patterns := []string{".*", "(.+)", "^$", "^http://[^/]+/(.*)", "^(a)=(.*)$", "a", "^30[12]", "(h)", "^200$"}
	conditions := func(t *rapid.T, syntax ecma.Syntax) (list []rewrite.Condition) {
		for range rapid.IntRange(0, 2).Draw(t, "conditions") {
			c := rewrite.Condition{Input: pick(t, inputs), Pattern: rewrite.Pattern{Pattern: pick(t, patterns), Not: some(t), CaseSensitive: some(t)}}
			if syntax != "" {
				c.Pattern.Pattern = pick(t, []string{"*", "30?", "200", "http://*/*", "a*"})
			}
			list = append(list, c)
		}
		return list
	}
	rapid.Check(t, func(t *rapid.T) {
		syntax := func() ecma.Syntax {
			return rapid.SampledFrom([]ecma.Syntax{"", "", ecma.Wildcard}).Draw(t, "syntax")
		}
		var c rewrite.Config
		for _, name := range []string{"p", "q"} {
			p := rewrite.PreCondition{Name: name, Syntax: syntax(), AnyCondition: some(t)}
			p.Conditions = conditions(t, p.Syntax)
			if rewrite.CheckOutbound(rewrite.Config{PreConditions: []rewrite.PreCondition{p}}, rewrite.OutboundRule{Variable: "RESPONSE_A", Match: pattern(".")}) == nil {
				c.PreConditions = append(c.PreConditions, p)
			}
		}
		for range rapid.IntRange(1, 4).Draw(t, "rules") {
			r := rewrite.OutboundRule{
				Name: "r", Syntax: syntax(), Variable: pick(t, []string{"RESPONSE_LOCATION", "RESPONSE_X_A", "RESPONSE_SET_COOKIE"}),
				AnyCondition: some(t), TrackAllCaptures: some(t), Keep: some(t), Stop: some(t), Action: pick(t, []string{"rewrite", "rewrite", "rewrite", "none"}),
				Value: pick(t, templates), Match: rewrite.Pattern{Pattern: pick(t, patterns), Not: some(t)},
				PreCondition: pick(t, []string{"", "", "p", "q"}),
			}
			if r.Syntax != "" {
				r.Match.Pattern = pick(t, []string{"*", "http://*/*", "a*"})
			}
			r.Conditions = conditions(t, r.Syntax)
			if rewrite.CheckOutbound(c, r) == nil {
				c.Outbound = append(c.Outbound, r)
			}
		}
		set, err := rewrite.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			if v := pick(t, values); v != "" {
				lines = append(lines, pick(t, []string{"Location", "X-A", "Set-Cookie", "Set-Cookie", "Server"})+": "+v)
			}
		}
		req, status := drawRequest(t), rapid.SampledFrom([]int{200, 301, 302, 404}).Draw(t, "status")
		header := headerOf(lines)
		_, err = set.Outbound(req, asSent(req), status, header)
		want, plainErr := rewritetest.RunOutbound(c, req, status, lines)
		got, expected := fmt.Sprint(header), fmt.Sprint(headerOf(want))
		if (err != nil) != (plainErr != nil) || err == nil && got != expected {
			text, _ := json.MarshalIndent(c, "", " ")
			t.Fatalf("%d %q: %s %v, the reference says %s %v\n%s", status, lines, got, err, expected, plainErr, text)
		}
	})
}

func TestOutbound(t *testing.T) {
	location := rewrite.OutboundRule{
		Name: "location", Variable: "RESPONSE_LOCATION", Match: pattern("^http://[^/]+/(.*)"), Action: "rewrite", Value: "http://{HTTP_HOST}/{R:1}",
		Conditions: []rewrite.Condition{{Input: "{RESPONSE_STATUS}", Pattern: pattern("^301")}},
	}
	add := rewrite.OutboundRule{Name: "add", Variable: "RESPONSE_X_Custom_Header", Match: pattern("^$"), Action: "rewrite", Value: "Something"}
	secure := rewrite.OutboundRule{
		Name: "secure", Variable: "RESPONSE_Set_Cookie", Match: pattern(".+"), Action: "rewrite", Value: "{R:0}; Secure",
		Conditions: []rewrite.Condition{{Input: "{R:0}", Pattern: rewrite.Pattern{Pattern: "; Secure", Not: true}}},
	}
	for _, c := range []struct {
		rule   rewrite.OutboundRule
		status int
		lines  string
		want   string
	}{
		{location, 301, "Location: http://in/x", "Location: http://h/x"},
		{location, 302, "Location: http://in/x", "Location: http://in/x"},
		{add, 200, "", "X-Custom-Header: Something"},
		{add, 200, "X-Custom-Header: a", "X-Custom-Header: a"},
		{rewrite.OutboundRule{Variable: "RESPONSE_SERVER", Match: pattern(".*"), Action: "rewrite"}, 200, "Server: IIS|A: b", "A: b"},
		{secure, 200, "Set-Cookie: a=1|Set-Cookie: b=2; Secure", "Set-Cookie: a=1; Secure|Set-Cookie: b=2; Secure"},
		{rewrite.OutboundRule{Variable: "RESPONSE_X", Match: pattern("(.*)"), Action: "rewrite", Value: "{HtmlEncode:{R:1}}"}, 200, "X: <b>", "X: " + html.EscapeString("<b>")},
	} {
		set, err := rewrite.Compile(rewrite.Config{Outbound: []rewrite.OutboundRule{c.rule}})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.FieldsFunc(c.lines, func(r rune) bool { return r == '|' })
		header := headerOf(lines)
		req := get("http://h/p")
		if _, err := set.Outbound(req, asSent(req), c.status, header); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(header), fmt.Sprint(headerOf(strings.Split(c.want, "|"))); got != want {
			t.Errorf("%s, %d %s: got %s, want %s", c.rule.Variable, c.status, c.lines, got, want)
		}
	}
}

func TestOutboundRefused(t *testing.T) {
	for _, c := range []struct {
		rule rewrite.OutboundRule
		want string
	}{
		{rewrite.OutboundRule{Variable: "RESPONSE_CONTENT_LENGTH"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_Transfer_Encoding"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_Content-Length"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_Transfer-Encoding"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_Keep-Alive"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_STATUS"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "REMOTE_ADDR"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_A b"}, "changes no header"},
		{rewrite.OutboundRule{Variable: "RESPONSE_A", PreCondition: "gone"}, `no pre-condition "gone"`},
		{rewrite.OutboundRule{Variable: "RESPONSE_A", Action: "redirect"}, "expected rewrite or none"},
		{rewrite.OutboundRule{Variable: "RESPONSE_A", Action: "rewrite", Value: "{C:1}", Conditions: []rewrite.Condition{{Input: "{URL}", Pattern: rewrite.Pattern{Pattern: "a", Not: true}}}}, "without a condition"},
		{rewrite.OutboundRule{Variable: "RESPONSE_A", Action: "rewrite", Value: "{Gone:x}"}, "neither a function"},
	} {
		c.rule.Match = pattern("x")
		if _, err := rewrite.Compile(rewrite.Config{Outbound: []rewrite.OutboundRule{c.rule}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.rule, err, c.want)
		}
	}
	if _, err := rewrite.Compile(rewrite.Config{Rules: []rewrite.Rule{{Name: "in", Match: pattern("x"), Action: rewrite.Action{Type: "redirect", URL: "{RESPONSE_LOCATION}"}}}}); err == nil {
		t.Error("an inbound rule may ask for the response")
	}
	set, err := rewrite.Compile(rewrite.Config{Outbound: []rewrite.OutboundRule{{Name: "o", Variable: "RESPONSE_A", Match: pattern("^$"), Action: "rewrite", Value: "{UrlDecode:{QUERY_STRING}}"}}})
	if err != nil {
		t.Fatal(err)
	}
	req := get("http://h/?x%0d%0aSet-Cookie:a")
	if rule, err := set.Outbound(req, asSent(req), 200, make(http.Header)); err == nil || rule != "o" {
		t.Errorf("a line break gets into a header: %v", err)
	}
}

// TestOutboundOfTheRequest: outbound rules see the URL and the variables as the rules for
// the request have left them, whatever handlers have made of the request since.
func TestOutboundOfTheRequest(t *testing.T) {
	set, err := rewrite.Compile(rewrite.Config{
		AllowVariables: []string{"HTTP_X-A", "MINE"},
		Rules: []rewrite.Rule{{
			Name: "in", Match: pattern("^a$"), Action: rewrite.Action{Type: "rewrite", URL: "b?c=1"},
			Set: []rewrite.Variable{{Name: "HTTP_X_A", Value: "x"}, {Name: "MINE", Value: "m"}},
		}},
		Outbound: []rewrite.OutboundRule{{Variable: "RESPONSE_A", Match: pattern("^$"), Action: "rewrite", Value: "{URL} {QUERY_STRING} {HTTP_X_ORIGINAL_URL} {HTTP_X-A} {MINE}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	req := get("http://h/a")
	result, err := set.Run(req)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path, req.URL.RawQuery = "/elsewhere", "z"
	header := make(http.Header)
	if _, err := set.Outbound(req, &result, 200, header); err != nil || header.Get("A") != "/b c=1 /a x m" {
		t.Errorf("got %q, %v", header, err)
	}
}

// TestOutboundUntouched: a header that a rule does not change stays as it is, with its
// values and its spelling; one that is taken away goes in all its spellings, and does not
// come back by itself.
func TestOutboundUntouched(t *testing.T) {
	for _, c := range []struct {
		variable, pattern, value string
		have, want               http.Header
	}{
		{"RESPONSE_VARY", "(.*)", "{R:1}", http.Header{"Vary": {"A", "B"}}, http.Header{"Vary": {"A", "B"}}},
		{"RESPONSE_VARY", "^$", "x", http.Header{"vary": {"A", "B"}}, http.Header{"vary": {"A", "B"}}},
		{"RESPONSE_SET_COOKIE", "^b.*", "{R:0}", http.Header{"set-cookie": {"a=1", "b=2"}}, http.Header{"set-cookie": {"a=1", "b=2"}}},
		{"RESPONSE_SET_COOKIE", "^b.*", "{R:0}; x", http.Header{"set-cookie": {"a=1", "b=2"}}, http.Header{"Set-Cookie": {"a=1", "b=2; x"}}},
		{"RESPONSE_X_POWERED_BY", ".+", "", http.Header{"X-Powered-By": {"A"}, "x-powered-by": {"B"}}, http.Header{}},
		{"RESPONSE_X_A", ".+", "{RESPONSE_X_A}!", http.Header{"x-a": {"B"}}, http.Header{"X-A": {"B!"}}},
		{"RESPONSE_CONTENT_TYPE", ".+", "", http.Header{"Content-Type": {"a/b"}}, http.Header{"Content-Type": nil}},
		{"RESPONSE_DATE", ".*", "", http.Header{}, http.Header{}},
		{"RESPONSE_DATE", ".+", "", http.Header{"Date": {"x"}}, http.Header{"Date": nil}},
		{"RESPONSE_X_ORIGINAL_URL", ".+", "", http.Header{"X-Original-Url": {"/inside"}}, http.Header{}},
		{"RESPONSE_URL", ".+", "x", http.Header{"Url": {"/inside"}}, http.Header{"Url": {"x"}}},
	} {
		set, err := rewrite.Compile(rewrite.Config{Outbound: []rewrite.OutboundRule{{Variable: c.variable, Match: pattern(c.pattern), Action: "rewrite", Value: c.value}}})
		if err != nil {
			t.Error(err)
			continue
		}
		req, header := get("http://h/"), c.have.Clone()
		if _, err := set.Outbound(req, asSent(req), 200, header); err != nil || !reflect.DeepEqual(header, c.want) {
			t.Errorf("%s %s on %q: got %q, %v, want %q", c.variable, c.pattern, c.have, header, err, c.want)
		}
	}
}

// TestTwice: of two maps, or pre-conditions, with one name nobody knows which is meant.
func TestTwice(t *testing.T) {
	for _, c := range []rewrite.Config{
		{PreConditions: []rewrite.PreCondition{{Name: "p"}, {Name: "P"}}},
		{Maps: []rewrite.Map{{Name: "m"}, {Name: "M"}}},
	} {
		if _, err := rewrite.Compile(c); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
