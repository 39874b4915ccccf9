package iishttp

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// example is a handler and what it does with requests: "METHOD /target" or
// "/target", and the answer as in answerOf.
type example struct {
	name   string
	config string
	cases  [][2]string
}

func (e example) run(t *testing.T, change func(*http.Request) *http.Request, headers ...string) {
	t.Helper()
	t.Run(e.name, func(t *testing.T) {
		t.Helper()
		h := guard(t, e.config)
		for _, c := range e.cases {
			r := received(t, c[0], headers...)
			if change != nil {
				r = change(r)
			}
			if got := answerOf(h, r); got != c[1] {
				t.Errorf("%s: got %s, want %s", c[0], got, c[1])
			}
		}
	})
}

// TestFilterExamples: the numbers are those of the worked examples of how IIS
// filters requests.
func TestFilterExamples(t *testing.T) {
	for _, e := range []example{
		{"46", "iis_filter {\n hidden_segments sec\n}", [][2]string{{"/sec/a", "404.8"}, {"/pub", "-"}}},
		{"54", "iis_filter {\n hidden_segments bin\n}", [][2]string{
			{"/bin/x", "404.8"}, {"/binary/x", "-"}, {"/a/BIN", "404.8"}, {"/b%69n/x", "404.8"}, {"/bin", "404.8"}, {"/bin/", "404.8"},
		}},
		{"55", "iis_filter", [][2]string{
			{"/a%252e.txt", "404.11"}, {"/a+b.txt", "404.11"}, {"/a%2Bb.txt", "404.11"}, {"/?q=a+b", "-"}, {"/?q=%252e", "-"}, {"/100%25", "-"}, {"/%25u0041", "404.11"},
		}},
		{"55 allowed", "iis_filter {\n allow_double_escaping\n}", [][2]string{{"/a%252e.txt", "-"}, {"/a+b.txt", "-"}}},
		{"56", "iis_filter {\n deny_url_sequences bad sequence\n always_allowed_urls /bad_sequence.txt\n}", [][2]string{
			{"/bad_sequence.txt", "-"}, {"/BAD_sequence.TXT", "-"}, {"/x/bad_sequence.txt", "404.5"}, {"/b%61d", "404.5"}, {"/x/../bad", "404.5"}, {"/?bad", "-"},
		}},
		{"57", "iis_filter {\n deny_query_string_sequences bad sequence\n always_allowed_query_strings bad=sequence\n}", [][2]string{
			{"/?bad=sequence", "-"}, {"/?bad=1", "404.18"}, {"/?x=b%61d", "404.18"}, {"/?x=BAD", "404.18"}, {"/bad", "-"}, {"/?bad%3Dsequence", "404.18"},
		}},
		{"57 escaped", "iis_filter {\n deny_query_string_sequences bad %62\n keep_query_string_escaped\n}", [][2]string{{"/?x=b%61d", "-"}, {"/?%62", "404.18"}, {"/?b", "-"}}},
		{"58", "iis_filter {\n verbs deny TRACE\n}", [][2]string{{"TRACE /", "404.6"}, {"trace /", "-"}, {"GET /", "-"}}},
		{"59", "iis_filter {\n verbs allow GET\n unlisted_verbs deny\n}", [][2]string{{"HEAD /", "404.6"}, {"GET /", "-"}, {"get /", "404.6"}}},
		{"60", "iis_filter {\n file_extensions deny .bak\n deny_url_sequences x.\n always_allowed_urls /x.bak\n}", [][2]string{{"/x.BAK", "404.7"}, {"/x.txt", "404.5"}}},
		{"62", "iis_filter {\n max_url 20\n max_query_string 10\n}", [][2]string{
			{"/sel.txt?q=select", "-"},
			{"/?q=1234567890", "404.15"},
			{"/?q=12345678", "-"},
			{"/" + strings.Repeat("a", 19), "-"},
			{"/" + strings.Repeat("a", 20), "404.14"},
			{"/" + strings.Repeat("%61", 7), "404.14"}, // as it was sent
		}},
		{"66", "iis_filter {\n hidden_segments web.config\n file_extensions deny .config\n}", [][2]string{{"/web.config", "404.8"}, {"/a/Web.Config", "404.8"}, {"/x.config", "404.7"}}},
	} {
		e.run(t, nil)
	}
	example{"61", "iis_filter {\n max_content_length 1000\n}", [][2]string{{"POST /", "413.1"}}}.run(t, nil, "Content-Length: 2000")
	example{"61 fits", "iis_filter {\n max_content_length 1000\n}", [][2]string{{"POST /", "-"}}}.run(t, nil, "Content-Length: 1000")
	example{"63", "iis_filter {\n header_limit X-A 0\n}", [][2]string{{"/", "431.0"}}}.run(t, nil, "X-A: 1")
	example{"63 absent", "iis_filter {\n header_limit X-A 0\n}", [][2]string{{"/", "-"}}}.run(t, nil, "X-B: 1")
	leech := "iis_filter {\n rule leech {\n  scan_headers User-agent\n  applies_to .gif\n  deny_strings leech-bot\n }\n}"
	example{"64", leech, [][2]string{{"/a.gif", "404.19"}, {"/a.txt", "-"}}}.run(t, nil, "User-Agent: Leech-Bot/1")
	example{"64 others", leech, [][2]string{{"/a.gif", "-"}}}.run(t, nil, "User-Agent: leech", "Referer: leech-bot")
}

func TestFilterPaths(t *testing.T) {
	for _, e := range []example{
		{"HTTP.sys", "iis_filter {\n verbs deny PUT\n}", [][2]string{
			{"/a%0ab", "400.0"},
			{"/a%0D", "400.0"},
			{"/%00", "400.0"},
			{"/%7f", "400.0"},
			{"/%c2%85", "400.0"},
			{"/%ff", "400.0"},
			{"/%c2%a0", "-"},
			{"PUT /%0a", "400.0"},
			{"/?a=%0a", "-"},
			{"/" + strings.Repeat("a/", 256), "400.0"},
			{"/" + strings.Repeat("a", 261), "400.0"},
			{"/" + strings.Repeat("a", 260), "-"},
			{"http:a", "400.0"},
			{"OPTIONS *", "-"},
			{"http://h/a", "-"},
			{"http://h/%0a", "400.0"},
		}},
		{"as HTTP.sys reads them", "iis_filter {\n hidden_segments bin\n}", [][2]string{
			{`/a\bin\x`, "404.8"},
			{"/a%5cbin/x", "404.8"},
			{"/a%2fbin%2Fx", "404.8"},
			{"/a/../bin/x", "404.8"},
			{"/a/%2e%2e/bin", "404.8"},
			{"/bin/../x", "-"},
			{"/./bin", "404.8"},
			{"//bin", "404.8"},
			{`/x\..\bin`, "404.8"},
			{"http://h/bin", "404.8"},
		}},
		{"as Windows reads them", "iis_filter {\n hidden_segments bin web.config\n file_extensions deny .asa\n}", [][2]string{
			{"/bin./x", "404.8"},
			{"/bin%20/x", "404.8"},
			{"/bin%20.%20./x", "404.8"},
			{"/web.config::$DATA", "404.8"},
			{"/bin:$i30:$INDEX_ALLOCATION/x", "404.8"},
			{"/%20bin/x", "-"},
			{"/x.asa.", "404.7"},
			{"/x.asa::$DATA", "404.7"},
			{"/x.asa%20", "404.7"},
			{"/x.asax", "-"},
			{"/./x.asa", "404.7"},
		}},
		{"all tables of case", "iis_filter {\n hidden_segments bak secret straße\n file_extensions deny .bak\n}", [][2]string{
			{"/ba%E2%84%AA/x", "404.8"}, {"/%C5%BFecret", "404.8"}, {"/x.ba%E2%84%AA", "404.7"}, {"/STRA%E1%BA%9EE", "404.8"}, {"/strasse", "-"},
		}},
		{"path info", "iis_filter {\n file_extensions deny .asa .config\n}", [][2]string{
			{"/x.asa/y", "404.7"}, {"/x.ASA/y.html", "404.7"}, {"/x.asa/", "404.7"}, {"/x.asa.html", "-"}, {"/.config/y", "404.7"}, {"/asa/y", "-"},
		}},
		{"only listed extensions", "iis_filter {\n file_extensions allow .html .\n unlisted_file_extensions deny\n}", [][2]string{
			{"/a.html", "-"},
			{"/A.HTML", "-"},
			{"/a.txt", "404.7"},
			{"/a", "-"},
			{"/", "-"},
			{"/folder/", "-"},
			{"/x.php/a.html", "404.7"},
			{"/v1.2/a.html", "-"},
			{"/.well-known/a.html", "-"},
			{"/a.txt.", "404.7"},
			{"/a.html.", "-"},
			{"/a.html:x.txt", "404.7"},
			{"/a.php::$DATA.html", "404.7"},
		}},
		{"only listed extensions, none has to have one", "iis_filter {\n file_extensions allow .html\n unlisted_file_extensions deny\n}", [][2]string{
			{"/a", "404.7"}, {"/", "404.7"}, {"/folder/", "404.7"}, {"/folder/a.html", "-"}, {"/a.htm%C5%82", "404.7"},
		}},
		{"allowed with one table of case", "iis_filter {\n file_extensions allow .bak\n unlisted_file_extensions deny\n}", [][2]string{{"/x.BAK", "-"}, {"/x.ba%E2%84%AA", "404.7"}}},
		{"no extension", "iis_filter {\n file_extensions deny .\n}", [][2]string{{"/a", "404.7"}, {"/a.b", "-"}, {"/a/b.c", "-"}, {"/a.", "404.7"}, {"/a/", "404.7"}}},
		{"several dots", "iis_filter {\n file_extensions deny .tar.gz\n}", [][2]string{{"/a.tar.gz", "404.7"}, {"/a.gz", "-"}, {"/a.TAR.GZ/x", "404.7"}}},
		{"several dots", "iis_filter {\n deny_several_dots\n}", [][2]string{{"/a.txt", "-"}, {"/v1.2/a.txt", "404.7"}, {"/a%2eb.txt", "404.7"}, {"/x.asp/y.htm", "404.7"}, {"/a?b.c.d", "-"}}},
		{"high bits", "iis_filter {\n deny_high_bit_characters\n}", [][2]string{{"/%C3%A9", "404.12"}, {"/é", "404.12"}, {"/e?%C3%A9", "-"}, {"/%7e", "-"}}},
		{"sequences raw and decoded", "iis_filter {\n deny_url_sequences .. : %3c `\\` <\n}", [][2]string{
			{"/a/../b", "404.5"}, {"/a:b", "404.5"}, {"/a%3ab", "404.5"}, {"/%3C", "404.5"}, {`/a\b`, "404.5"}, {"/a%5Cb", "404.5"}, {"/a.b", "-"},
		}},
		{"sequences after dot segments", "iis_filter {\n deny_url_sequences a/c\n}", [][2]string{{"/a/b/../c", "404.5"}, {"/a//c", "404.5"}, {`/a\c`, "404.5"}, {"/a/./c", "404.5"}, {"/ab/c", "-"}}},
		{"queries", "iis_filter {\n deny_query_string_sequences \"union select\" <\n}", [][2]string{
			{"/?a=union+select", "404.18"}, {"/?a=union%20select", "404.18"}, {"/?a=union%2bselect", "-"}, {"/?%3c", "404.18"}, {"/?%u003c", "404.18"}, {"/?%253c", "-"}, {"/?%", "-"},
		}},
		{"rules", "iis_filter {\n rule r {\n  scan_url\n  scan_query_string\n  deny_strings evil\n }\n}", [][2]string{
			{"/evil", "404.19"}, {"/?e%76il", "404.19"}, {"/e%56il", "404.19"}, {"/?a=%", "404.19"}, {"/?a=%25", "-"}, {"/?a=%zz", "404.19"}, {"/x", "-"},
		}},
		{"rules, percent allowed", "iis_filter {\n rule r {\n  scan_query_string\n  allow_unescaped_percent\n  deny_strings evil\n }\n}", [][2]string{{"/?a=%", "-"}, {"/evil", "-"}, {"/?evil", "404.19"}}},
		{"rules and path info", "iis_filter {\n rule r {\n  scan_query_string\n  applies_to .php .\n  deny_strings evil\n }\n}", [][2]string{
			{"/a.php?evil", "404.19"}, {"/a.php/x.html?evil", "404.19"}, {"/a.html?evil", "-"}, {"/a?evil", "404.19"}, {"/?evil", "404.19"}, {"/b/a.html?evil", "-"}, {"/a.php.?evil", "404.19"},
		}},
		{"limit zero", "iis_filter {\n max_query_string 0\n}", [][2]string{{"/?a", "404.15"}, {"/", "-"}, {"/?", "-"}}},
	} {
		e.run(t, nil)
	}
}

// TestFilterHeaders: what Go keeps apart from other headers counts as well.
func TestFilterHeaders(t *testing.T) {
	for _, c := range []struct {
		config  string
		headers []string
		want    string
	}{
		{"header_limit X-A 5", []string{"X-A: 12345"}, "-"},
		{"header_limit x-a 5", []string{"X-A: 123456"}, "431.0"},
		{"header_limit X-A 5", []string{"x-a: 12", "X-a: 34"}, "431.0"}, // 12, 34
		{"header_limit X-A 6", []string{"x-a: 12", "X-a: 34"}, "-"},
		{"header_limit Host 0", nil, "431.0"},
		{"header_limit Transfer-Encoding 0", []string{"Transfer-Encoding: chunked"}, "431.0"},
		{"header_limit Content-Length 1", []string{"Content-Length: 10"}, "431.0"},
		{"header_limit Trailer 0", []string{"Transfer-Encoding: chunked", "Trailer: X-T"}, "431.0"},
		{"rule r {\n scan_all_raw\n deny_strings x-bad:\n}", []string{"X-Bad: 1"}, "404.19"},
		{"rule r {\n scan_all_raw\n deny_strings evil\n}", []string{"X-Any: Evil"}, "404.19"},
		{"rule r {\n scan_all_raw\n deny_strings \"host: h\"\n}", nil, "404.19"},
		{"rule r {\n scan_all_raw\n deny_strings evil\n}", []string{"X-Any: good"}, "-"},
		{"rule r {\n scan_headers Host\n deny_strings h\n}", nil, "404.19"},
		{"rule r {\n scan_headers X-A x-b\n deny_strings h\n}", []string{"X-B: ha"}, "404.19"},
		{"rule r {\n scan_headers X-A\n deny_strings h\n}", []string{"X-B: ha"}, "-"},
		{"rule r {\n scan_url\n scan_query_string\n deny_strings h\n}", []string{"X-B: ha"}, "-"},
	} {
		if got := answerOf(guard(t, "iis_filter {\n"+c.config+"\n}"), received(t, "/", c.headers...)); got != c.want {
			t.Errorf("%s, %q: %s", c.config, c.headers, got)
		}
	}
}

// TestFilterBothURLs: the client's URL is filtered, and the one that handlers in
// front have made of it.
func TestFilterBothURLs(t *testing.T) {
	h := guard(t, "iis_filter {\n hidden_segments bin\n deny_query_string_sequences bad\n max_url 20\n}")
	for _, c := range []struct{ client, now, want string }{
		{"/x", "/bin/x", "404.8"},
		{"/bin/x", "/x", "404.8"},
		{"/x", "/y", "-"},
		{"/x?bad", "/x", "404.18"},
		{"/x", "/x?bad", "404.18"},
		{"/x", "/" + strings.Repeat("a", 20), "404.14"},
		{"/" + strings.Repeat("a", 20), "/x", "404.14"},
		{"/%0a", "/x", "400.0"},
		{"/x", "/%0a", "400.0"},
	} {
		r := received(t, c.client)
		now, err := url.ParseRequestURI(c.now)
		if err != nil {
			t.Fatal(err)
		}
		*r.URL = *now
		if got := answerOf(h, r); got != c.want {
			t.Errorf("%s, now %s: %s, want %s", c.client, c.now, got, c.want)
		}
	}
	// A raw form that is another path's does not hide what is asked for.
	r := received(t, "/x")
	r.URL.Path, r.URL.RawPath = "/bin/x", "/pub%2Fx"
	if got := answerOf(h, r); got != "404.8" {
		t.Errorf("with another raw form: %s", got)
	}
}

func TestIPSecurityExamples(t *testing.T) {
	from := func(peer string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request {
			r.RemoteAddr = peer
			return prepared(r)
		}
	}
	const only = "iis_ip_security {\n allow 10.1.2.3\n unlisted deny\n}"
	const proxies = "iis_ip_security {\n deny 9.9.9.9\n proxy_mode\n}"
	for _, c := range []struct {
		name, config, peer, forwarded, want string
	}{
		{"49", only, "127.0.0.1:1", "", "403.503"},
		{"49 allowed", only, "10.1.2.3:1", "", "-"},
		{"mapped", only, "[::ffff:10.1.2.3]:1", "", "-"},
		{"zone", "iis_ip_security {\n deny fe80::/10\n}", "[fe80::1%eth0]:1", "", "403.503"},
		{"unreadable", "iis_ip_security {\n deny 1.1.1.1\n}", "@", "", "403.503"},
		{"68", "iis_ip_security {\n deny 127.0.0.0/8\n}", "127.0.0.1:1", "", "403.503"},
		{"69", proxies, "127.0.0.1:1", "9.9.9.9", "403.503"},
		{"69 passes", proxies, "127.0.0.1:1", "1.1.1.1, 2.2.2.2:99, [2001:db8::1]:7, [2001:db8::2]", "-"},
		{"69 in the middle", proxies, "127.0.0.1:1", "1.1.1.1, 9.9.9.9:80 ,2.2.2.2", "403.503"},
		{"69 the peer", proxies, "9.9.9.9:1", "1.1.1.1", "403.503"},
		{"69 mapped", proxies, "127.0.0.1:1", "[::ffff:909:909]:5", "403.503"},
		{"69 unreadable", proxies, "127.0.0.1:1", "1.1.1.1, unknown", "403.503"},
		{"69 empty", proxies, "127.0.0.1:1", "1.1.1.1,,2.2.2.2", "403.503"},
		{"69 no proxy mode", "iis_ip_security {\n deny 9.9.9.9\n}", "127.0.0.1:1", "9.9.9.9", "-"},
		{"first fitting", "iis_ip_security {\n allow 10.1.2.3\n deny 10.0.0.0/8\n allow 10.1.2.4\n}", "10.1.2.4:1", "", "403.503"},
		{"first fitting allows", "iis_ip_security {\n allow 10.1.2.3\n deny 10.0.0.0/8\n}", "10.1.2.3:1", "", "-"},
		{"host bits", "iis_ip_security {\n deny 10.1.2.3/8\n}", "10.9.9.9:1", "", "403.503"},
		{"mapped network", "iis_ip_security {\n deny ::ffff:10.0.0.0/104\n}", "10.9.9.9:1", "", "403.503"},
		{"IPv6", "iis_ip_security {\n deny 2001:db8::/32\n}", "[2001:db8:1::1]:1", "", "403.503"},
		{"unauthorized", "iis_ip_security {\n unlisted deny\n deny_action unauthorized\n}", "1.1.1.1:1", "", "401.503"},
		{"not found", "iis_ip_security {\n unlisted deny\n deny_action not_found\n}", "1.1.1.1:1", "", "404.503"},
	} {
		var headers []string
		if c.forwarded != "" {
			headers = []string{"X-Forwarded-For: " + c.forwarded}
		}
		example{c.name, c.config, [][2]string{{"/", c.want}}}.run(t, from(c.peer), headers...)
	}
	// The lines of a header count together.
	example{"69 lines", proxies, [][2]string{{"/", "403.503"}}}.run(t, from("127.0.0.1:1"), "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 9.9.9.9")
	// Caddy's client address, if it trusts a proxy.
	trusted := func(r *http.Request) *http.Request {
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "9.9.9.9")
		return r
	}
	example{"trusted proxy", "iis_ip_security {\n deny 9.9.9.9\n}", [][2]string{{"/", "403.503"}}}.run(t, trusted)
	example{"trusted proxy in proxy mode", "iis_ip_security {\n deny 127.0.0.1\n proxy_mode\n}", [][2]string{{"/", "403.503"}}}.run(t, trusted)
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("abort does not end the connection")
		}
	}()
	answerOf(guard(t, "iis_ip_security {\n unlisted deny\n deny_action abort\n}"), received(t, "/"))
}

func TestAuthorizationExamples(t *testing.T) {
	as := func(user string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request { return asUser(r, user) }
	}
	for _, c := range []struct{ name, config, user, want string }{
		{"50", "anonymous off", "", "401.2"},
		{"50 known", "anonymous off", "bob", "-"},
		{"51", "deny users ?", "", "401.2"},
		{"70", "deny users fred parent\n allow users fred", "fred", "401.2"},
		{"70 in the other order", "allow users fred\n deny users FRED parent", "fred", "401.2"},
		{"71", "deny users ?\n allow users *", "", "401.2"},
		{"71 known", "deny users ?\n allow users *", "bob", "-"},
		{"no rule fits", "allow users ann", "bob", "401.2"},
		{"only denials", "deny users ann", "bob", "401.2"},
		{"lists", "allow users \"ann, Bob\"", "bob", "-"},
		{"a user of this name is not anonymous", "allow users ?", "?", "401.2"},
		{"a user without a name is", "allow users ?", "", "-"},
		{"verbs", "allow users * verbs GET,HEAD", "bob", "-"},
		{"other verbs", "allow users * verbs POST", "bob", "401.2"},
		{"verbs have a case", "allow users * verbs get", "bob", "401.2"},
		{"denied verb", "allow users *\n deny users * verbs GET", "bob", "401.2"},
		{"denied role", "allow users *\n deny roles Guests", "bob", "401.2"},
		{"denied role, other verb", "allow users *\n deny roles Guests verbs PUT", "bob", "-"},
		{"allowed role", "allow roles Admins", "bob", "401.2"},
		{"user or role", "allow roles Admins users bob", "bob", "-"},
		{"nothing", "anonymous on", "", "-"},
		{"a denied name has any domain", "allow users *\n deny users bob", `CORP\Bob`, "401.2"},
		{"a denied domain's user without", "allow users *\n deny users CORP\\bob", "bob", "401.2"},
		{"a denied domain's user in the other form", "allow users *\n deny users CORP\\bob", "bob@corp.example", "401.2"},
		{"another domain's user", "allow users *\n deny users CORP\\bob", `OTHER\bob`, "-"},
		{"an allowed name has its domain", "allow users bob", `CORP\bob`, "401.2"},
		{"K (U+212A) is denied as k", "allow users *\n deny users kim", "\u212aim", "401.2"},
		{"K (U+212A) is not allowed as k", "allow users kim", "\u212aim", "401.2"},
	} {
		example{c.name, "iis_authorization {\n" + c.config + "\n}", [][2]string{{"/", c.want}}}.run(t, as(c.user))
	}
}

func TestRedirectExamples(t *testing.T) {
	for _, e := range []example{
		{"72", "iis_redirect http://new.example", [][2]string{
			{"/a/b?c=1", "302 http://new.example/a/b?c=1"},
			{"/", "302 http://new.example/"},
			{"/a%20b%3fc", "302 http://new.example/a%20b%3fc"},
			{"/@evil.example", "302 http://new.example/@evil.example"},
			{"//evil.example/x", "302 http://new.example/evil.example/x"},
			{`/\evil.example`, "302 http://new.example/evil.example"},
			{"/%0d%0aX:1", "-"},
			{"/é", "302 http://new.example/%C3%A9"},
			{"/a?b=\"<é", "302 http://new.example/a?b=%22%3C%C3%A9"},
			{"OPTIONS *", "-"},
		}},
		{"73", "iis_redirect http://new.example$V$Q {\n exact_destination\n}", [][2]string{{"/a/b?c=1", "302 http://new.example/a/b?c=1"}, {"/a", "302 http://new.example/a"}}},
		{"74", "iis_redirect /sub/ {\n at /old\n status 301\n}", [][2]string{
			{"/old/a.txt", "301 /sub/a.txt"},
			{"/OLD/a.txt", "301 /sub/a.txt"},
			{"/old", "301 /sub/"},
			{"/old/", "301 /sub/"},
			{"/older/a.txt", "-"},
			{"/a.txt", "-"},
			{"/x/../old/a.txt", "301 /sub/a.txt"},
			{"/ol%64/a%20b", "301 /sub/a%20b"},
			{"/old%2Fa.txt", "301 /sub/a.txt"},
			{"/old?x", "301 /sub/?x"},
		}},
		{"75", "iis_redirect /sub/ {\n child_only\n status 307\n}", [][2]string{{"/t.txt", "307 /sub/t.txt"}, {"/sub/a.txt", "-"}, {"/sub/", "-"}, {"/", "307 /sub/"}}},
		{"76", "iis_redirect - {\n exact_destination\n wildcard *.php /default.htm\n}", [][2]string{{"/x/y.php", "302 /default.htm"}, {"/X.PHP?a", "302 /default.htm"}, {"/x.html", "-"}, {"/x.php/y", "-"}}},
		{"exact without variables", "iis_redirect http://new.example/x {\n exact_destination\n}", [][2]string{{"/a?b", "302 http://new.example/x"}}},
		{"variables without exact", "iis_redirect http://new.example/y$S?from=$V&$P {\n at /old\n status 308\n}", [][2]string{
			{"/old/a/b?c=1", "308 http://new.example/y/a/b?from=/old/a/b&c=1"}, {"/old", "308 http://new.example/y?from=/old&"},
		}},
		{"wildcards", "iis_redirect http://new.example {\n exact_destination\n wildcard /keep/* !\n wildcard /p/*/q/* /n/$1/$0/$2\n wildcard /p/* /m$0$\n}", [][2]string{
			{"/keep/a", "-"}, {"/p/a%20b/q/c/d", "302 /n/c/d/a%20b/"}, {"/P/x", "302 /mx$"}, {"/z", "302 http://new.example"}, {"/keep", "302 http://new.example"},
		}},
		{"wildcards take little", "iis_redirect - {\n exact_destination\n wildcard /*a*a /$0-$1\n}", [][2]string{{"/xayaza", "302 /x-yaz"}, {"/a", "-"}, {"/aa", "302 /-"}}},
		{"a pattern without asterisk", "iis_redirect - {\n exact_destination\n wildcard /a /b\n}", [][2]string{{"/A", "302 /b"}, {"/ab", "-"}, {"/", "-"}}},
		{"captures of all letters", "iis_redirect - {\n exact_destination\n wildcard /İ*ß /x$0\n}", [][2]string{{"/%C4%B0%C3%89%C3%9F", "302 /x%C3%89"}}},
		{"wildcards that are not exact", "iis_redirect - {\n wildcard *.asp http://new.example/asp\n}", [][2]string{{"/a/b.asp?c", "302 http://new.example/asp/a/b.asp?c"}}},
		{"no host of the client", "iis_redirect - {\n exact_destination\n wildcard /p/* $V\n wildcard /q/* /$P\n wildcard /h/* http://new.example$0\n wildcard /r/* /$0\n}", [][2]string{
			{"/p//evil.example", "302 /p/evil.example"},
			{"/q/?/evil.example", "302 /evil.example"},
			{`/q/?\evil.example`, "302 /evil.example"},
			{"/q/?//evil.example", "302 /evil.example"},
			{"/h/@evil.example", "302 http://new.example/@evil.example"},
			{"/h/.evil.example", "302 http://new.example/.evil.example"},
			{"/h/:80@evil.example", "302 http://new.example/:80@evil.example"},
			{"/r/%2Fevil.example", "302 /evil.example"},
			{"/r//evil.example", "302 /evil.example"},
			{`/r/%5cevil.example`, "302 /evil.example"},
		}},
	} {
		e.run(t, nil)
	}
	// Application Request Routing takes what a rule has sent to another server behind redirects.
	proxied := func(r *http.Request) *http.Request {
		caddyhttp.SetVar(r.Context(), proxyTargetVar, "somewhere")
		return r
	}
	example{"sent to another server", "iis_redirect http://new.example", [][2]string{{"/a", "302 http://new.example/a"}}}.run(t, proxied)
}
