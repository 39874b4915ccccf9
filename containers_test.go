//go:build unix

package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// instruction is a line of the Dockerfile.
type instruction struct{ word, rest string }

// dockerfile returns the instructions of the Dockerfile.
func dockerfile(t *testing.T) (list []instruction) {
	t.Helper()
	raw, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(raw), "")
	for line := range strings.Lines(regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")) {
		if line = strings.TrimSpace(line); line != "" {
			word, rest, _ := strings.Cut(line, " ")
			list = append(list, instruction{word, strings.TrimSpace(rest)})
		}
	}
	return list
}

// instructions returns the last words of an instruction, one for each time it occurs.
func instructions(list []instruction, word string) (found []string) {
	for _, i := range list {
		if i.word == word {
			found = append(found, i.rest)
		}
	}
	return found
}

// requirement is the version of a module in go.mod.
func requirement(t *testing.T, module string) string {
	t.Helper()
	raw, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(module) + ` v?(\S+)`).FindStringSubmatch(string(raw))
	if m == nil {
		t.Fatalf("go.mod has no %s", module)
	}
	return m[1]
}

// optionsOf is a Caddyfile without the comments before its global options.
func optionsOf(caddyfile string) string {
	_, options, _ := strings.Cut("\n"+caddyfile, "\n{")
	return "{" + options
}

// TestDockerfile: the image is built with the versions that this module is tested with,
// out of files that there are, and runs a command that there is, as nobody in particular.
func TestDockerfile(t *testing.T) {
	list := dockerfile(t)
	goVersion := requirement(t, "go")
	if from := instructions(list, "FROM"); len(from) != 2 || !strings.HasPrefix(from[0], "golang:"+goVersion[:strings.LastIndex(goVersion, ".")]+"-") {
		t.Errorf("built with %q, go.mod asks for Go %s", from, goVersion)
	}
	build := strings.Join(instructions(list, "RUN"), "\n")
	release, err := os.ReadFile(".ci/release")
	if err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`-tags (\S+)`).FindStringSubmatch(string(release))[0]
	for _, want := range []string{
		"xcaddy build v" + requirement(t, "github.com/caddyserver/caddy/v2") + " ", tags + " ", "--output /caddy ",
		"--with github.com/caddy-iis/caddy-iis@v0.0.0-00010101000000-000000000000=/src", "setcap cap_net_bind_service=+ep /usr/bin/caddy", "-u 1000 ",
	} {
		if !strings.Contains(build+"\n", want) {
			t.Errorf("no command of the Dockerfile has %q", want)
		}
	}
	ignored, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	copied := make(map[string]string)
	for _, files := range instructions(list, "COPY") {
		words := strings.Fields(files)
		if strings.HasPrefix(words[0], "--from=") {
			continue
		}
		if _, err := os.Stat(words[0]); err != nil || slices.Contains(strings.Fields(string(ignored)), words[0]) {
			t.Errorf("COPY %s: %v", files, err)
		}
		copied[words[1]] = words[0]
	}
	if user := instructions(list, "USER"); len(user) != 1 || user[0] != "1000:1000" {
		t.Errorf("it runs as %q", user)
	}
	var command []string
	if err := json.Unmarshal([]byte(instructions(list, "CMD")[0]), &command); err != nil {
		t.Fatal(err)
	}
	takesArguments(t, command[1:])
	config := copied[command[slices.Index(command, "--config")+1]]
	raw, err := os.ReadFile(config)
	if err != nil || command[0] != "caddy" {
		t.Fatalf("%q: %v", command, err)
	}
	if _, err := ts.Adapt(optionsOf(string(raw)), ""); err != nil {
		t.Error(err)
	}
	t.Run("health", func(t *testing.T) {
		needs.Curl(t)
		s := ts.Start(t, strings.Replace(optionsOf(string(raw)), ":80:", fmt.Sprintf(":%d:", ts.FreePort(t)), 1))
		_, check, ok := strings.Cut(instructions(list, "HEALTHCHECK")[0], " CMD ")
		socket := filepath.Join(t.TempDir(), "admin.sock")
		onSocket(t, socket, s.AdminAddr())
		for admin, healthy := range map[string]bool{
			s.AdminAddr(): true, at("127.0.0.1", ts.FreePort(t)): false,
			"unix/" + socket + "|0220": true, "unix/" + socket + ".other": false,
		} {
			cmd := exec.Command("sh", "-c", check)
			cmd.Env = append(os.Environ(), "CADDY_ADMIN="+admin)
			if out, err := cmd.CombinedOutput(); !ok || (err == nil) != healthy {
				t.Errorf("%s with %s: %v\n%s", check, admin, err, out)
			}
		}
	})
}

// onSocket serves at a socket what is at an address.
func onSocket(t *testing.T, socket, address string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
	}}}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
}

// composition is a file of Docker Compose, as far as it is looked at.
type composition struct {
	Services map[string]struct {
		Build       string
		Image       string
		Command     []string
		Entrypoint  []string
		Ports       []string
		Volumes     []string
		Environment map[string]string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Grace       string                                `yaml:"stop_grace_period"`
		HealthCheck map[string]any                        `yaml:"healthcheck"`
	}
	Volumes map[string]any
}

func readComposition(t *testing.T, name string) (c composition) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("examples/compose", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompositions: the files of Compose mount what there is, wait for services that
// there are, run commands that there are, publish nothing but on loopback, and stop no
// Caddy before its requests have ended.
func TestCompositions(t *testing.T) {
	for _, name := range []string{"quickstart.yaml", "farm.yaml"} {
		c := readComposition(t, name)
		built := false
		for service, s := range c.Services {
			label := name + ", " + service
			if s.Build != "" {
				built = true
				if _, err := os.Stat(filepath.Join("examples/compose", s.Build, "Dockerfile")); err != nil {
					t.Errorf("%s: %v", label, err)
				}
			}
			for _, volume := range s.Volumes {
				source, target, _ := strings.Cut(volume, ":")
				_, known := c.Volumes[source]
				if strings.HasPrefix(source, ".") {
					_, err := os.Stat(filepath.Join("examples/compose", source))
					known = err == nil && strings.HasSuffix(target, ":ro")
				}
				if !known {
					t.Errorf("%s: there is no %s, or it can be written to", label, source)
				}
			}
			for other, condition := range s.DependsOn {
				waitsFor, ok := c.Services[other]
				if !ok || condition.Condition == "service_healthy" && waitsFor.HealthCheck == nil {
					t.Errorf("%s waits for %s: %+v", label, other, condition)
				}
			}
			for _, port := range s.Ports {
				if !strings.HasPrefix(port, "127.0.0.1:") {
					t.Errorf("%s: port %s is open to others", label, port)
				}
			}
			if len(s.Command) > 0 && s.Command[0] == "caddy" {
				takesArguments(t, commandWords(s.Command[1:]))
			}
			if len(s.Ports) > 0 {
				if grace, err := time.ParseDuration(s.Grace); err != nil || grace <= config.DefaultDrain {
					t.Errorf("%s: it is killed after %q, but requests in flight have %s", label, s.Grace, config.DefaultDrain)
				}
			}
		}
		if !built {
			t.Errorf("%s builds no image", name)
		}
	}
}

// TestQuickstartInContainer: the command of the container makes the quickstart's
// configuration one that listens on all addresses, on the ports that are published.
func TestQuickstartInContainer(t *testing.T) {
	needs.Shell(t)
	s := readComposition(t, "quickstart.yaml").Services["caddy"]
	config := filepath.Join(t.TempDir(), "Caddyfile")
	command, _, ok := strings.Cut(strings.NewReplacer("/quickstart/", "examples/quickstart/", "/config/Caddyfile", config).Replace(s.Command[2]), " && exec caddy run")
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil || !ok {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile("examples/quickstart/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != strings.Replace(string(original), "\t\tlisten 127.0.0.1\n", "", 1) {
		t.Errorf("the container runs\n%s", raw)
	}
	if _, err := ts.Adapt(strings.Replace(optionsOf(string(raw)), "skip_install_trust", "", 1), ""); err != nil {
		t.Error(err)
	}
	for _, m := range regexp.MustCompile(`:(\d+):`).FindAllStringSubmatch(string(raw), -1) {
		if !slices.Contains(s.Ports, "127.0.0.1:"+m[1]+":"+m[1]) {
			t.Errorf("port %s is not published", m[1])
		}
	}
}

// TestFarmInContainers: what the example of a farm names is mounted in its place.
func TestFarmInContainers(t *testing.T) {
	c := readComposition(t, "farm.yaml")
	raw, err := os.ReadFile("examples/farm/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		s := c.Services[name]
		var mounted []string
		for _, volume := range s.Volumes {
			mounted = append(mounted, strings.Split(volume, ":")[1])
		}
		if config := s.Command[slices.Index(s.Command, "--config")+1]; !slices.Contains(mounted, config) {
			t.Errorf("%s: %s is not mounted", name, config)
		}
		for _, file := range regexp.MustCompile(`\s(/(?:etc|srv)/\S+)`).FindAllStringSubmatch(string(raw), -1) {
			if !slices.Contains(mounted, file[1]) && !slices.Contains(mounted, path.Dir(file[1])) {
				t.Errorf("%s: %s is not mounted", name, file[1])
			}
		}
		for _, variable := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(string(raw), -1) {
			if s.Environment[variable[1]] == "" {
				t.Errorf("%s: %s is not in the environment", name, variable[1])
			}
		}
		for _, port := range []string{":80", ":443"} {
			if !slices.ContainsFunc(s.Ports, func(published string) bool { return strings.HasSuffix(published, port) }) {
				t.Errorf("%s: port %s is not published", name, port)
			}
		}
	}
	script, err := os.ReadFile("examples/compose/farm.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(string(script), -1) {
		if !slices.Contains(slices.Concat(c.Services["a"].Ports, c.Services["b"].Ports), m+":80") {
			t.Errorf("farm.sh asks %s, which is not published", m)
		}
	}
}

// TestFarmWithoutContainers runs the steps of the farm in containers on this machine: a
// site that is added by SQL is served by both nodes.
func TestFarmWithoutContainers(t *testing.T) {
	needs.Curl(t)
	needs.OpenSSL(t)
	r := newRoad(t)
	engine := testpg.Start(t)
	admin := engine.Database("sites")
	cmd := r.shell(t.Context(), "exec sh '"+absolute(t, "examples/farm/local.sh")+"'")
	cmd.Env = append(cmd.Env, "PATH="+filepath.Join(r.dir, "bin")+":"+needs.Postgres(t)+":"+os.Getenv("PATH"),
		"ADMIN="+admin, "NODES="+engine.Connection("iis", "sites"), "DATABASE="+engine.Connection("panel", "sites"),
		fmt.Sprint("HTTP_PORT=", r.http), fmt.Sprint("HTTPS_PORT=", r.https), fmt.Sprint("READY_PORT=", ts.FreePort(t)), fmt.Sprint("ADMIN_PORT=", ts.FreePort(t)))
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("accepted\n127.0.0.1:%[1]d serves: bread and cake\n127.0.0.2:%[1]d serves: bread and cake\n", r.http)
	if err != nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	full, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// TestScripts: the shell scripts of the examples are right for a shell.
func TestScripts(t *testing.T) {
	needs.Shell(t)
	for _, name := range []string{"compose/farm.sh", "farm/certificate", "farm/local.sh", "farm/panel", "farm/try"} {
		if out, err := exec.Command("sh", "-n", filepath.Join("examples", name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestContainerPage: the commands of docs/container.md name files, services and commands
// that there are, and what the farm prints is what the page says.
func TestContainerPage(t *testing.T) {
	raw, err := os.ReadFile("docs/container.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(?:sh)?\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	var text string
	for _, block := range blocks {
		text += block[1]
	}
	for _, m := range regexp.MustCompile(`examples/[\w./]+`).FindAllString(string(raw), -1) {
		if _, err := os.Stat(m); err != nil {
			t.Error(err)
		}
	}
	asked := 0
	for _, m := range regexp.MustCompile(`(?m)exec caddy caddy (.*)$`).FindAllStringSubmatch(text, -1) {
		takesArguments(t, commandWords(strings.Fields(m[1])))
		asked++
	}
	if asked != 3 {
		t.Errorf("%d commands of Caddy in the page", asked)
	}
	m := regexp.MustCompile(`--stop-timeout (\d+)`).FindStringSubmatch(text)
	if limit, err := time.ParseDuration(m[1] + "s"); err != nil || limit <= config.DefaultDrain {
		t.Errorf("the engine kills after %s", limit)
	}
	for _, folder := range instructions(dockerfile(t), "VOLUME") {
		for name := range strings.FieldsSeq(folder) {
			if !strings.Contains(string(raw), "\n| `"+name+"` |") {
				t.Errorf("the page does not tell what %s is for", name)
			}
		}
	}
	script, err := os.ReadFile("examples/compose/farm.sh")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("examples/farm/sites/bakery/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(string(script), -1) {
		if want := node + " serves: " + string(content); !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}
