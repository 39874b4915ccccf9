// Package needs has what tests need of a machine beside Go. Where that is
// missing they are skipped, for the reasons given here and for no others.
package needs

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// OpenSSL skips a test on a machine without the openssl command, which is the
// other implementation that ours has to understand. CI installs it, and fails
// without it.
func OpenSSL(t testing.TB) {
	t.Helper()
	program(t, "openssl")
}

// SystemdAnalyze skips a test on a machine without systemd's tools. CI installs
// them on Linux, and fails without them there.
func SystemdAnalyze(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("systemd is for Linux")
	}
	program(t, "systemd-analyze")
}

// Promtool skips a test on a machine without Prometheus's tool, which reads and tests
// rules of alerts. CI installs it, and fails without it.
func Promtool(t testing.TB) {
	t.Helper()
	program(t, "promtool")
}

// Curl skips a test on a machine without the curl command, with which documented
// commands are run as they are written. CI fails without it.
func Curl(t testing.TB) {
	t.Helper()
	program(t, "curl")
}

// Chromium finds a browser, or skips a test on a machine without one. CI installs it,
// and fails without it.
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	program(t, "chromium")
	return ""
}

// Postgres finds the folder of PostgreSQL's programs, or skips a test on a machine
// without them. CI installs them, and fails without them.
func Postgres(t testing.TB) string {
	t.Helper()
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian keeps them off the path
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, "initdb")); err == nil {
			return folder
		}
	}
	program(t, "initdb")
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

func program(t testing.TB, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip("the program ", name, " is not installed: ", err)
	}
}

// Symlink makes a symbolic link. Windows lets only some users do that.
func Symlink(t testing.TB, target, link string) {
	t.Helper()
	err := os.Symlink(target, link)
	switch {
	case err == nil:
	case runtime.GOOS == "windows":
		t.Skip("symbolic links are a privilege here: ", err)
	default:
		t.Fatal(err)
	}
}

// OpenFilesGo skips a test on Windows, where nobody moves or removes a file that a program
// has open.
func OpenFilesGo(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("files that are open stay where they are here")
	}
}

// SharedAddresses skips a test on Windows, where two sockets of a process cannot have the
// same address, one until the other is closed.
func SharedAddresses(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("only one socket has an address here")
	}
}

// OpenFolder returns a folder for files that are open until the process ends. Windows
// removes no such file: there the folder stays behind.
func OpenFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "caddy-iis-open-") //nolint:usetesting // t.TempDir fails where the folder stays
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.RemoveAll(dir)
		for tries := 0; err != nil && tries < 100 && runtime.GOOS != "windows"; tries++ { // a last line may just be written
			time.Sleep(50 * time.Millisecond)
			err = os.RemoveAll(dir)
		}
		if err != nil && runtime.GOOS != "windows" {
			t.Error(err)
		}
	})
	return dir
}

// Root skips a test for anybody else: only root gives files to others, and runs programs
// as others.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
}

// Shell skips a test on Windows, whose commands are others than those of the documents
// for Linux and macOS.
func Shell(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("sh")
	switch {
	case runtime.GOOS == "windows":
		t.Skip("these commands are for sh")
	case err != nil:
		t.Fatal(err)
	}
}

// UserShell finds a shell that users type commands into, by its name, or skips a test on a
// machine without it. CI installs bash and zsh, and fails without them.
func UserShell(t testing.TB, name string) string {
	t.Helper()
	Shell(t)
	program(t, name)
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// BashCompletion finds the script of the package bash-completion, which the completions of
// commands in bash are for, or skips a test on a machine without it. CI installs it on Linux,
// and fails without it there.
func BashCompletion(t testing.TB) string {
	t.Helper()
	const script = "/usr/share/bash-completion/bash_completion"
	_, err := os.Stat(script)
	switch {
	case err == nil:
	case os.Getenv("CI") != "" && runtime.GOOS == "linux":
		t.Fatal(err)
	default:
		t.Skip("bash-completion is not installed: ", err)
	}
	return script
}

// Signals skips a test where a process cannot send itself a signal, which is Windows.
func Signals(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send an interrupt here")
	}
}

// Sockets counts the sockets that this process has open, which only Linux tells
// without a program of its own for it.
func Sockets(t testing.TB) int {
	t.Helper()
	const folder = "/proc/self/fd"
	entries, err := os.ReadDir(folder)
	switch {
	case err == nil:
	case runtime.GOOS != "linux":
		t.Skip("only Linux shows sockets in /proc: ", err)
	default:
		t.Fatal(err)
	}
	n := 0
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(folder, entry.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// Fixtures returns the folder with files of real servers, beside the repository.
// They belong to other people and must not be copied into it, so that whoever
// clones it does not have them; tests with files of its own cover the same
// formats.
func Fixtures(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			break
		}
		above := filepath.Dir(root)
		if above == root {
			t.Fatal("this is no checkout: no go.work above")
		}
		root = above
	}
	folder := filepath.Join(filepath.Dir(root), "shared", "fixtures")
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the folder with files of real servers is not here: ", folder)
	} else if err != nil {
		t.Fatal(err)
	}
	return folder
}
