package sites

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the modules in the configurations

	_ "github.com/caddy-iis/caddy-iis" // the app iis
)

func place(t *testing.T) Place { return Place{Port: 9443, Admin: 9019, Dir: t.TempDir()} }

// generic is a value as JSON has it.
func generic(t *testing.T, value any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func adapted(t *testing.T, write func(io.Writer, Place) error, p Place) map[string]any {
	t.Helper()
	var file bytes.Buffer
	if err := write(&file, p); err != nil {
		t.Fatal(err)
	}
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(file.Bytes(), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return generic(t, json.RawMessage(raw))
}

func TestStockIsWhatCaddyAdapts(t *testing.T) {
	for _, kind := range []Kind{One, Shared, Each} {
		for _, n := range []int{1, 2, 30} {
			t.Run(fmt.Sprint(kind, n), func(t *testing.T) {
				p, set := place(t), generate(t, kind, n)
				apps, _ := set.Stock(p)
				want := adapted(t, set.WriteStockCaddyfile, p)
				if got := generic(t, p.CaddyConfig(apps)); !reflect.DeepEqual(got, want) {
					t.Errorf("the configuration is\n%s\nnot\n%s", indented(t, got), indented(t, want))
				}
			})
		}
	}
}

func indented(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.MarshalIndent(value, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// at returns the value at a path of a configuration.
func at(t *testing.T, config any, path string) any {
	t.Helper()
	for key := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		switch v := config.(type) {
		case map[string]any:
			config = v[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(v) {
				t.Fatalf("%s: no element %s", path, key)
			}
			config = v[i]
		default:
			t.Fatalf("%s: nothing at %s", path, key)
		}
	}
	return config
}

func TestStockPaths(t *testing.T) {
	p, set := place(t), generate(t, Shared, 12)
	for name, configure := range map[string]func(*Set, Place) (map[string]any, string){
		"stock": (*Set).Stock, "flat": (*Set).StockFlat,
	} {
		apps, path := configure(set, p)
		if got := at(t, generic(t, p.CaddyConfig(apps)), path); got != "site:host-11.example-3.test" {
			t.Errorf("%s: %s is %v", name, path, got)
		}
	}
}

func TestCacheHoldsAllCertificates(t *testing.T) {
	files := make([]any, 10_000)
	apps := stockApps(Place{}, files, nil, nil)
	if got := at(t, generic(t, apps), "tls/cache/capacity"); got != 20_000.0 {
		t.Errorf("the capacity of the cache is %v", got)
	}
}

func TestCaddyAcceptsConfigurations(t *testing.T) {
	for _, kind := range []Kind{One, Shared, Each} {
		set, p := generate(t, kind, 10), place(t)
		for name, apps := range map[string]map[string]any{
			"by port": {"iis": set.IIS(p, ByPort)},
			"by sni":  {"iis": set.IIS(p, BySNI)},
			"stock":   first(set.Stock(p)),
			"flat":    first(set.StockFlat(p)),
			"bodies":  adapted(t, iisCaddyfile(set, true), p)["apps"].(map[string]any),
			"bolt":    {"iis": set.IISWithBolt(p, filepath.Join(p.Dir, "sites.db"), "127.0.0.1:1")},
			"default": adapted(t, iisCaddyfile(set, false), p)["apps"].(map[string]any),
		} {
			t.Run(fmt.Sprint(kind, " ", name), func(t *testing.T) {
				raw, err := json.Marshal(p.CaddyConfig(apps))
				if err != nil {
					t.Fatal(err)
				}
				cfg := new(caddy.Config)
				if err := json.Unmarshal(raw, cfg); err != nil {
					t.Fatal(err)
				}
				if err := caddy.Validate(cfg); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func first(apps map[string]any, _ string) map[string]any { return apps }

func iisCaddyfile(set *Set, ownBodies bool) func(io.Writer, Place) error {
	return func(w io.Writer, p Place) error { return set.WriteIISCaddyfile(w, p, ownBodies) }
}

func TestIISBindings(t *testing.T) {
	p := place(t)
	for _, test := range []struct {
		kind Kind
		by   Binding
		want string
	}{
		{One, ByPort, `{"name":"host-9.example-1.test","secure_bindings":[":9443:host-9.example-1.test"],"certificate":"default"}`},
		{Shared, ByPort, `{"name":"host-9.example-1.test","secure_bindings":[":9443:host-9.example-1.test"]}`},
		{Shared, BySNI, `{"name":"host-9.example-1.test","bindings":[{"protocol":"https","binding":"*:9443:host-9.example-1.test","flags":1}],"certificate":"wildcard-1"}`},
		{Each, ByPort, `{"name":"host-9.example-1.test","bindings":[{"protocol":"https","binding":"*:9443:host-9.example-1.test","flags":1}],"certificate":"site-9"}`},
	} {
		sites := generate(t, test.kind, 10).IIS(p, test.by)["sites"].(map[string]iisSite)
		got, err := json.Marshal(sites["110"])
		if err != nil || string(got) != test.want {
			t.Errorf("%s by %s: %s (%v), not %s", test.kind, test.by, got, err, test.want)
		}
	}
}

func TestSitesFile(t *testing.T) {
	p, set := place(t), generate(t, One, 3)
	var file bytes.Buffer
	if err := set.WriteSitesFile(&file, p); err != nil {
		t.Fatal(err)
	}
	configured := set.IIS(p, BySNI)["sites"].(map[string]iisSite)
	lines := strings.Split(strings.TrimSpace(file.String()), "\n")
	if len(lines) != len(configured) {
		t.Fatalf("%d lines for %d sites", len(lines), len(configured))
	}
	for _, line := range lines {
		var site iisSite
		if err := json.Unmarshal([]byte(line), &site); err != nil {
			t.Fatal(err)
		}
		want := configured[fmt.Sprint(site.ID)]
		want.ID = site.ID
		if !reflect.DeepEqual(site, want) {
			t.Errorf("%s is not site %+v", line, want)
		}
	}
}

func TestDocument(t *testing.T) {
	p, set := place(t), generate(t, One, 3)
	want := `{"name":"host-2.example-2.test","secure_bindings":[":9443:host-2.example-2.test"],"vars":{"text":"changed"}}`
	set.Sites[2].Name = "changed"
	if got := string(set.Sites[2].Document(p)); got != want {
		t.Errorf("the document is %s, not %s", got, want)
	}
	if got := string(SocketDocument(p, "a.test")); got != `{"secure_bindings":[":9443:a.test"],"template":"socket"}` {
		t.Errorf("the document of a WebSocket's site is %s", got)
	}
}

func TestNginxAndHAProxy(t *testing.T) {
	p, set := place(t), generate(t, Shared, 10)
	for name, test := range map[string]struct {
		write func(io.Writer) error
		lines int
		line  string
	}{
		"nginx": {
			func(w io.Writer) error { return set.WriteNginx(w, p) }, 15 + 11 + 1,
			"  server { listen 127.0.0.1:9443 ssl; server_name host-9.example-1.test; ssl_certificate " + set.Sites[9].Cert.CertFile +
				"; ssl_certificate_key " + set.Sites[9].Cert.KeyFile + `; return 200 "site:host-9.example-1.test"; }`,
		},
		"certificates": {set.WriteHAProxyCerts, 1 + Zones, set.Zones[1].Cert.PairFile + " *.example-1.test"},
		"map":          {set.WriteHAProxyMap, 11, "host-9.example-1.test site:host-9.example-1.test"},
	} {
		var file bytes.Buffer
		if err := test.write(&file); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimRight(file.String(), "\n"), "\n")
		if len(lines) != test.lines || !strings.Contains(file.String(), test.line+"\n") {
			t.Errorf("%s: %d lines, not %d, and among them should be %q:\n%s", name, len(lines), test.lines, test.line, file.String())
		}
	}
}
