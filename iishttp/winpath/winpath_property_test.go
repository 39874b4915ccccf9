//go:build unix

package winpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// knownName is a name with what Windows makes of it, so that the reference
// needs no rule of the package.
type knownName struct {
	name    string
	literal bool
	alike   int // names with one number are equal without regard to case
}

var knownNames = []knownName{
	{"a", false, 1},
	{"A", false, 1},
	{"bc", false, 2},
	{"bC", false, 2},
	{"Bc", false, 2},
	{"BC", false, 2},
	{"é", false, 3},
	{"É", false, 3},
	{"k", false, 4},
	{"K", false, 4},
	{"\u212A", false, 5},
	{"s", false, 6},
	{"S", false, 6},
	{"\u017F", false, 7},
	{"i", false, 8},
	{"I", false, 8},
	{"İ", false, 9},
	{"ı", false, 10},
	{"a.", true, 11},
	{"A.", true, 12},
	{"a ", true, 13},
	{"con", true, 14},
	{"Con", true, 15},
	{"ab~1", true, 16},
	{"AB~1", true, 17},
	{"a:b", true, 18},
}

func known(name string) knownName {
	for _, k := range knownNames {
		if k.name == name {
			return k
		}
	}
	panic(name)
}

// slowFind is the rules of the package, said once more and slowly: read each
// folder, take the exact name or else the first that is alike.
func slowFind(root string, names []string, folder bool) (string, string) {
	at, found := root, []string{}
	for _, name := range names {
		entries, err := os.ReadDir(at) // sorted
		if err != nil {
			return "", "missing"
		}
		match := ""
		for _, e := range entries {
			if !known(name).literal && known(e.Name()).alike == known(name).alike && match == "" {
				match = e.Name()
			}
		}
		for _, e := range entries {
			if e.Name() == name {
				match = name
			}
		}
		if match == "" {
			return "", "missing"
		}
		at, found = filepath.Join(at, match), append(found, match)
	}
	info, err := os.Stat(at)
	switch {
	case err != nil:
		return "", "missing"
	case info.IsDir():
		return strings.Join(found, "/"), "directory"
	case folder:
		return "", "missing"
	}
	return strings.Join(found, "/"), "file"
}

// TestFindAsReference compares Find, Resolve and Stat with slowFind, on random
// trees.
func TestFindAsReference(t *testing.T) {
	base := t.TempDir()
	needs.CaseSensitive(t, base)
	trees := 0
	rapid.Check(t, func(rt *rapid.T) {
		trees++
		root := filepath.Join(base, strconv.Itoa(trees))
		if err := os.Mkdir(root, 0o700); err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(root)
		nameOf := rapid.Custom(func(rt *rapid.T) string { return rapid.SampledFrom(knownNames).Draw(rt, "name").name })
		namesOf := rapid.SliceOfN(nameOf, 1, 3)
		for _, names := range rapid.SliceOfN(namesOf, 0, 12).Draw(rt, "tree") {
			full := filepath.Join(append([]string{root}, names...)...)
			// What is in the way stays: some of these fail, and shall.
			_ = os.MkdirAll(filepath.Dir(full), 0o755)
			_ = os.WriteFile(full, nil, 0o600)
		}
		m := New([]Folder{{URL: "/Mount", Local: root, Windows: `C:\Web root`}})
		for range 20 {
			names := rapid.SliceOfN(nameOf, 0, 4).Draw(rt, "path")
			folder := len(names) == 0 || rapid.Bool().Draw(rt, "folder")
			path := "/" + strings.Join(names, rapid.SampledFrom([]string{"/", `\`, "//", "/./", "/x/../"}).Draw(rt, "slash"))
			if folder && len(names) > 0 {
				path += "/"
			}
			wantName, wantKind := slowFind(root, names, folder)
			name, info, err := findPath(root, path)
			kind := "missing"
			switch {
			case err == nil && info.IsDir():
				kind = "directory"
			case err == nil:
				kind = "file"
			case !errors.Is(err, fs.ErrNotExist):
				rt.Fatalf("%q: %v", path, err)
			}
			if name != wantName || kind != wantKind {
				rt.Fatalf("%q finds the %s %q, not the %s %q", path, kind, name, wantKind, wantName)
			}
			local, _, err := m.Resolve("/mOUNT" + path)
			if (err == nil) != (wantKind != "missing") || err == nil && local != filepath.Join(root, name) {
				rt.Fatalf("%q is resolved to %q, %v", path, local, err)
			}
			text, ok := m.Physical("/mount" + path)
			if !ok {
				rt.Fatalf("%q has no physical path", path)
			}
			stat, err := m.Stat(text)
			literal := false
			for _, name := range names {
				literal = literal || known(name).literal
			}
			_, exists := slowFind(root, names, false)
			if (err != nil) != (literal && exists == "missing") || err == nil && stat.String() != wantKind {
				rt.Fatalf("%q is %v, %v, not %s", text, stat, err, wantKind)
			}
		}
	})
}

// FuzzStat looks for a text that leads out of the folder or is not answered.
func FuzzStat(f *testing.F) {
	outside := f.TempDir()
	root := filepath.Join(outside, "root")
	for _, path := range []string{"root/In.txt", "root/sub/Page.txt", "secret.txt", "root2/secret.txt"} {
		plant(f, outside, path)
	}
	m := New([]Folder{{URL: "/", Local: root, Windows: `C:\www`}})
	for _, seed := range []string{`C:\www\in.txt`, `C:\www\..\secret.txt`, `c:/www/sub/../../secret.txt`, `\\?\C:\www`, `C:\www\in.txt::$DATA`, "/sub/page.txt", `/..\..\secret.txt`, "/%2e%2e/secret.txt", "/SUB/./"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if kind, err := m.Stat(text); err != nil && kind != Missing {
			t.Errorf("%q: %v with %v", text, kind, err)
		}
		local, info, err := m.Resolve(text)
		if err != nil {
			return
		}
		below, err := filepath.Rel(root, local)
		if err != nil || below != "." && !filepath.IsLocal(below) {
			t.Errorf("%q leads to %q", text, local)
		}
		if again, err := os.Stat(local); err != nil || !os.SameFile(info, again) {
			t.Errorf("%q: the information is not that of %q: %v", text, local, err)
		}
	})
}
