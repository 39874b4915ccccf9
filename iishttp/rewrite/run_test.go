package rewrite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite/rewritetest"
)

var site = rewritetest.Tree{"/css/a.css", "/css/", "/sub/", "/index.html"}

func get(text string) *rewrite.Request { return rewritetest.Request(text, site) }

func outcome(r rewrite.Result, err error) string { return rewritetest.Outcome(r, err) }

func pattern(text string) rewrite.Pattern { return rewrite.Pattern{Pattern: text} }

func condition(input, text string) rewrite.Condition {
	return rewrite.Condition{Input: input, Pattern: pattern(text)}
}

func not(c rewrite.Condition) rewrite.Condition {
	c.Not = true
	return c
}

func to(target string) rewrite.Action { return rewrite.Action{Type: "rewrite", URL: target} }

func redirect(status int, target string) rewrite.Action {
	return rewrite.Action{Type: "redirect", URL: target, Status: status}
}

func drop(a rewrite.Action) rewrite.Action {
	a.DropQueryString = true
	return a
}

func rule(match string, a rewrite.Action, conditions ...rewrite.Condition) rewrite.Rule {
	return rewrite.Rule{Name: match, Match: pattern(match), Action: a, Conditions: conditions}
}

func stop(r rewrite.Rule) rewrite.Rule {
	r.Stop = true
	return r
}

func wildcard(r rewrite.Rule) rewrite.Rule {
	r.Syntax = ecma.Wildcard
	return r
}

func exact(r rewrite.Rule) rewrite.Rule {
	r.Syntax = ecma.ExactMatch
	return r
}

func sensitive(r rewrite.Rule) rewrite.Rule {
	r.Match.CaseSensitive = true
	return r
}

func negated(r rewrite.Rule) rewrite.Rule {
	r.Match.Not = true
	return r
}

func tracking(r rewrite.Rule) rewrite.Rule {
	r.TrackAllCaptures = true
	return r
}

func below(base string, r rewrite.Rule) rewrite.Rule {
	r.Base = base
	return r
}

func rules(list ...rewrite.Rule) rewrite.Config { return rewrite.Config{Rules: list} }

var (
	noFile   = rewrite.Condition{Input: "{REQUEST_FILENAME}", Is: "file", Pattern: rewrite.Pattern{Not: true}}
	noFolder = rewrite.Condition{Input: "{REQUEST_FILENAME}", Is: "directory", Pattern: rewrite.Pattern{Not: true}}
	static   = rewrite.Map{Name: "StaticRewrites", Entries: map[string]string{"/php": "/default.aspx?tabid=7116"}}
	titles   = rewrite.Map{Name: "IDtoTitle", Entries: map[string]string{"2": "some-title-2"}}
)

// examples are configurations with requests and what becomes of them. Most are of
// Microsoft's reference of the module.
var examples = []struct {
	name   string
	config rewrite.Config
	want   map[string]string
}{
	{"article", rules(rule(`^article/([0-9]+)/([_0-9a-z-]+)`, to(`article.aspx?id={R:1}&title={R:2}`))), map[string]string{
		"/article/234/some-title": "/article.aspx?id=234&title=some-title", "/article/234/some-title?a=b": "/article.aspx?id=234&title=some-title&a=b", "/x": "-",
	}},
	{"blog", rules(rule(`^blog/([_0-9a-z-]+)/([0-9]+)`, redirect(302, `article/{R:2}/{R:1}`))), map[string]string{
		"/blog/some-title/342": "302 /article/342/some-title",
	}},
	{"abort", rules(rule(`.*`, rewrite.Action{Type: "abort"}, not(condition("{HTTP_HOST}", "localhost")))), map[string]string{
		"http://127.0.0.1/": "abort", "http://localhost/": "-",
	}},
	{"www", rules(rule(`(.*)`, redirect(0, `http://{C:1}/{R:1}`), condition("{HTTP_HOST}", `^www\.(.+)$`))), map[string]string{
		"http://www.example.com/p?q=1": "301 http://example.com/p?q=1", "http://example.com/p": "-",
	}},
	{"map", rewrite.Config{Maps: []rewrite.Map{static}, Rules: []rewrite.Rule{
		rule(`.*`, drop(to(`{C:1}`)), condition(`{StaticRewrites:{REQUEST_URI}}`, `(.+)`)),
	}}, map[string]string{
		"/php": "/default.aspx?tabid=7116", "/PHP": "/default.aspx?tabid=7116", "/default.aspx": "-", "/php?x=1": "-",
	}},
	{"map of a capture", rewrite.Config{Maps: []rewrite.Map{titles}, Rules: []rewrite.Rule{
		rule(`^article\.aspx$`, drop(redirect(0, `article.aspx?title={C:1}`)), condition(`{QUERY_STRING}`, `(?:^|&)id=([0-9]+)(?:&|$)`), condition(`{IDtoTitle:{C:1}}`, `(.+)`)),
	}}, map[string]string{
		"/article.aspx?a=b&id=2": "301 /article.aspx?title=some-title-2", "/article.aspx?id=3": "-",
	}},
	{"last condition", rules(rule(`^article\.aspx$`, drop(to(`article.aspx/{C:1}`)), condition("{QUERY_STRING}", `p1=([0-9]+)`), condition("{QUERY_STRING}", `p2=([a-z]+)`))), map[string]string{
		"/article.aspx?p1=1&p2=ab": "/article.aspx/ab", "/article.aspx?p1=1": "-",
	}},
	{"all captures", rules(tracking(rule(`^article\.aspx$`, drop(to(`/{C:1}/{C:2}`)), condition("{QUERY_STRING}", `p1=([0-9]+)`), condition("{QUERY_STRING}", `p2=([a-z]+)`)))), map[string]string{
		"/article.aspx?p1=1&p2=ab": "/1/ab",
	}},
	{"all captures of URL and query", rules(tracking(rule(`.*`, drop(redirect(0, `x?0={C:0}&1={C:1}&2={C:2}&3={C:3}`)), condition("{URL}", `^/([a-zA-Z]+)/([0-9]+)/$`), condition("{QUERY_STRING}", `p2=([a-z]+)`)))), map[string]string{
		"/article/23/?p1=123&p2=abc": "301 /x?0=/article/23/&1=article&2=23&3=abc",
	}},
	{"optional group", rules(rule(`.*`, redirect(0, `/{C:1}-{C:2}`), condition("{HTTP_HOST}", `^(www\.)?(.+)$`))), map[string]string{
		"http://x.org/": "301 /-x.org",
	}},
	{"chain", rules(rule(`^a/(.*)`, to(`b/{R:1}`)), stop(rule(`^b/(.*)`, to(`c/{R:1}`))), stop(rule(`^c/(.*)`, to(`d/{R:1}`)))), map[string]string{
		"/a/t": "/c/t", "/c/t": "/d/t",
	}},
	{"redirect ends", rules(rule(`a`, redirect(0, `/x`)), rule(`.*`, redirect(0, `/y`))), map[string]string{"/a": "301 /x", "/b": "301 /y"}},
	{"none with stop", rules(stop(rule(`^admin`, rewrite.Action{})), rule(`(.*)`, to(`/index.php`))), map[string]string{"/admin/x": "-", "/y": "/index.php"}},
	{"none without stop", rules(rule(`^admin`, rewrite.Action{Type: "none"}), rule(`(.*)`, to(`/index.php`))), map[string]string{"/admin/x": "/index.php"}},
	{"single page", rules(rule(`.*`, to(`/`), noFile, noFolder)), map[string]string{
		"/css/a.css": "-", "/CSS/A.css": "-", "/route?x=1": "/?x=1", "/sub": "-", "/sub/": "-", "/a:b": "404", "/index.html/x": "/",
	}},
	{"slash", rules(rule(`(.*[^/])$`, redirect(301, `{R:1}/`), noFile, noFolder)), map[string]string{"/foo/bar?z=1": "301 /foo/bar/?z=1", "/css/a.css": "-"}},
	{"wildcard", rules(wildcard(rule(`blog/*`, redirect(302, `/news/{R:1}`)))), map[string]string{
		"/blog/a/b": "302 /news/a/b", "/x/blog/a": "-", "/blog/": "302 /news/",
	}},
	{"wildcard condition", rules(wildcard(rule(`*`, redirect(302, `/{C:1}`), condition("{URL}", `/Scripts/*_in.???`)))), map[string]string{
		"/scripts/a_in.asp": "302 /a", "/scripts/a_in.aspx": "-",
	}},
	{"wildcard address", rules(wildcard(rule(`*`, rewrite.Action{Type: "abort"}, not(condition("{REMOTE_ADDR}", `127.9.*`))))), map[string]string{"/": "abort"}},
	{"exact", rules(exact(rule(`a.b`, redirect(302, `/x`)))), map[string]string{"/a.b": "302 /x", "/A.B": "302 /x", "/aXb": "-", "/a.bc": "-"}},
	{"exact condition", rules(exact(rule(`a`, redirect(302, `/x`), condition("{HTTP_HOST}", "a.example.com")))), map[string]string{
		"http://a.example.com/a": "302 /x", "http://evil-a.example.com.org/a": "-", "http://aXexample.com/a": "-",
	}},
	{"part", rules(rule(`blog`, redirect(302, `/{R:0}`))), map[string]string{"/demo/blogger": "302 /blog"}},
	{"case", rules(sensitive(rule(`^Case$`, redirect(302, `/x`)))), map[string]string{"/Case": "302 /x", "/case": "-"}},
	{"negated", rules(negated(rule(`^(css|js)/`, to(`/index.html`)))), map[string]string{"/foo": "/index.html", "/css/a.css": "-"}},
	{"negated R0", rules(negated(rule(`^css/`, redirect(302, `/x/{R:0}`)))), map[string]string{"/foo": "302 /x/foo"}},
	{"https", rules(rule(`(.*)`, redirect(301, `https://{HTTP_HOST}/{R:1}`), condition("{HTTPS}", `^OFF$`))), map[string]string{
		"http://h:8080/a?b=1": "301 https://h:8080/a?b=1", "https://h/a": "-",
	}},
	{"doubled query", rules(rule(`.*`, redirect(0, `https://{HTTP_HOST}{REQUEST_URI}`))), map[string]string{
		"/a?b=1": "301 https://h/a?b=1&b=1", "/a": "301 https://h/a",
	}},
	{"no doubled query", rules(rule(`.*`, drop(redirect(0, `https://{HTTP_HOST}{REQUEST_URI}`)))), map[string]string{"/a?b=1": "301 https://h/a?b=1"}},
	{"see other", rules(rule(`^old/(.*)$`, redirect(303, `new.txt?p={R:1}`))), map[string]string{
		"/old/ab?z=1": "303 /new.txt?p=ab&z=1", "/old/ab": "303 /new.txt?p=ab",
	}},
	{"escapes", rules(rule(`^sp/(.+)$`, redirect(302, `/t/{R:1}`))), map[string]string{
		"/sp/a%20b%2Fc": "302 /t/a%20b/c", "/sp/%3Fx=%23y": "302 /t/%3Fx=%23y", "/sp/ü": "302 /t/%C3%BC", `/sp/a%5Cb`: "302 /t/a%5Cb", "/sp/a+b": "302 /t/a+b",
	}},
	{"capture in the query", rules(rule(`^e/(.+)$`, to(`x.php?q={R:1}`))), map[string]string{"/e/a%26b=1": "/x.php?q=a&b=1", "/e/a%23b": "/x.php?q=a%23b", "/e/a%20b": "/x.php?q=a%20b"}},
	{"encoded capture", rules(rule(`^e/(.+)$`, to(`x.php?q={UrlEncode:{R:1}}`))), map[string]string{"/e/a%26b=1": "/x.php?q=a%26b%3D1"}},
	{"question mark is data", rules(rule(`^(.*)$`, to(`/x/{R:1}`))), map[string]string{"/a%3Fb=1": "/x/a%3Fb=1"}},
	{"proxy, escapes encoded again", rewrite.Config{Proxy: []string{"http://127.0.0.1:3000"}, Rules: []rewrite.Rule{rule(`(.*)`, drop(to(`http://127.0.0.1:3000{UNENCODED_URL}`)))}}, map[string]string{
		"/a%20b": "proxy http://127.0.0.1:3000/a%2520b",
	}},
	{"proxy, escapes kept", rewrite.Config{KeepEscapes: true, Proxy: []string{"http://127.0.0.1:3000"}, Rules: []rewrite.Rule{rule(`(.*)`, drop(to(`http://127.0.0.1:3000{UNENCODED_URL}`)))}}, map[string]string{
		"/a%20b": "proxy http://127.0.0.1:3000/a%20b", "/a?b=%20": "proxy http://127.0.0.1:3000/a?b=%20",
	}},
	{"proxy off", rules(rule(`(.*)`, to(`http://10.0.0.1/{R:1}`))), map[string]string{"/x": "proxy 404"}},
	{"another proxy", rewrite.Config{Proxy: []string{"http://10.0.0.1:81"}, Rules: []rewrite.Rule{rule(`(.*)`, to(`http://10.0.0.1/{R:1}`))}}, map[string]string{"/x": "proxy 404"}},
	{"reverse proxy", rewrite.Config{Proxy: []string{"http://localhost:8081"}, Rules: []rewrite.Rule{rule(`^webmail/(.*)`, to(`HTTP://LocalHost:8081/{R:1}`))}}, map[string]string{
		"/webmail/d.aspx?x=1": "proxy http://localhost:8081/d.aspx?x=1", "/webmail/a%3Fb": "proxy http://localhost:8081/a%3Fb", "/webmail/../x": "proxy http://localhost:8081/../x",
	}},
	{"proxy by map", rewrite.Config{
		Proxy: []string{"http://10.0.0.1"}, Maps: []rewrite.Map{{Name: "Up", Entries: map[string]string{"a": "http://10.0.0.1", "b": "http://10.0.0.2"}}},
		Rules: []rewrite.Rule{rule(`^(\w)/(.*)`, to(`{Up:{R:1}}/{R:2}`))},
	}, map[string]string{"/a/x": "proxy http://10.0.0.1/x", "/b/x": "proxy 404", "/c/x": "/x"}},
	{"no scheme of the client", rewrite.Config{Proxy: []string{"http://10.0.0.1"}, Rules: []rewrite.Rule{rule(`^go/(.*)`, to(`{R:1}`))}}, map[string]string{"/go/http://10.0.0.1/x": "/http:/10.0.0.1/x"}},
	{"no redirect of the client", rules(rule(`^go/(.*)`, redirect(302, `{R:1}`)), rule(`^q$`, drop(redirect(302, `{UrlDecode:{QUERY_STRING}}`)))), map[string]string{
		"/go/http://evil.test/": "302 /http://evil.test/", "/go//evil.test/": "302 /evil.test/", `/go/\evil.test`: "302 /%5Cevil.test", "/q?http%3A%2F%2Fevil.test": "302 /http://evil.test", "/q?%2F%2Fevil.test": "302 /evil.test",
	}},
	{"lower case", rules(sensitive(rule(`[A-Z]`, redirect(0, `{ToLower:{URL}}`)))), map[string]string{"/Ab?Q=1": "301 /ab?Q=1", "/ab": "-"}},
	{"base", rules(below("/blog", rule(`^article/(.*)`, to(`a.aspx?t={R:1}`)))), map[string]string{
		"/blog/article/x": "/blog/a.aspx?t=x", "/BLOG/article/x": "/blog/a.aspx?t=x", "/article/x": "-", "/blogger/article/x": "-",
	}},
	{"base, absolute result", rules(below("/blog", rule(`^x$`, to(`/y`))), below("/blog", rule(`^y$`, to(`/z`)))), map[string]string{"/blog/x": "/y"}},
	{"global", rewrite.Config{Global: true, Rules: []rewrite.Rule{rule(`(.*)`, to(`{C:1}/{R:1}`), condition("{HTTP_HOST}", `^([^_]+)_`))}}, map[string]string{"http://blog_localhost/article/x": "/blog/article/x"}},
	{"gone", rules(rule(`^gone$`, rewrite.Action{Type: "respond", Status: 410, Reason: "Gone", Description: "It is gone"}), rule(`^x$`, rewrite.Action{Type: "respond", Status: 403, SubStatus: 7})), map[string]string{
		"/gone": "410.0 Gone It is gone", "/x": "403.7",
	}},
	{"variable that is not allowed", rules(rewrite.Rule{Name: "v", Match: pattern(`(.*)\.htm$`), Set: []rewrite.Variable{{Name: "X_PATH", Value: "{R:1}"}}, Action: to(`index.php?path={R:1}`)}), map[string]string{"/a.htm": "500", "/b": "-"}},
	{"any condition", rules(rewrite.Rule{Name: "any", Match: pattern(`.*`), AnyCondition: true, Action: redirect(302, "/{C:0}"), Conditions: []rewrite.Condition{
		condition("{QUERY_STRING}", "^a"), condition("{HTTP_HOST}", "^b"),
	}}), map[string]string{"http://b/?a": "302 /a?a", "http://b/": "302 /b", "http://c/": "-"}},
	{"any of none", rules(rewrite.Rule{Name: "any", Match: pattern(`.*`), AnyCondition: true, Action: redirect(302, "/x")}), map[string]string{"/": "302 /x"}},
	{"negated conditions keep captures", rules(rule(`.*`, redirect(302, `/{C:1}`), condition("{QUERY_STRING}", `^a=(.)`), not(condition("{HTTP_HOST}", `^(b)`)))), map[string]string{
		"http://h/?a=1": "302 /1?a=1", "http://b/?a=1": "-",
	}},
	{"dots", rules(rule(`^up/(.*)`, to(`/a/{R:1}`))), map[string]string{"/up/../../x": "500", "/up/b/../c": "/a/c", "/up/./b/": "/a/b/"}},
	{"fragment", rules(rule(`^f$`, redirect(302, `/x#top`))), map[string]string{"/f?a=1": "302 /x?a=1#top"}},
	{"line breaks", rules(rule(`^f$`, redirect(302, `/x?{UrlDecode:{QUERY_STRING}}`))), map[string]string{"/f?a%0d%0aSet-Cookie:x": "500"}},
	{"host of a redirect", rules(rule(`.*`, redirect(302, `https://{C:1}.example.com/`), condition("{HTTP_HOST}", `^([a-z]+)\.old$`))), map[string]string{"http://a.old/": "302 https://a.example.com/", "http://evil.test/#.old/": "-"}},
	{"scheme by map", rewrite.Config{Maps: []rewrite.Map{{Name: "S", Default: "http", Entries: map[string]string{"ON": "https"}}}, Rules: []rewrite.Rule{
		rule(`^(.*)$`, redirect(302, `{S:{HTTPS}}://x.test/{R:1}`)),
	}}, map[string]string{"http://h/a": "302 http://x.test/a", "https://h/a": "302 https://x.test/a"}},
	{"port", rules(rule(`.*`, redirect(302, `/{SERVER_PORT}/{SERVER_NAME}/{REMOTE_PORT}/{REQUEST_METHOD}`))), map[string]string{"http://h:99/": "302 /8081/h/5000/GET"}},
	{"capture of path and query", rules(rule(`.*`, drop(redirect(301, `https://x.test{C:1}`)), condition("{REQUEST_URI}", `^(.*)$`))), map[string]string{
		"/a?b=1": "301 https://x.test/a?b=1", "/a%3Fb": "301 https://x.test/a%3Fb", "/a%3Fb?c%23": "301 https://x.test/a%3Fb?c%23",
	}},
	{"default port", rewrite.Config{Proxy: []string{"http://a:80", "https://b"}, Rules: []rewrite.Rule{rule(`^a`, to(`http://a/x`)), rule(`^b`, to(`https://B:443/x`))}}, map[string]string{
		"/a": "proxy http://a/x", "/b": "proxy https://b/x",
	}},
	{"physical", rules(rule(`.*`, redirect(302, `/{REQUEST_FILENAME}`))), map[string]string{"/sub/x": `302 /C:%5Csite%5Csub%5Cx`}},
}

func TestExamples(t *testing.T) {
	for _, e := range examples {
		set, err := rewrite.Compile(e.config)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		for target, want := range e.want {
			if got := outcome(set.Run(get(target))); got != want {
				t.Errorf("%s: %s: got %q, want %q", e.name, target, got, want)
			}
		}
	}
}

// TestVariables: what rules set is what later rules and the next handler see.
func TestVariables(t *testing.T) {
	set, err := rewrite.Compile(rewrite.Config{AllowVariables: []string{"HTTP_X_Original_Host", "X_PATH", "HTTP_ACCEPT_ENCODING", "HTTP_X_KEEP"}, Rules: []rewrite.Rule{
		{Name: "set", Match: pattern(`(.*)\.htm$`), Action: to(`index.php?path={R:1}`), Set: []rewrite.Variable{
			{Name: "HTTP_X_ORIGINAL_HOST", Value: "{HTTP_HOST}"}, {Name: "X_PATH", Value: "{R:1}"}, {Name: "HTTP_ACCEPT_ENCODING", Value: ""}, {Name: "HTTP_X_KEEP", Value: "new", Keep: true},
		}},
		{Name: "use", Match: pattern(`.*`), Action: to(`{X_PATH}-{HTTP_X_ORIGINAL_HOST}-{HTTP_X_KEEP}`)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := get("http://pub/a.htm")
	r.Header.Set("X-Keep", "old")
	got, err := set.Run(r)
	if err != nil || got.Path != "/a-pub-old" || got.Variables["X_PATH"] != "a" || got.OriginalURL != "/a.htm" ||
		fmt.Sprint(got.Headers) != "[{X-Original-Host pub} {Accept-Encoding }]" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := set.Run(get("/a%0Ab.htm")); err == nil {
		t.Error("a line break reached a variable")
	}
}

// TestRefused: what IIS refuses when it loads rules, and what would let a client choose
// the server that it is sent to.
func TestRefused(t *testing.T) {
	one := func(r rewrite.Rule) rewrite.Config { return rules(r) }
	respond := func(status int) rewrite.Action { return rewrite.Action{Type: "respond", Status: status} }
	for name, c := range map[string]rewrite.Config{
		"bad pattern":            one(rule(`^/{C:1}`, to("/x"))),
		"inline flag":            one(rule(`(?i)abc`, to("/x"))),
		"look-behind":            one(rule(`(?<=a)b`, to("/x"))),
		"no pattern":             one(rewrite.Rule{Name: "x", Action: to("/x")}),
		"bad condition":          one(rule(`a`, to("/x"), condition("{HTTP_HOST}", "("))),
		"no input":               one(rule(`a`, to("/x"), condition("", "a"))),
		"unknown variable":       one(rule(`a`, to("/{NO_SUCH}"))),
		"unknown map":            one(rule(`a`, to("/{Nothing:{R:0}}"))),
		"unknown function":       one(rule(`a`, to("/{ToUpper:{R:0}}"))),
		"open brace":             one(rule(`a`, to("/{R:1"))),
		"lone brace":             one(rule(`a`, to("/x}"))),
		"high reference":         one(rule(`a`, to("/{R:10}"))),
		"high condition":         one(rule(`a`, to("/{C:10}"), condition("{URL}", "a"))),
		"word as reference":      one(rule(`a`, to("/{R:x}"))),
		"capture of negated":     one(negated(rule(`(a)`, to("/{R:1}")))),
		"only negated":           one(rule(`a`, to("/{C:1}"), not(condition("{URL}", "(a)")))),
		"redirect by respond":    one(rule(`a`, respond(302))),
		"no status":              one(rule(`a`, respond(0))),
		"redirect 308":           one(rule(`a`, redirect(308, "/x"))),
		"no url":                 one(rule(`a`, to(" "))),
		"unknown action":         one(rule(`a`, rewrite.Action{Type: "Rewrite"})),
		"fragment":               one(rule(`a`, to("/x#y"))),
		"client's host":          one(rule(`(.*)`, to("http://{HTTP_HOST}/{R:1}"))),
		"client's host, capture": one(rule(`(.*)`, to("http://10.0.0.1{R:1}"))),
		"client's port":          one(rule(`(.*)`, to("http://10.0.0.1:{R:1}/"))),
		"other scheme":           one(rule(`(.*)`, to("ftp://x/{R:1}"))),
		"files for all":          {Global: true, Rules: []rewrite.Rule{rule(`a`, to("/x"), noFile)}},
		"blocks by user":         one(rule(`a`, respond(403), not(condition("{AUTH_USER}", "^admin$")))),
		"address of the client":  {AllowVariables: []string{"REMOTE_ADDR"}, Rules: []rewrite.Rule{{Name: "x", Match: pattern("a"), Set: []rewrite.Variable{{Name: "REMOTE_ADDR", Value: "1.2.3.4"}}}}},
		"length of the body":     {AllowVariables: []string{"HTTP_CONTENT_LENGTH"}, Rules: []rewrite.Rule{{Name: "x", Match: pattern("a"), Set: []rewrite.Variable{{Name: "HTTP_CONTENT_LENGTH", Value: "1"}}}}},
		"name of a variable":     {Rules: []rewrite.Rule{{Name: "x", Match: pattern("a"), Set: []rewrite.Variable{{Name: "HTTP_A B", Value: "1"}}}}},
		"origin":                 {Proxy: []string{"10.0.0.1"}},
		"origin with a path":     {Proxy: []string{"http://10.0.0.1/x"}},
		"nesting":                one(rule(`a`, to("/"+strings.Repeat("{ToLower:", 50)+"x"+strings.Repeat("}", 50)))),
	} {
		if _, err := rewrite.Compile(c); err == nil {
			t.Errorf("%s is not refused", name)
		}
		if len(c.Rules) == 1 {
			if err := rewrite.CheckRule(rewrite.Config{Global: c.Global, AllowVariables: c.AllowVariables}, c.Rules[0]); err == nil {
				t.Errorf("%s: CheckRule takes it", name)
			}
		}
	}
}

// TestErrorNamesRule: every rule that is refused is named.
func TestErrorNamesRule(t *testing.T) {
	_, err := rewrite.Compile(rules(rule("(a", to("/x")), rule("a", to("/x")), rule("b)", to("/x"))))
	fault, ok := errors.AsType[*rewrite.RuleError](err)
	if !ok || fault.Rule != "(a" || !strings.Contains(err.Error(), `"b)"`) {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[*ecma.SyntaxError](err); !ok {
		t.Errorf("no position in %v", err)
	}
}

// TestCheckRuleSeesOthers: a variable that another rule sets is known.
func TestCheckRuleSeesOthers(t *testing.T) {
	setter := rewrite.Rule{Name: "set", Match: pattern("a"), Set: []rewrite.Variable{{Name: "MINE", Value: "1"}}}
	user := rule("b", to("/{MINE}"))
	if err := rewrite.CheckRule(rules(setter), user); err != nil {
		t.Error(err)
	}
	if err := rewrite.CheckRule(rules(), user); err == nil {
		t.Error("nobody sets it")
	}
}

// FuzzRun: any rule and URL have an answer.
func FuzzRun(f *testing.F) {
	f.Add(`^(.*)$`, `/x/{ToLower:{R:1}}?{UrlDecode:{QUERY_STRING}}`, "/a%3Fb", "c=%41")
	f.Add(`a|(b)`, `http://{C:1}/{M:{URL}}#x`, "/b", "")
	f.Fuzz(func(t *testing.T, match, target, path, query string) {
		c := rewrite.Config{Proxy: []string{"http://10.0.0.1"}, Maps: []rewrite.Map{{Name: "M", Default: "d"}}}
		for _, a := range []rewrite.Action{to(target), redirect(302, target), {Type: "respond", Status: 403, Description: target}} {
			r := rule(match, a, condition("{URL}", "(.?)"))
			if rewrite.CheckRule(c, r) == nil {
				c.Rules = append(c.Rules, r)
			}
		}
		set, err := rewrite.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		req := get("/")
		req.URL.Path, req.URL.RawQuery = "/"+path, query
		got, err := set.Run(req)
		if err == nil && got.Action != "none" && strings.ContainsAny(got.Location+got.Path+got.Proxy, "\r\n\x00") {
			t.Errorf("%+v", got)
		}
		if err == nil && got.Proxy != "" && got.Proxy != "404" && !strings.HasPrefix(got.Proxy, "http://10.0.0.1/") {
			t.Errorf("%+v", got)
		}
	})
}
