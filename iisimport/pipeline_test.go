package iisimport_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

var (
	pipelineRounds = flag.Int("pipeline.rounds", 2, "how many servers TestPipeline makes")
	pipelineSeed   = flag.Int("pipeline.seed", 1, "the seed of the first one")
)

const pipelineSites = 30 // of a server

// pipelineSite is a generated site.
type pipelineSite struct {
	*ownSite
	model *model
}

var pipelinePaths = []string{"/sub", "/sub/sub2", "/private", "/img", "/img/sub", "/shop", "/shop/private"}

// generateSite makes a site of combinations of all that guards contents.
func generateSite(t *rapid.T) pipelineSite {
	s := &ownSite{webs: make(map[string]string)}
	m := &model{levels: make(map[string]*level), files: slices.Concat(siteFiles, ownFiles)}
	m.shop, m.otherApp, m.img = rapid.Bool().Draw(t, "shop"), rapid.Bool().Draw(t, "pool"), rapid.Bool().Draw(t, "img")
	if m.shop {
		pool := "main"
		if m.otherApp {
			pool = "other"
		}
		s.apps = append(s.apps, ownApp{path: "/shop", pool: pool})
	}
	if m.img {
		s.apps = append(s.apps, ownApp{path: "/img"})
	}
	root := generateLevel(t, "/")
	m.levels["/"] = root
	locations := ""
	for _, p := range pipelinePaths {
		if rapid.IntRange(0, 2).Draw(t, "level "+p) > 0 || strings.HasPrefix(p, "/img") && !m.img || strings.HasPrefix(p, "/shop") && !m.shop {
			continue
		}
		l := generateLevel(t, p)
		m.levels[p] = l
		if !strings.HasPrefix(p, "/img") && !strings.HasPrefix(p, "/shop") && rapid.Bool().Draw(t, "location "+p) {
			locations += fmt.Sprintf("<location path=%q><system.webServer>%s</system.webServer></location>\n", p[1:], l.xml)
			continue
		}
		s.webs[p] = "<configuration><system.webServer>" + l.xml + "</system.webServer></configuration>"
	}
	s.webs["/"] = "<configuration><system.webServer>" + root.xml + "</system.webServer>\n" + locations + "</configuration>"
	return pipelineSite{s, m}
}

// named gives the site its name, and the web.config files their folders.
func (s *pipelineSite) named(name string) {
	s.name, s.folder = name, name
	for i := range s.apps {
		s.apps[i].folder = name + "__" + s.apps[i].path[1:]
	}
	webs := make(map[string]string)
	for p, text := range s.webs {
		folder := name + strings.TrimSuffix(p, "/")
		for _, app := range s.apps {
			if below(p, app.path) {
				folder = app.folder + p[len(app.path):]
			}
		}
		webs[folder] = text
	}
	s.webs = webs
}

// generateLevel makes the settings of a path.
func generateLevel(t *rapid.T, at string) *level {
	l := new(level)
	security := generateFilter(t, l) + generateAddresses(t, l) + generateAccounts(t, l)
	l.xml = "<security>" + security + "</security>\n" + generateRules(t, l, at) + generateContents(t, l, at)
	return l
}

// sometimes is true in one of n cases.
func sometimes(t *rapid.T, what string, n int) bool { return rapid.IntRange(1, n).Draw(t, what) == 1 }

func (l *level) does(change func(*inForce)) { l.change = append(l.change, change) }

// unique adds to a list; what is there already is a fault.
func unique(s *inForce, list *[]string, v string) {
	s.fault = s.fault || slices.Contains(*list, v)
	*list = append(slices.Clip(*list), v)
}

func generateFilter(t *rapid.T, l *level) string {
	var segments, extensions, verbs, urls, queries string
	for _, v := range []string{"private", "sub2", "css", "shop"} {
		if sometimes(t, "segment "+v, 25) {
			segments += fmt.Sprintf("<add segment=%q />", v)
			l.does(func(s *inForce) { unique(s, &s.segments, v) })
		}
	}
	unlisted := ""
	if sometimes(t, "unlisted extensions", 30) {
		unlisted = ` allowUnlisted="false"`
		l.does(func(s *inForce) { s.unlistedExt = false })
	}
	for _, v := range []string{".txt", ".html", ".php", ".htm"} {
		if sometimes(t, "extension "+v, 25) {
			allowed := rapid.Bool().Draw(t, "allowed")
			extensions += fmt.Sprintf(`<add fileExtension=%q allowed="%t" />`, v, allowed)
			l.does(func(s *inForce) {
				_, have := s.extensions[v]
				s.fault = s.fault || have
				s.extensions[v] = allowed
			})
		}
	}
	if sometimes(t, "verb", 15) {
		allowed := rapid.Bool().Draw(t, "allowed verb")
		verbs = fmt.Sprintf(`<verbs allowUnlisted="true"><add verb="POST" allowed="%t" /></verbs>`, allowed)
		l.does(func(s *inForce) {
			_, have := s.verbs["POST"]
			s.fault, s.unlistedVerbs = s.fault || have, true
			s.verbs["POST"] = allowed
		})
	}
	if sometimes(t, "url text", 20) {
		urls = `<denyUrlSequences><add sequence="ticle" /></denyUrlSequences>`
		l.does(func(s *inForce) { unique(s, &s.urlTexts, "ticle") })
	}
	if sometimes(t, "query text", 12) {
		queries = `<denyQueryStringSequences><add sequence="evil" /></denyQueryStringSequences>`
		l.does(func(s *inForce) { unique(s, &s.queryTexts, "evil") })
	}
	return "<requestFiltering><hiddenSegments>" + segments + "</hiddenSegments><fileExtensions" + unlisted + ">" + extensions +
		"</fileExtensions>" + verbs + urls + queries + "</requestFiltering>\n"
}

func generateAddresses(t *rapid.T, l *level) string {
	if !sometimes(t, "addresses", 10) {
		return ""
	}
	attr, entries := "", ""
	if rapid.Bool().Draw(t, "unlisted") {
		deny := rapid.Bool().Draw(t, "deny unlisted")
		attr = fmt.Sprintf(` allowUnlisted="%t"`, !deny)
		l.does(func(s *inForce) { s.denyUnlisted = deny })
	}
	for _, e := range []struct{ prefix, address, mask string }{
		{"127.0.0.1/32", "127.0.0.1", "255.255.255.255"}, {"127.0.0.0/8", "127.0.0.0", "255.0.0.0"}, {"10.0.0.0/8", "10.0.0.0", "255.0.0.0"},
	} {
		if rapid.Bool().Draw(t, "no "+e.prefix) {
			continue
		}
		allow := rapid.Bool().Draw(t, "allow")
		entries += fmt.Sprintf(`<add ipAddress=%q subnetMask=%q allowed="%t" />`, e.address, e.mask, allow)
		l.does(func(s *inForce) {
			prefix := netip.MustParsePrefix(e.prefix)
			s.fault = s.fault || slices.ContainsFunc(s.addresses, func(old modelEntry) bool { return old.prefix == prefix })
			s.addresses = append(slices.Clip(s.addresses), modelEntry{prefix, allow})
		})
	}
	return "<ipSecurity" + attr + ">" + entries + "</ipSecurity>\n"
}

func generateAccounts(t *rapid.T, l *level) (text string) {
	if sometimes(t, "anonymous", 10) {
		off := rapid.Bool().Draw(t, "off")
		text = fmt.Sprintf(`<authentication><anonymousAuthentication enabled="%t" /></authentication>`, !off)
		l.does(func(s *inForce) { s.noAnonymous = off })
	}
	list := ""
	if sometimes(t, "clear", 40) {
		list = "<clear />"
		l.does(func(s *inForce) { s.authorization = nil })
	}
	for _, a := range []modelAuth{{false, "?", ""}, {false, "*", "POST"}, {true, "bob", ""}, {true, "?", "GET"}} {
		if !sometimes(t, "authorization", 40) {
			continue
		}
		kind := "Deny"
		if a.allow {
			kind = "Allow"
		}
		list += fmt.Sprintf(`<add accessType=%q users=%q verbs=%q />`, kind, a.users, a.verb)
		l.does(func(s *inForce) {
			s.fault = s.fault || slices.ContainsFunc(s.authorization, func(old modelAuth) bool { return old.users == a.users && old.verb == a.verb })
			s.authorization = append(slices.Clip(s.authorization), a)
		})
	}
	if list != "" {
		text += "<authorization>" + list + "</authorization>"
	}
	return text + "\n"
}

var (
	pipelinePatterns   = []string{`^article`, `^go$`, `^sub/(.*)`, `(.*)`, `^private/`, `\.txt$`, `^[^/]+$`, `^shop/`, `^img/(.*)$`, `^(.*)\.old$`, `^a\.`, `^secret`}
	pipelineRewrites   = []string{"/private/x.txt", "/sub/", "a.html", "sub/a.txt", "/shop/a.html", "/img/article.txt", "{R:1}", "/x.php?p={R:0}", "/key.pem", "/private", "/", "http://127.0.0.1:21990/up", "http://127.0.0.1:21990/private/up"}
	pipelineConditions = map[string]string{
		"":        "",
		"file":    `<add input="{REQUEST_FILENAME}" matchType="IsFile" />`,
		"no file": `<add input="{REQUEST_FILENAME}" matchType="IsFile" negate="true" />`,
		"query":   `<add input="{QUERY_STRING}" pattern="go" />`,
		"header":  `<add input="{HTTP_X_A}" pattern="^1$" />`,
	}
)

func generateRules(t *rapid.T, l *level, at string) string {
	text := ""
	for i := range rapid.IntRange(0, 2).Draw(t, "rules") {
		r := modelRule{
			name: fmt.Sprintf("%s %d", at, i), base: at, pattern: rapid.SampledFrom(pipelinePatterns).Draw(t, "pattern"),
			condition: rapid.SampledFrom([]string{"", "", "", "file", "no file", "query", "header"}).Draw(t, "condition"),
			stop:      rapid.Bool().Draw(t, "stop"), negate: sometimes(t, "negate", 8),
			action: rapid.SampledFrom([]string{"Rewrite", "Rewrite", "Rewrite", "Rewrite", "Redirect", "Redirect", "CustomResponse", "AbortRequest", "None", "None"}).Draw(t, "action"),
		}
		attr := ""
		switch r.action {
		case "Rewrite":
			r.url = rapid.SampledFrom(pipelineRewrites).Draw(t, "url")
			if r.url == "{R:1}" && (r.negate || !strings.Contains(r.pattern, "(")) {
				r.url = "{R:0}"
			}
			attr = fmt.Sprintf(" url=%q", r.url)
		case "Redirect":
			r.url = "/r/{R:0}"
			attr = fmt.Sprintf(` url=%q redirectType="Found" appendQueryString="false"`, r.url)
		case "CustomResponse":
			attr = ` statusCode="410"`
		}
		text += fmt.Sprintf(`<rule name=%q stopProcessing="%t"><match url=%q negate="%t" /><conditions>%s</conditions><action type=%q%s /></rule>`+"\n",
			r.name, r.stop, "PATTERN", r.negate, pipelineConditions[r.condition], r.action, attr)
		text = strings.Replace(text, "PATTERN", r.pattern, 1)
		l.does(func(s *inForce) { s.rules = append(slices.Clip(s.rules), r) })
	}
	if text == "" {
		return ""
	}
	return "<rewrite><rules>" + text + "</rules></rewrite>\n"
}

// generateContents makes handlers, types and default documents.
func generateContents(t *rapid.T, l *level, at string) (text string) {
	if sometimes(t, "php", 5) {
		text += fmt.Sprintf(`<handlers><add name="php %s" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php.exe" /></handlers>`+"\n", at)
		l.does(func(s *inForce) { s.php = true })
	} else if at != "/" && sometimes(t, "core", 10) {
		text += fmt.Sprintf(`<handlers><add name="core %s" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="dotnet" />`+"\n", at)
		l.does(func(s *inForce) { s.core = true })
	}
	if sometimes(t, "types", 10) {
		text += `<staticContent><remove fileExtension=".txt" /></staticContent>` + "\n"
		l.does(func(s *inForce) { s.noType = append(slices.Clip(s.noType), ".txt") })
	}
	if sometimes(t, "documents", 6) {
		docs := rapid.SampledFrom([][]string{{"a.txt"}, {"x.php", "index.html"}, {"a.html", "index.html"}}).Draw(t, "list")
		text += "<defaultDocument><files><clear />"
		for _, d := range docs {
			text += fmt.Sprintf("<add value=%q />", d)
		}
		text += "</files></defaultDocument>\n"
		l.does(func(s *inForce) { s.documents = docs })
	}
	return text
}

// pipelineTargets are asked of each site.
var pipelineTargets = strings.Fields(`/ /index.html /INDEX.htm /article.txt /go /go?go /x.old /x.php /x.php/a.txt /key.pem /a.html /a.html?evil /web.config
	/sub /sub/ /sub/a.txt /SUB/A.TXT /sub%2Fa.txt /sub\a.txt //sub//a.txt /css/../sub/a.txt /sub/x.php /sub/sub2/ /sub/sub2/a.txt /sub/a.txt?go
	/private /private/ /private/x.txt /PRIVATE/x.txt /private%5Cx.txt /sub/%2e%2e/private/x.txt /pr%69vate/x.txt /private/web.config
	/css/a.css /dir /dir/ /dir/a.txt /a+b.txt /a%252e.txt /nope /secret/a.txt
	/shop /shop/ /shop/a.html /SHOP/article.txt /shop/private/x.txt /shop/private/ /shop%2Fprivate%2Fx.txt /shop/go /shop/x.php /shop/sub/a.txt
	/img /img/ /img/a.html /img/sub/a.txt /img/sub/ /IMG\SUB\a.txt /img/private/x.txt /img/x.php /img/key.pem`)

// TestPipeline compares sites of generated combinations of guards, rules, applications and
// handlers with a model of IIS: what IIS refuses is refused, and what both serve is the same.
func TestPipeline(t *testing.T) {
	needs.Fixtures(t) // for the frame
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "UPSTREAM "+r.URL.Path) }))
	defer upstream.Close()
	generator := rapid.Custom(generateSite)
	asked, refused, right, closed, wrong := 0, 0, 0, 0, 0
	for round := range *pipelineRounds {
		var sites []pipelineSite
		var own []*ownSite
		for i := range pipelineSites {
			s := generator.Example((*pipelineSeed+round)*pipelineSites + i)
			s.named(fmt.Sprintf("s%d", i))
			sites, own = append(sites, s), append(own, s.ownSite)
			if i%2 == 0 { // one that is like it, so that both have a template
				twin := generator.Example((*pipelineSeed+round)*pipelineSites + i)
				twin.named(fmt.Sprintf("t%d", i))
				own = append(own, twin.ownSite)
			}
		}
		t.Run(fmt.Sprintf("seed %d", *pipelineSeed+round), func(t *testing.T) {
			serveOwnSites(t, own, upstream.Listener.Addr().String())
			for _, s := range sites {
				shown := false
				for _, target := range pipelineTargets {
					for _, how := range []string{"GET", "GET 1", "POST"} {
						method, header, _ := strings.Cut(how, " ")
						if header != "" && !strings.Contains(fmt.Sprint(s.webs), "HTTP_X_A") {
							continue
						}
						q := ownRequest{method: method, path: target, headers: []string{"X-A: " + header}}
						status, location, body, err := q.do(s.addr)
						if err != nil {
							t.Fatal(err)
						}
						want, got := s.model.answer(method, target, header), "refused"
						switch {
						case strings.HasPrefix(status, "3"):
							got = status + " " + location
						case status < "4":
							got = status + " " + body
						}
						asked++
						switch {
						case want == "refused" && got == "refused":
							refused++
						case want == got:
							right++
						case got == "refused":
							closed++
							if testing.Verbose() {
								t.Logf("%s %s %s: closed (%s), want %s", s.name, how, target, status, want)
							}
						default:
							wrong++
							if !shown {
								t.Errorf("%s %s %s: %s, want %s\n%v", s.name, how, target, got, want, s.webs)
								shown = true
							}
						}
					}
				}
			}
		})
	}
	t.Logf("%d asked: %d refused by both, %d served right, %d closed, %d wrong", asked, refused, right, closed, wrong)
	if wrong > 0 || closed*20 > right+closed {
		t.Errorf("%d wrong, %d closed of %d that IIS serves", wrong, closed, right+closed)
	}
}
