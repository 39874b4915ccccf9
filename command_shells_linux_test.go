package caddyiis_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// terminal is a shell that somebody types into.
type terminal struct {
	testing.TB
	screen *os.File
	unread string
}

// newTerminal starts a shell in a folder, with a terminal of its own.
func newTerminal(t testing.TB, dir string, env []string, shell ...string) *terminal {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	number, err := unix.IoctlGetUint32(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	keyboard, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	// The end of the shell ends what waits for its words.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = keyboard, keyboard, keyboard
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return &terminal{TB: t, screen: screen}
}

func (t *terminal) types(keys string) {
	t.Helper()
	if _, err := t.screen.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// reads returns what the shell writes between two marks.
func (t *terminal) reads(from, to string) string {
	t.Helper()
	part := make([]byte, 4096)
	for {
		if _, rest, ok := strings.Cut(t.unread, from); ok {
			if text, after, ok := strings.Cut(rest, to); ok {
				t.unread = after
				return text
			}
		}
		n, err := t.screen.Read(part)
		if err != nil {
			t.Fatalf("%q does not come after %q: %v", t.unread, from, err)
		}
		t.unread += string(part[:n])
	}
}

// TestCompletionInShells: in bash and zsh a tab completes what the running Caddy knows, with
// the scripts that caddy completion writes.
func TestCompletionInShells(t *testing.T) {
	port := ts.FreePort(t)
	s := startIIS(t, fmt.Sprintf(`
		certificate shop {
			subjects www.contoso.test
			issuer internal
		}
		site 1 Shop {
			secure_bindings *:%d:www.contoso.test
			certificate shop
			respond ok
		}`, port))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range []struct{ name, flags, setup string }{
		{"bash", "--norc --noprofile -i", `. %s; . <(caddy completion bash)`},
		{"zsh", "-f -i", `caddy completion zsh > _caddy; bindkey -e; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D`},
	} {
		t.Run(shell.name, func(t *testing.T) {
			path, setup := needs.UserShell(t, shell.name), shell.setup
			if shell.name == "bash" {
				setup = fmt.Sprintf(setup, needs.BashCompletion(t))
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "caddy"), []byte("#!/bin/sh\n"+caddyProgram+"=1 exec '"+program+"' \"$@\"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
				"CADDY_ADMIN="+s.AdminAddr(), "TERM=dumb", "PS1=READY> ")
			terminal := newTerminal(t, dir, env, append([]string{path}, strings.Fields(shell.flags)...)...)
			terminal.reads("", "READY> ")
			terminal.types(setup + "; echo 'set'up\n")
			terminal.reads("", "setup")
			for typed, want := range map[string]string{
				"iis end":                        "iis endpoint",
				"iis show Sh":                    "iis show Shop",
				"iis get /w3svc/1/Sec":           "iis get /w3svc/1/SecureBindings",
				"iis list --certificate ":        "iis list --certificate shop",
				"iis endpoint remove ":           fmt.Sprintf("iis endpoint remove *:%d", port),
				"iis remove binding Shop https ": fmt.Sprintf("iis remove binding Shop https *:%d:www.contoso.test", port),
			} {
				// The line is completed, then made one that prints its words.
				terminal.types("caddy " + strings.ReplaceAll(typed, "*", `\*`) + "\t\x01printf '%s|' 'be'gin \x05 'en'd\n")
				if got := terminal.reads("begin|caddy|", "|end|"); got != strings.ReplaceAll(want, " ", "|") {
					t.Errorf("%s, tab: %s, want %s", typed, got, want)
				}
			}
		})
	}
}
