package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

const unitFolder = "examples/systemd"

// unitLines returns the settings of a unit, without comments.
func unitLines(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(unitFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// unitValue returns the value of the only line of a unit with a key.
func unitValue(t *testing.T, lines []string, key string) string {
	t.Helper()
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, key+"=") })
	if i < 0 {
		t.Fatalf("no line %s=", key)
	}
	return lines[i][len(key)+1:]
}

// TestUnits: the units for systemd call commands that exist, wait for requests
// in flight, show nobody the environment, and are equal in what they protect.
func TestUnits(t *testing.T) {
	protection := make(map[string][]string)
	for _, name := range []string{"caddy.service", "caddy-api.service"} {
		lines := unitLines(t, name)
		limit, err := time.ParseDuration(unitValue(t, lines, "TimeoutStopSec"))
		if err != nil || limit <= config.DefaultDrain {
			t.Errorf("%s: systemd kills after %s (%v), but requests in flight have %s", name, limit, err, config.DefaultDrain)
		}
		for _, line := range lines {
			key, value, _ := strings.Cut(line, "=")
			if !strings.HasPrefix(key, "Exec") {
				if key != "Description" && key != "Conflicts" {
					protection[name] = append(protection[name], line)
				}
				continue
			}
			args := strings.Fields(strings.TrimPrefix(value, "-"))
			if args[0] != "/usr/bin/caddy" || slices.Contains(args, "--environ") {
				t.Errorf("%s: %s", name, line)
			}
			takesArguments(t, args[1:])
		}
	}
	if a, b := protection["caddy.service"], protection["caddy-api.service"]; !slices.Equal(a, b) {
		t.Errorf("the units differ:\n%s\n\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// takesArguments checks that Caddy has a command with these flags.
func takesArguments(t *testing.T, args []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Unknown commands and flags are errors also where help is asked for.
	raw, err := json.Marshal(append(slices.Clone(args), "--help"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), caddyMain+"="+string(raw))
	out, err := cmd.CombinedOutput()
	words := commandWords(args)
	if want := "caddy " + strings.Join(words[:min(len(words), 2)], " ") + " "; err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
		t.Errorf("caddy %q: %v\n%s", args, err, out)
	}
}

// commandWords returns what stands before the flags of a command line.
func commandWords(args []string) []string {
	if i := slices.IndexFunc(args, func(arg string) bool { return arg[0] == '-' }); i >= 0 {
		return args[:i]
	}
	return args
}

// TestUnitsAsSystemdReadsThem has systemd verify the units, and weigh what a
// service could do that was taken over.
func TestUnitsAsSystemdReadsThem(t *testing.T) {
	needs.SystemdAnalyze(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"caddy.service", "caddy-api.service", "caddy.socket"} {
		raw, err := os.ReadFile(filepath.Join(unitFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		// Programs that are not there are errors.
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, bytes.ReplaceAll(raw, []byte("/usr/bin/caddy"), []byte(program)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		if name == "caddy.socket" {
			continue
		}
		// 10 is a service that is root, 100 in the scale of the threshold.
		if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=25", file).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--recursive-errors=no", "--man=no"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestServicePage: the Caddyfiles of the page are right.
func TestServicePage(t *testing.T) {
	raw, err := os.ReadFile("docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) < 3 {
		t.Fatalf("only %d Caddyfiles in the page", len(blocks))
	}
	for _, block := range blocks {
		text := block[1]
		if !strings.HasPrefix(text, "{") {
			text = "{\niis {\n" + text + "}\n}\n"
		}
		if _, err := ts.Adapt(text, ""); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}
