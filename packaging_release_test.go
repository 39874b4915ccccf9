//go:build linux

package caddyiis_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// release is a folder as .ci/release fills it, with scripts in the place of programs.
type release struct {
	*testing.T
	dist, tag string
}

// newRelease makes one whose program says of itself what it is told to.
func newRelease(t *testing.T, told map[string]string) release {
	t.Helper()
	r := release{t, t.TempDir(), "v1.2.3"}
	r.pack("linux_"+runtime.GOARCH, told)
	rpm := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	r.write("caddy-iis_1.2.3_"+runtime.GOARCH+".deb", "a package")
	r.write("caddy-iis-1.2.3-1."+rpm+".rpm", "a package")
	return r
}

// pack makes an archive and the list of its modules.
func (r release) pack(target string, told map[string]string) {
	r.Helper()
	folder := "caddy-iis_1.2.3_" + target
	script := "#!/bin/sh\ncase $1 in\n"
	for _, command := range []string{"version", "list-modules", "build-info"} {
		script += fmt.Sprintf("%s) printf '%%s\\n' '%s' ;;\n", command, told[command])
	}
	in := r.TempDir()
	write(r.T, filepath.Join(in, folder), map[string][]byte{"caddy": []byte(script + "esac\n")})
	if err := os.Chmod(filepath.Join(in, folder, "caddy"), 0o755); err != nil {
		r.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", in, "-czf", filepath.Join(r.dist, folder+".tar.gz"), folder).CombinedOutput(); err != nil {
		r.Fatalf("%v\n%s", err, out)
	}
	r.write(folder+".cdx.json", `{"component": {"version": "`+r.tag+`"}}`)
}

func (r release) write(name, content string) {
	r.Helper()
	write(r.T, r.dist, map[string][]byte{name: []byte(content)})
}

func (r release) remove(name string) {
	r.Helper()
	if err := os.Remove(filepath.Join(r.dist, name)); err != nil {
		r.Fatal(err)
	}
}

// sum writes the checksums of all files.
func (r release) sum() {
	r.Helper()
	entries, err := os.ReadDir(r.dist)
	if err != nil {
		r.Fatal(err)
	}
	var sums strings.Builder
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(r.dist, entry.Name()))
		if err != nil {
			r.Fatal(err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(raw), entry.Name())
	}
	r.write("SHA256SUMS", sums.String())
}

// TestReleaseCheck: what is released has checksums, modules and packages, and says which
// version it is; where one is missing or wrong, nothing is.
func TestReleaseCheck(t *testing.T) {
	right := map[string]string{"version": "caddy-iis/v1.2.3 v2.11.9 h1:x", "list-modules": "http\niis\ntls", "build-info": "path\tx\nmod\tx\tv1.2.3\t"}
	with := func(command, output string) map[string]string {
		told := map[string]string{command: output}
		for other, output := range right {
			if other != command {
				told[other] = output
			}
		}
		return told
	}
	folder := "caddy-iis_1.2.3_linux_" + runtime.GOARCH
	for name, test := range map[string]struct {
		told   map[string]string
		before func(release) // that there are checksums
		after  func(release)
		want   string
	}{
		"right":                               {told: right},
		"no checksums":                        {told: right, after: func(r release) { r.remove("SHA256SUMS") }, want: "there is no SHA256SUMS"},
		"a file without a checksum":           {told: right, after: func(r release) { r.write("other.zip", "") }, want: "a file has no checksum"},
		"a checksum without a file":           {told: right, after: func(r release) { r.remove(folder + ".cdx.json") }, want: "not what SHA256SUMS says"},
		"another file":                        {told: right, after: func(r release) { r.write(folder+".cdx.json", "{}") }, want: "not what SHA256SUMS says"},
		"no modules":                          {told: right, before: func(r release) { r.write(folder+".cdx.json", "{}") }, want: "is not that of v1.2.3"},
		"no package":                          {told: right, before: func(r release) { r.remove("caddy-iis_1.2.3_" + runtime.GOARCH + ".deb") }, want: "has these packages"},
		"no archive":                          {told: right, before: func(r release) { r.remove(folder + ".tar.gz") }, want: "there is no archive"},
		"another version in caddy version":    {told: with("version", "caddy-iis/v1.2.2 v2.11.9"), want: "caddy version says: caddy-iis/v1.2.2"},
		"no version of ours in caddy version": {told: with("version", "v2.11.9 h1:x"), want: "caddy version says"},
		"another version in build-info":       {told: with("build-info", "mod\tx\t(devel)\t"), want: "caddy build-info says that it is (devel)"},
		"no module":                           {told: with("list-modules", "http\ntls"), want: "no module iis"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelease(t, test.told)
			for _, change := range []func(release){test.before, release.sum, test.after} {
				if change != nil {
					change(r)
				}
			}
			out, err := exec.Command("bash", ".ci/release-check", r.dist, r.tag).CombinedOutput()
			if (err != nil) != (test.want != "") || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want %q\n%s", err, test.want, out)
			}
		})
	}
}
