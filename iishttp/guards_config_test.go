package iishttp

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestGuardsRefuseCaddyfiles: what is not understood is an error with its line.
func TestGuardsRefuseCaddyfiles(t *testing.T) {
	for text, want := range map[string]string{
		"iis_filter x":                                                             "wrong argument count",
		"iis_filter {\n max_url\n}":                                                "max_url needs a number of bytes",
		"iis_filter {\n max_url -1\n}":                                             "max_url needs a number of bytes",
		"iis_filter {\n max_url 1 2\n}":                                            "max_url needs a number of bytes",
		"iis_filter {\n max_url 9223372036854775808\n}":                            "max_url needs a number of bytes",
		"iis_filter {\n max_url 1\n max_url 2\n}":                                  "max_url is there twice",
		"iis_filter {\n max_content_length 30MB\n}":                                "needs a number of bytes",
		"iis_filter {\n max_url 5 {\n  x\n }\n}":                                   "max_url has no block",
		"iis_filter {\n allow_double_escaping on\n}":                               "stands alone",
		"iis_filter {\n header_limit X-A\n}":                                       "header_limit needs",
		"iis_filter {\n header_limit \"X A\" 5\n}":                                 "not the name of a header",
		"iis_filter {\n header_limit X-A x\n}":                                     "header_limit X-A needs a number",
		"iis_filter {\n header_limit X-A 1\n header_limit X-A 2\n}":                "is there twice",
		"iis_filter {\n header_limit X-A 1\n header_limit x-a 2\n}":                "X-A is there twice",
		"iis_filter {\n verbs GET\n}":                                              "verbs needs allow or deny",
		"iis_filter {\n verbs allow\n}":                                            "verbs needs allow or deny",
		"iis_filter {\n verbs allow GET\n verbs deny GET\n}":                       "GET is both allowed and denied",
		"iis_filter {\n verbs deny \"\"\n}":                                        "a verb is empty",
		"iis_filter {\n unlisted_verbs\n}":                                         "unlisted_verbs needs allow or deny",
		"iis_filter {\n unlisted_verbs off\n}":                                     "unlisted_verbs needs allow or deny",
		"iis_filter {\n file_extensions deny bak\n}":                               "extension \"bak\"",
		"iis_filter {\n file_extensions deny .a/b\n}":                              "extension \".a/b\"",
		"iis_filter {\n file_extensions allow .bak\n file_extensions deny .BAK\n}": ".bak is both allowed and denied",
		"iis_filter {\n hidden_segments\n}":                                        "hidden_segments needs arguments",
		"iis_filter {\n hidden_segments a/b\n}":                                    "\"a/b\" is not a segment",
		"iis_filter {\n hidden_segments \"\"\n}":                                   "\"\" is not a segment",
		"iis_filter {\n deny_url_sequences \"\"\n}":                                "an empty text is in everything",
		"iis_filter {\n deny_query_string_sequences a \"\"\n}":                     "an empty text is in everything",
		"iis_filter {\n both_urls\n}":                                              "unknown word \"both_urls\"",
		"iis_filter {\n rule\n}":                                                   "rule needs a name",
		"iis_filter {\n rule a b {\n }\n}":                                         "rule needs a name",
		"iis_filter {\n rule a {\n  scan_url on\n }\n}":                            "stands alone",
		"iis_filter {\n rule a {\n  deny_strings\n }\n}":                           "deny_strings needs arguments",
		"iis_filter {\n rule a {\n  deny_strings \"\"\n }\n}":                      "rule 1 \"a\": deny_strings: an empty text",
		"iis_filter {\n rule a {\n  scan_headers \"x y\"\n }\n}":                   "scan_headers: \"x y\" is not",
		"iis_filter {\n rule a {\n  applies_to gif\n }\n}":                         "applies_to: extension \"gif\"",
		"iis_filter {\n rule a {\n  scan\n }\n}":                                   "rule a: unknown word \"scan\"",
		"iis_ip_security x":                                                        "wrong argument count",
		"iis_ip_security {\n allow\n}":                                             "allow needs arguments",
		"iis_ip_security {\n deny example.com\n}":                                  "entry 1: \"example.com\" is neither",
		"iis_ip_security {\n deny 1.1.1.1\n allow 10.0.0.0/33\n}":                  "entry 2: \"10.0.0.0/33\" is neither",
		"iis_ip_security {\n deny 10.0.0.0/255.0.0.0\n}":                           "is neither",
		"iis_ip_security {\n deny fe80::1%eth0\n}":                                 "has a zone",
		"iis_ip_security {\n deny ::ffff:0.0.0.0/90\n}":                            "write two networks",
		"iis_ip_security {\n unlisted\n}":                                          "unlisted needs allow or deny",
		"iis_ip_security {\n deny_action\n}":                                       "deny_action needs",
		"iis_ip_security {\n deny_action refuse\n}":                                "deny_action \"refuse\"",
		"iis_ip_security {\n proxy_mode on\n}":                                     "stands alone",
		"iis_ip_security {\n reverse_dns\n}":                                       "unknown word",
		"iis_authorization x":                                                      "wrong argument count",
		"iis_authorization {\n anonymous\n}":                                       "anonymous needs on or off",
		"iis_authorization {\n anonymous no\n}":                                    "anonymous needs on or off",
		"iis_authorization {\n allow\n}":                                           "a rule names users or roles",
		"iis_authorization {\n deny verbs GET\n}":                                  "a rule names users or roles",
		"iis_authorization {\n allow users\n}":                                     "\"users\" of a rule needs a list",
		"iis_authorization {\n allow users \",\"\n}":                               "users names nobody",
		"iis_authorization {\n allow user bob\n}":                                  "unknown word \"user\"",
		"iis_authorization {\n parent\n}":                                          "unknown word \"parent\"",
		"iis_redirect":                                                             "needs a destination",
		"iis_redirect a b":                                                         "needs a destination",
		"iis_redirect -":                                                           "there is no destination",
		"iis_redirect http://a {\n status 303\n}":                                  "status 303",
		"iis_redirect http://a {\n status x\n}":                                    "is no number",
		"iis_redirect http://a {\n status\n}":                                      "wrong number of arguments of status",
		"iis_redirect http://a {\n at old\n}":                                      "begins with a slash",
		"iis_redirect http://a {\n at \"/a\x01\"\n}":                               "at \"/a\\x01\"",
		"iis_redirect http://a {\n wildcard *\n}":                                  "wrong number of arguments of wildcard",
		"iis_redirect http://a {\n wildcard * \"\"\n}":                             "wildcard 1 needs",
		"iis_redirect http://a {\n exact\n}":                                       "unknown word",
		"iis_redirect http://$P":                                                   "would be the scheme or the host",
		"iis_redirect $P":                                                          "would be the scheme or the host",
		"iis_redirect http:$V":                                                     "would be the scheme or the host",
		"iis_redirect //$S":                                                        "would be the scheme or the host",
		"iis_redirect http://u@$P":                                                 "would be the scheme or the host",
		"iis_redirect http:///x":                                                   "has no host",
		"iis_redirect - {\n wildcard * $0\n}":                                      "wildcard 1: destination $0",
		"iis_redirect - {\n wildcard a /b\n wildcard * https://$0.example\n}":      "wildcard 2: destination https://$0",
		"iis_redirect - {\n wildcard * javascript:$0\n}":                           "would be the scheme or the host",
	} {
		if _, err := newGuard(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestGuardsRefuseJSON: what only JSON can say is refused as well.
func TestGuardsRefuseJSON(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for _, c := range []struct{ module, config, want string }{
		{"iis_filter", `{"max_url": -1}`, "iis_filter: max_url -1 is negative"},
		{"iis_filter", `{"header_limits": {"X-A": -1}}`, "iis_filter: header_limit: X-A: -1 is negative"},
		{"iis_ip_security", `{"entries": [{"allow": true}]}`, "iis_ip_security: entry 1 has no address"},
		{"iis_authorization", `{"rules": [{"users": ["a"]}, {"verbs": ["GET"]}]}`, "iis_authorization: rule 2 names neither users nor roles"},
		{"iis_authorization", `{"rules": [{"users": [""]}]}`, "iis_authorization: rule 1 has an empty name"},
		{"iis_redirect", `{}`, "iis_redirect: there is no destination"},
	} {
		h := guardModules[c.module]()
		if err := json.Unmarshal([]byte(c.config), h); err != nil {
			t.Fatal(err)
		}
		if err := h.(caddy.Provisioner).Provision(ctx); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: %v", c.module, c.config, err)
		}
	}
}

// TestRefusalsTellNothing: a reason has no value of a header, and not much of a
// path.
func TestRefusalsTellNothing(t *testing.T) {
	h := guard(t, "iis_filter {\n header_limit Authorization 5\n hidden_segments "+strings.Repeat("a", 250)+"\n rule r {\n  scan_headers Cookie\n  deny_strings secret\n }\n}")
	for _, r := range []*http.Request{
		received(t, "/", "Authorization: secret"), received(t, "/", "Cookie: secret"), received(t, "/"+strings.Repeat("a", 250)),
	} {
		err := h.ServeHTTP(nil, r, nil)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), strings.Repeat("a", maxQuoted+1)) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzGuardCaddyfile(f *testing.F) {
	f.Add("iis_filter {\n verbs deny TRACE\n rule a {\n  scan_url\n  deny_strings x\n }\n header_limit a 1\n}", "/a%20b?c")
	f.Add("iis_ip_security {\n allow 10.0.0.0/8\n deny ::1\n unlisted deny\n proxy_mode\n}", "/")
	f.Add("iis_authorization {\n anonymous off\n allow users a,b roles c verbs GET parent\n}", "*")
	f.Add("iis_redirect http://a$V$Q {\n at /x\n wildcard *.a* /$0$1\n child_only\n}", "/x/y.abc?d")
	f.Fuzz(func(t *testing.T, config, target string) {
		if fields := strings.Fields(config); len(fields) == 0 || guardModules[fields[0]] == nil {
			return
		}
		if _, err := caddyfile.Tokenize([]byte(config), "Caddyfile"); err != nil {
			return
		}
		h, err := newGuard(config)
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		if got := answerOf(h, prepared(r)); strings.Contains(got, "next handler was asked") || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%s: %s", config, got)
		}
	})
}

// FuzzFilterPath: no spelling of a path leads past the filter to what a file
// server or another server would find behind it.
func FuzzFilterPath(f *testing.F) {
	for _, target := range []string{"/bin", "/a/../BIN/", "/%62in.", `/a\bin::$DATA`, "//bin%20", "/x/%2e%2e/b%69n;x"} {
		f.Add(target)
	}
	h := guard(f, "iis_filter {\n hidden_segments bin\n}").(*Filter)
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: "GET", URL: u, Header: http.Header{}, RemoteAddr: "127.0.0.1:1"}
		if answerOf(h, prepared(r)) != "-" {
			return
		}
		for part := range strings.SplitSeq(strings.ReplaceAll(caddyhttp.CleanPath(strings.ReplaceAll(u.Path, `\`, "/"), true), ":", "/"), "/") {
			if strings.EqualFold(strings.TrimRight(part, " ."), "bin") && !strings.Contains(u.Path, ":") {
				t.Errorf("%s passes", target)
			}
		}
	})
}

// iisDefault is what applicationHost.config of IIS with ASP.NET filters.
const iisDefault = `iis_filter {
	hidden_segments web.config bin App_code App_GlobalResources App_LocalResources App_WebReferences App_Data App_Browsers
	file_extensions deny .asa .asax .ascx .master .skin .browser .sitemap .config .cs .csproj .vb .vbproj .webinfo .licx .resx .resources .mdb .vjsproj
	file_extensions deny .java .jsl .ldb .dsdgm .ssdgm .lsad .ssmap .cd .dsprototype .lsaprototype .sdm .sdmDocument .mdf .ldf .ad .dd .ldd .sd .adprototype
	file_extensions deny .lddprototype .exclude .refresh .compiled .msgx .vsdisco .rules
}`

func BenchmarkFilter(b *testing.B) {
	h := guard(b, iisDefault)
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for name, target := range map[string]string{
		"short": "/", "usual": "/shop/products/Item-4711.aspx?category=5&sort=price", "deep": "/" + strings.Repeat("Folder%20Name/", 30) + "Überschrift.html?" + strings.Repeat("a=%20&", 50),
	} {
		b.Run(name, func(b *testing.B) {
			r := received(b, target)
			b.ReportAllocs()
			for b.Loop() {
				if err := h.ServeHTTP(nil, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFilterAllocations: what the filter allocates does not grow with requests or
// lists.
func TestFilterAllocations(t *testing.T) {
	h := guard(t, iisDefault)
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	r := received(t, "/shop/products/Item-4711.aspx?category=5&sort=price")
	if n := testing.AllocsPerRun(1000, func() {
		if err := h.ServeHTTP(nil, r, next); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations a request", n)
	}
}
