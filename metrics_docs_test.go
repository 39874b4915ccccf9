//go:build unix

package caddyiis_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// shownMetric is a metric as documented, or as a Caddy exports it.
type shownMetric struct {
	kind   string
	labels []string
}

// tableAfter returns the rows of the table that follows a mark in a page, as cells.
func tableAfter(t *testing.T, page, mark string) (rows [][]string) {
	t.Helper()
	_, table, ok := strings.Cut(page, "<!-- "+mark+" -->\n")
	if !ok {
		t.Fatalf("the page has no table of %s", mark)
	}
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows[2:]
}

func metricsPage(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var wordPattern = regexp.MustCompile("`([^`]+)`")

// words returns what stands in backquotes.
func words(text string) (list []string) {
	for _, m := range wordPattern.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// documentedMetrics is the table of docs/metrics.md. The units in it must be those of
// the names.
func documentedMetrics(t *testing.T) map[string]shownMetric {
	t.Helper()
	documented := make(map[string]shownMetric)
	for _, cells := range tableAfter(t, metricsPage(t), "metrics") {
		name := words(cells[0])[0]
		if _, twice := documented[name]; twice {
			t.Errorf("%s is documented twice", name)
		}
		documented[name] = shownMetric{cells[1], words(cells[3])}
		seconds := strings.HasSuffix(name, "_seconds")
		if seconds != strings.HasPrefix(cells[2], "seconds") || cells[2] == "" {
			t.Errorf("%s: the unit %q is not that of the name", name, cells[2])
		}
		if strings.HasSuffix(name, "_total") != (cells[1] == "counter") {
			t.Errorf("%s: the type %q is not that of the name", name, cells[1])
		}
	}
	return documented
}

var (
	typePattern   = regexp.MustCompile(`(?m)^# TYPE (caddy_iis_\w+) (\w+)$`)
	samplePattern = regexp.MustCompile(`(?m)^(caddy_iis_\w+)(?:\{(.*)\})? \S+$`)
	labelPattern  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

// startWithEverything runs a Caddy that has each kind of source, store and certificate,
// and clients that each metric counts. Counters are those of the process: its sites have
// numbers of their own.
func startWithEverything(t *testing.T) *ts.Server {
	t.Helper()
	engine := testpg.Start(t)
	connection := engine.Database("sites")
	if _, err := postgres.Init(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		"sites":                        []byte("\n"),
		"central/www.central.test.pfx": issue(t, 60, nil, "www.central.test").pfx(t, "secret"),
		"store/www.store.test.pem":     joined(issue(t, 61, nil, "www.store.test")),
	})
	plain, secure := ts.FreePort(t), ts.FreePort(t)
	s := startIIS(t, certificates(t, "a.test", "b.test")+fmt.Sprintf(`
		metrics
		w3c_log %[8]q
		sites_file %[3]q
		sites_from bolt %[4]q
		sites_from postgres %[5]s
		certificate auto {
			for_bindings
			issuer internal
		}
		central_store %[6]q {
			password secret
		}
		store files folder %[7]q {
			file {host}.pem
		}
		site 101 {
			server_bindings :%[1]d:a.test
			secure_bindings :%[2]d:
			certificate a.test
			respond "a {http.request.body}"
		}
		site 102 {
			binding https *:%[2]d:b.test {
				sni
				certificate b.test
				client_auth {
					mode require
				}
			}
			binding https *:%[2]d:no.test {
				sni
				reject
			}
			binding https *:%[2]d:auto.test {
				sni
				certificate auto
			}
			respond b
		}
		site 103 {
			binding https *:%[2]d:www.central.test {
				sni
				central_store
			}
			binding https *:%[2]d:www.store.test {
				sni
				store files
			}
			respond stores
		}
	`, plain, secure, filepath.Join(dir, "sites"), filepath.Join(dir, "sites.db"), connection, filepath.Join(dir, "central"), filepath.Join(dir, "store"), filepath.Join(dir, "w3c")))
	for _, r := range []ts.Request{
		{Addr: at("127.0.0.1", plain), Host: "nobody.test", Plain: true},
		{Addr: at("127.0.0.1", secure)},
		{Addr: at("127.0.0.1", secure), SNI: "no.test"},
		{Addr: at("127.0.0.1", secure), SNI: "a.test", Host: "b.test"},
		{Addr: at("127.0.0.1", secure), SNI: "www.central.test"},
		{Addr: at("127.0.0.1", secure), SNI: "www.store.test"},
	} {
		if _, err := ts.Do(r); (err != nil) != (r.SNI == "no.test") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", plain), strings.NewReader("a body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = "a.test", true
	if _, _, err := s.Do(req); err != nil {
		t.Error(err)
	}
	return s
}

// joined are the certificates and the key in one file.
func joined(c *issued) []byte { return slices.Concat(c.cert, c.key) }

// exported are the metrics of this module that a Caddy shows, with all values of labels.
func exported(t *testing.T, body string) (metrics map[string]shownMetric, values map[string][]string) {
	t.Helper()
	metrics, values = make(map[string]shownMetric), make(map[string][]string)
	for _, m := range typePattern.FindAllStringSubmatch(body, -1) {
		metrics[m[1]] = shownMetric{kind: m[2]}
	}
	for _, m := range samplePattern.FindAllStringSubmatch(body, -1) {
		shown, ok := metrics[m[1]]
		if !ok {
			t.Errorf("%s has no type", m[1])
		}
		for _, label := range labelPattern.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(shown.labels, label[1]) {
				shown.labels = append(shown.labels, label[1])
			}
			values[label[1]] = append(values[label[1]], label[2])
		}
		metrics[m[1]] = shown
	}
	return metrics, values
}

// TestMetricsPage: docs/metrics.md has each metric that a Caddy exports, with its type
// and labels, and no other; and what promtool has against them is nothing.
func TestMetricsPage(t *testing.T) {
	documented := documentedMetrics(t)
	s := startWithEverything(t)
	waitFor(t, "the local copy of the database, and a certificate for a binding", func() bool {
		return metric(t, s, "caddy_iis_source_snapshot_revision") != "" && metric(t, s, "caddy_iis_binding_certificates") == "1"
	})
	_, body := s.Admin(http.MethodGet, "/metrics", "")
	metrics, values := exported(t, body)
	for name, shown := range metrics {
		told, ok := documented[name]
		slices.Sort(shown.labels)
		slices.Sort(told.labels)
		if !ok || told.kind != shown.kind || !slices.Equal(told.labels, shown.labels) {
			t.Errorf("%s: a Caddy exports %v, docs/metrics.md has %v", name, shown, told)
		}
	}
	for name := range documented {
		if _, ok := metrics[name]; !ok {
			t.Errorf("docs/metrics.md has %s, which no Caddy exports", name)
		}
	}
	page := metricsPage(t)
	_, page, _ = strings.Cut(page, "\n## Values of labels\n")
	page, _, _ = strings.Cut(page, "\n## ")
	for _, label := range []string{"server_name", "result", "reason", "state", "class"} {
		for _, value := range values[label] {
			if !strings.Contains(page, "`"+value+"`") {
				t.Errorf("docs/metrics.md does not tell what %s=%q means", label, value)
			}
		}
	}
	needs.Promtool(t)
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(ownMetrics(body))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// ownMetrics are the lines of this module.
func ownMetrics(body string) string {
	var own strings.Builder
	for line := range strings.Lines(body) {
		if name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "); strings.HasPrefix(name, "caddy_iis_") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// TestMetricsSite: the site of docs/metrics.md shows the metrics to the machine that it
// names, and to no other.
func TestMetricsSite(t *testing.T) {
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindStringSubmatch(metricsPage(t))
	if block == nil {
		t.Fatal("the page has no site")
	}
	port := ts.FreePort(t)
	site := strings.Replace(block[1], ":9180", fmt.Sprintf("http://:%d", port), 1)
	s := startIIS(t, fmt.Sprintf("site 1 {\nserver_bindings :%d:\n}", ts.FreePort(t)))
	for _, c := range []struct {
		allowed string
		status  int
	}{{"127.0.0.1", 200}, {"10.0.0.9", 403}} {
		if err := s.Load(iisConfig(fmt.Sprintf("site 1 {\nserver_bindings :%d:\n}", ts.FreePort(t))) + strings.Replace(site, "10.0.0.9", c.allowed, 1)); err != nil {
			t.Fatal(err)
		}
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Path: "/metrics", Plain: true})
		if err != nil || answer.Status != c.status || (c.status == 200) != strings.Contains(answer.Body, "caddy_iis_sites{") {
			t.Errorf("allowed: %s: %v, %v", c.allowed, answer, err)
		}
	}
}

// alertRules are the rules of examples/prometheus/alerts.yml, by their names.
type alertRules struct {
	Groups []struct {
		Name  string
		Rules []alertRule
	}
}

type alertRule struct {
	Alert       string
	Expr        string
	For         string `yaml:",omitempty"`
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t *testing.T) (rules alertRules) {
	t.Helper()
	raw, err := os.ReadFile("examples/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestAlertsPage: docs/metrics.md has each alert with its severity, in the order of the
// rules, and the rules ask for metrics that there are.
func TestAlertsPage(t *testing.T) {
	rules := readAlerts(t)
	var got, want [][]string
	for _, cells := range tableAfter(t, metricsPage(t), "alerts") {
		want = append(want, []string{words(cells[0])[0], cells[1]})
	}
	documented := documentedMetrics(t)
	known := []string{"up", "caddy_config_last_reload_successful", "process_open_fds", "process_max_fds"}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			got = append(got, []string{rule.Alert, rule.Labels["severity"]})
			for _, name := range regexp.MustCompile(`\b(?:caddy|process)_\w+`).FindAllString(rule.Expr, -1) {
				if _, ok := documented[name]; !ok && !slices.Contains(known, name) {
					t.Errorf("%s asks for %s, which nobody exports", rule.Alert, name)
				}
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the rules are\n%v\ndocs/metrics.md has\n%v", got, want)
	}
	s := startIIS(t, fmt.Sprintf("site 1 {\nserver_bindings :%d:\n}", ts.FreePort(t)))
	_, body := s.Admin(http.MethodGet, "/metrics", "")
	for _, name := range known[1:] {
		if !strings.Contains(body, "\n"+name+" ") && (runtime.GOOS == "linux" || !strings.HasPrefix(name, "process_")) {
			t.Errorf("Caddy does not export %s", name)
		}
	}
}

// promtool runs promtool in a folder.
func promtool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestAlerts has promtool check the example and run the tests of its rules, and sees
// that these notice each rule that does not fire any more, or fires at once.
func TestAlerts(t *testing.T) {
	needs.Promtool(t)
	const folder = "examples/prometheus"
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := promtool(t, folder, args...); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	tests, err := os.ReadFile(filepath.Join(folder, "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*alertRule) bool{
		"never":   func(r *alertRule) bool { r.Expr = "vector(0) > 1"; return true },
		"at once": func(r *alertRule) bool { waits := r.For != ""; r.For = ""; return waits },
	} {
		rules := readAlerts(t)
		var spoiled []string
		for i := range rules.Groups {
			for j := range rules.Groups[i].Rules {
				if rule := &rules.Groups[i].Rules[j]; spoil(rule) {
					spoiled = append(spoiled, rule.Alert)
				}
			}
		}
		raw, err := yaml.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		write(t, dir, map[string][]byte{"alerts.yml": raw, "alerts_test.yml": tests})
		out, err := promtool(t, dir, "test", "rules", "alerts_test.yml")
		for _, name := range spoiled {
			if err == nil || !strings.Contains(out, "alertname: "+name+",") {
				t.Errorf("no test notices that %s fires %s", name, what)
			}
		}
	}
}

// TestDocumentedQueries: what the pages ask of Prometheus is a query.
func TestDocumentedQueries(t *testing.T) {
	needs.Promtool(t)
	var rules bytes.Buffer
	rules.WriteString("groups:\n  - name: documented\n    rules:\n")
	count := 0
	for _, name := range documents(t) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
			for line := range strings.Lines(block[1]) {
				count++
				fmt.Fprintf(&rules, "      - {record: 'query%d', expr: '%s'}\n", count, strings.TrimSpace(line))
			}
		}
	}
	if count == 0 {
		t.Fatal("there are none")
	}
	dir := t.TempDir()
	write(t, dir, map[string][]byte{"rules.yml": rules.Bytes()})
	if out, err := promtool(t, dir, "check", "rules", "rules.yml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
