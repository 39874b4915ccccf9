package caddyiis_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestCommands runs the scripts in testdata/commands: each has command lines
// with what they write and their exit codes. With UPDATE_GOLDEN=1 in the
// environment, the scripts are written anew.
//
// Whatever fails must leave the running configuration as it was.
func TestCommands(t *testing.T) {
	scripts, err := filepath.Glob("testdata/commands/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(raw))
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(script, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(raw); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", script, got, want)
			}
		})
	}
}

// session is a running Caddy with the names that scripts use for what differs
// from run to run.
type session struct {
	*ts.Server
	dir                                      string
	httpPort, httpsPort, otherPort, freePort int
}

func runScript(t *testing.T, script string) string {
	var out strings.Builder
	var s *session
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "// config: "):
			s = startSession(t, strings.TrimPrefix(line, "// config: "))
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "//"):
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "$ caddy iis"):
			out.WriteString("\n" + line + "\n" + s.run(t, strings.TrimPrefix(line, "$ caddy iis")))
		}
	}
	return out.String()
}

func startSession(t *testing.T, config string) *session {
	ports := []int{ts.FreePort(t), ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)}
	slices.Sort(ports) // as tables are
	s := &session{
		dir:      t.TempDir(),
		httpPort: ports[0], httpsPort: ports[1], otherPort: ports[2], freePort: ports[3],
	}
	raw, err := os.ReadFile(filepath.Join("testdata/commands", config))
	if err != nil {
		t.Fatal(err)
	}
	s.Server = ts.Start(t, s.expand(string(raw)))
	return s
}

// expand puts ports and paths in the place of their names, of equal length so
// that tables stay aligned.
func (s *session) expand(text string) string {
	return strings.NewReplacer(
		"HTTP5", strconv.Itoa(s.httpPort), "TLS55", strconv.Itoa(s.httpsPort),
		"ALT55", strconv.Itoa(s.otherPort), "FREE5", strconv.Itoa(s.freePort),
		"TESTDATA", "testdata/commands", "TEMPDIR", s.dir,
	).Replace(text)
}

var (
	numbers     = regexp.MustCompile(`\b[0-9]{5}\b`)
	thumbprints = regexp.MustCompile(`\b[0-9A-F]{40}\b`)
	dates       = regexp.MustCompile(`\b20\d\d-\d\d-\d\d`)
	timestamps  = regexp.MustCompile(`DATE[T ][0-9:.]+Z?`)
	hashes      = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
)

// collapse is the reverse of expand, and hides what nobody can know before.
func (s *session) collapse(text string) string {
	text = strings.NewReplacer(s.dir, "TEMPDIR", s.AdminAddr(), "ADMIN").Replace(text)
	names := map[int]string{s.httpPort: "HTTP5", s.httpsPort: "TLS55", s.otherPort: "ALT55", s.freePort: "FREE5"}
	text = numbers.ReplaceAllStringFunc(text, func(digits string) string {
		port, _ := strconv.Atoi(digits)
		return cmp.Or(names[port], digits)
	})
	text = thumbprints.ReplaceAllString(text, strings.Repeat("0", 36)+"SHA1")
	text = hashes.ReplaceAllString(text, "SHA256")
	text = dates.ReplaceAllString(text, "YYYY-MM-DD")
	return timestamps.ReplaceAllString(strings.ReplaceAll(text, "YYYY-MM-DDT", "DATET"), "TIME")
}

// run runs a command line and returns what it has written: what went to the
// standard error has a mark.
func (s *session) run(t *testing.T, line string) string {
	args := splitArgs(t, s.expand(line))
	before := s.config(t)
	var out, errOut bytes.Buffer
	code := caddyiis.RunCommand(&out, &errOut, append([]string{"--address", s.AdminAddr()}, args...)...)
	if after := s.config(t); code != 0 && after != before {
		t.Errorf("caddy iis %v failed with exit code %d, but the configuration was\n%s\nand is\n%s", args, code, before, after)
	}
	var sb strings.Builder
	sb.WriteString(out.String())
	for line := range strings.Lines(errOut.String()) {
		sb.WriteString("! " + line)
	}
	fmt.Fprintf(&sb, "=> %d\n", code)
	return s.collapse(sb.String())
}

// config returns the running configuration. The admin endpoint may be about to
// restart, which the client is made for.
func (s *session) config(t *testing.T) string {
	t.Helper()
	var raw json.RawMessage
	if err := client(t, s.Server).GetJSON(t.Context(), "/config/", nil, &raw); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func client(t *testing.T, s *ts.Server) *adminapi.Client {
	t.Helper()
	c, err := adminapi.New(s.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// splitArgs splits a command line as a shell does: quotes hold blanks together.
func splitArgs(t *testing.T, line string) []string {
	var args []string
	for len(line) > 0 {
		line = strings.TrimLeft(line, " ")
		var arg strings.Builder
		quoted, started := false, false
		for len(line) > 0 && (quoted || line[0] != ' ') {
			if line[0] == '"' {
				quoted = !quoted
			} else {
				arg.WriteByte(line[0])
			}
			line, started = line[1:], true
		}
		if quoted {
			t.Fatal("a quote is not closed")
		}
		if started {
			args = append(args, arg.String())
		}
	}
	return args
}

// TestJSON: what the commands write with --json can be read.
func TestJSON(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, line := range []string{
		"list", "show 1", "endpoints", "certificates", "check", "commands",
		"explain 127.0.0.1:TLS55 --sni www.contoso.test",
	} {
		var out, errOut bytes.Buffer
		args := append(splitArgs(t, s.expand(line)), "--json", "--address", s.AdminAddr())
		code := caddyiis.RunCommand(&out, &errOut, args...)
		if !json.Valid(out.Bytes()) {
			t.Errorf("%s --json: exit code %d, no JSON: %s%s", line, code, out.String(), errOut.String())
		}
	}
}

// TestJSONOfNothing: a list of none is [], as a script expects that goes through it.
func TestJSONOfNothing(t *testing.T) {
	s := ts.Start(t, iisConfig(""))
	for line, want := range map[string]string{
		"list":                   "[]",
		"endpoints":              "[]",
		"certificates":           "[]",
		"check":                  "[]",
		"check --bindings":       `{"findings":[],"sites":[]}`,
		"commands --for adsutil": `{"adsutil":[]}`,
		"commands --for appcmd":  `{"appcmd":[]}`,
		"commands --for netsh":   `{"netsh":[]}`,
	} {
		var out, errOut, compact bytes.Buffer
		args := append(splitArgs(t, line), "--json", "--address", s.AdminAddr())
		code := caddyiis.RunCommand(&out, &errOut, args...)
		if err := json.Compact(&compact, out.Bytes()); err != nil || compact.String() != want {
			t.Errorf("%s --json: exit code %d, %s%s, want %s", line, code, out.String(), errOut.String(), want)
		}
	}
}

// caddyMain is the environment variable that makes this test program Caddy.
const caddyMain = "CADDY_IIS_TEST_MAIN"

// runCaddyMain runs Caddy with the arguments of caddy iis in raw.
func runCaddyMain(raw string) {
	var args []string
	if err := json.Unmarshal([]byte(raw), &args); err != nil {
		fmt.Println(err)
		os.Exit(100)
	}
	os.Args = append([]string{"caddy"}, args...)
	caddycmd.Main() // exits unless the exit code is 0
	os.Exit(0)
}

// TestExitCodes: what scripts see of the commands of a real Caddy process.
func TestExitCodes(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, c := range []struct {
		line string
		code int
		out  string // begins with
	}{
		{"get /w3svc/1/ServerComment", 0, "ServerComment                   : (STRING) \"Main\"\n"},
		{"set /w3svc/99/SecureBindings :443:", 3, "The path requested could not be found.\nErrNumber: -2147024893 (0x80070003)\nError Trying To Get the Object: w3svc/99\n"},
		{"get /w3svc/3/SecureBindings", 6, "The parameter \"SecureBindings\" is not set at this node.\n"},
		{"set /w3svc/1", 2, "Error: Wrong number of Args for the SET command\n"},
		{"show nobody", 1, ""},
		{"nonsense", 2, ""},
		{"check --nonsense", 3, ""},
		{"list --nonsense", 2, ""},
		{"check --config TESTDATA/conflict.caddyfile", 2, "error [duplicate-binding]"},
		{"check --config TESTDATA/logs.caddyfile", 1, "warning [root-missing]"},
		{"check --config TEMPDIR/missing", 3, ""},
	} {
		args, err := json.Marshal(append(splitArgs(t, "iis "+s.expand(c.line)), "--address", s.AdminAddr()))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), caddyMain+"="+string(args))
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err = cmd.Run()
		var exited *exec.ExitError
		if err != nil && !errors.As(err, &exited) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.HasPrefix(out.String(), c.out) {
			t.Errorf("caddy iis %s: exit code %d, %q, %q; want %d, %q", c.line, code, out.String(), errOut.String(), c.code, c.out)
		}
		if strings.HasPrefix(c.line, "check --config TESTDATA") && errOut.Len() > 0 {
			t.Errorf("caddy iis %s: there is more than findings: %q", c.line, errOut.String())
		}
		if strings.Contains(errOut.String(), `"level":`) || strings.Contains(errOut.String(), "\tINFO\t") {
			t.Errorf("caddy iis %s: log lines beside the answer: %q", c.line, errOut.String())
		}
	}
}
