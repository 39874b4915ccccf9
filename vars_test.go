package caddyiis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestSiteVars: sites with a folder and an upstream of their own share a template;
// what they may name is bounded.
func TestSiteVars(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(folder, name, "index.html"), []byte(name))
	}
	upstream := ts.FreePort(t)
	l := startLive(t, "", fmt.Sprintf(`
		template files {
			site_vars {
				root {
					below %[1]s
				}
				color none
			}
			header Color {iis.vars.color}
			root * {iis.vars.root}
			file_server
		}
		template proxy {
			site_vars {
				upstream {
					to 127.0.0.0/30:%[2]d localhost 10.0.0.5
				}
			}
			reverse_proxy {iis.vars.upstream}
		}
		template mapped {
			site_vars {
				kind a
			}
			map {iis.vars.kind} {to} {
				a 127.0.0.1:%[2]d
				~^b 127.0.0.2:%[2]d
			}
			reverse_proxy {to}
		}
		site 3 Upstream {
			server_bindings 127.0.0.1:%[2]d:
			site_vars {
				text "{iis.site.id} stays"
			}
			respond {iis.vars.text}
		}
		site 4 Own {
			server_bindings 127.0.0.1:%[2]d:own.test
			template files
			site_vars root %[1]s/two
		}
	`, folder, upstream))
	row := func(template, vars string) string {
		return fmt.Sprintf(`{"server_bindings":[":%d:%s.test"],"template":%q,"vars":%s}`, l.plain, template, template, vars)
	}
	get := func(host string, port int) *ts.Answer {
		t.Helper()
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host, Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	l.want(201, "PUT", "sites/10", row("files", fmt.Sprintf(`{"root":"%s/one"}`, folder)))
	if a := get("files.test", l.plain); a.Body != "one" || a.Header.Get("Color") != "none" {
		t.Errorf("got %v %v", a, a.Header)
	}
	l.want(200, "PATCH", "sites/10", fmt.Sprintf(`{"vars":{"root":"%s/two/","color":"{iis.site.id}"}}`, folder))
	if a := get("files.test", l.plain); a.Body != "two" || a.Header.Get("Color") != "{iis.site.id}" {
		t.Errorf("got %v %v", a, a.Header)
	}
	if a := get("own.test", upstream); a.Body != "two" {
		t.Errorf("a site of the configuration: %v", a)
	}
	l.want(201, "PUT", "sites/11", row("proxy", fmt.Sprintf(`{"upstream":"127.0.0.1:%d"}`, upstream)))
	if a := get("proxy.test", l.plain); a.Status != 200 && a.Status != 400 {
		t.Errorf("through the upstream: %v", a)
	}
	if a := get("nobody.test", upstream); a.Body != "{iis.site.id} stays" {
		t.Errorf("got %v", a)
	}
	for _, c := range []struct{ template, vars, mentions string }{
		{"files", `{}`, "root must be given"},
		{"files", `{"root":"/etc"}`, "not a path below"},
		{"files", `{"root":"` + folder + `x"}`, "not a path below"},
		{"files", `{"root":"` + folder + `/one/../.."}`, "not a path below"},
		{"files", `{"root":"` + folder + `\\..\\.."}`, "not a path below"},
		{"files", `{"root":"one"}`, "not a path below"},
		{"files", `{"root":"{env.HOME}"}`, "not a path below"},
		{"files", `{"root":"` + folder + `","colour":"red"}`, `"colour" is not declared`},
		{"files", `{"root":"` + folder + `","color":"a\nb"}`, "control characters"},
		{"files", `{"root":"` + folder + `","color":"` + strings.Repeat("x", 1025) + `"}`, "1024"},
		{"files", `{"root":1}`, "is a number: expected a text"},
		{"page", `{"root":"x"}`, "no site_vars"},
		{"proxy", `{"upstream":"127.0.0.4:` + fmt.Sprint(upstream) + `"}`, "not one of"},
		{"proxy", `{"upstream":"127.0.0.1:1"}`, "not one of"},
		{"proxy", `{"upstream":"example.com:80"}`, "not one of"},
		{"proxy", `{"upstream":"10.0.0.5"}`, "not host:port"},
		{"proxy", `{"upstream":"unix//run/docker.sock"}`, "not host:port"},
		{"proxy", `{"upstream":"10.0.0.5:80 10.0.0.6:80"}`, "not"},
	} {
		l.refused(422, "PUT", "sites/12", row(c.template, c.vars), c.mentions)
	}
	for _, good := range []string{"localhost:7", "10.0.0.5:7", fmt.Sprintf("127.0.0.3:%d", upstream)} {
		l.want(200, "PUT", "sites/12?dry_run=1", strings.Replace(row("proxy", fmt.Sprintf(`{"upstream":%q}`, good)), "proxy.test", "other.test", 1))
	}
	for name, c := range map[string][2]string{
		"a root without below":    {"site_vars {\nroot\n}\nroot * {iis.vars.root}\nfile_server", "below"},
		"an upstream without to":  {"site_vars {\nhost\n}\nreverse_proxy {iis.vars.host}:80", "to 10.0.0.0/8"},
		"an undeclared variable":  {"respond {iis.vars.x}", "not declared"},
		"a default outside":       {"site_vars {\nroot /etc {\nbelow /srv\n}\n}\nrespond x", "the default of root"},
		"a name that is none":     {"site_vars {\nRoot x\n}\nrespond x", "no name"},
		"rules ask for files":     {"site_vars {\nplace\n}\niis_rewrite {\nfolder / {iis.vars.place}\nrule a {\nmatch a\naction none\n}\n}", "place stands in a root"},
		"an unknown word":         {"site_vars {\nroot {\ninside /srv\n}\n}\nrespond x", "below, to"},
		"a folder that is none":   {"site_vars {\nroot {\nbelow srv\n}\n}\nrespond x", "no absolute path"},
		"by way of vars":          {"site_vars {\nplace\n}\nvars there {iis.vars.place}\nvars here {vars.there}\nroot * {vars.here}\nfile_server", "place stands in a root"},
		"by way of map":           {"site_vars {\nplace\n}\nmap {path} {to} {\n/a {iis.vars.place}\ndefault 10.0.0.1:80\n}\nreverse_proxy {to}", "place stands in an upstream"},
		"a script's name":         {"site_vars {\nplace\n}\nreverse_proxy localhost:9000 {\ntransport fastcgi {\nenv SCRIPT_FILENAME {iis.vars.place}\n}\n}", "place stands in a root"},
		"by way of a header":      {"site_vars {\nplace\n}\nrequest_header X-Place {iis.vars.place}\nroot * {header.x-place}\nfile_server", "place stands in a root"},
		"by what map captures":    {"site_vars {\nplace\n}\nmap {iis.vars.place} {to} {\n~(.*) $1\n}\nreverse_proxy {to}", "place stands in an upstream"},
		"by what a matcher found": {"site_vars {\nplace\n}\n@found vars_regexp found {iis.vars.place} (.*)\nroot @found {re.found.1}\nfile_server", "place stands in a root"},
		"by what vars were found": {"site_vars {\nplace\n}\nvars there {iis.vars.place}\n@found vars_regexp found there (.*)\nroot @found {re.found.1}\nfile_server", "place stands in a root"},
		"by an expression":        {"site_vars {\nplace\n}\n@found expression `vars_regexp('found', '{iis.vars.place}', '(.*)')`\nroot @found {re.found.1}\nfile_server", "place stands in a root"},
		"by the name of vars":     {"site_vars {\nkey\nplace\n}\nvars {iis.vars.key} {iis.vars.place}\nfile_server", "key stands in the name"},
		"a root of templates":     {"site_vars {\nplace\n}\ntemplates {\nroot {iis.vars.place}\n}\nrespond x", "place stands in a root"},
		"a name for DNS":          {"site_vars {\nplace\n}\nreverse_proxy {\ndynamic a {iis.vars.place} 80\n}", "place stands in an upstream"},
		"a name of services":      {"site_vars {\nplace\n}\nreverse_proxy {\ndynamic srv {iis.vars.place}\n}", "place stands in an upstream"},
		"a port for DNS":          {"site_vars {\nplace\n}\nreverse_proxy {\ndynamic a localhost {iis.vars.place}\n}", "place stands in an upstream"},
		"php in an unbounded one": {"site_vars {\nroot\n}\nroot * {iis.vars.root}\nphp_fastcgi localhost:9000", "below"},
	} {
		refusedLoad(t, l.Server, name, l.config("template bad {\n"+c[0]+"\n}"), c[1])
	}
}
