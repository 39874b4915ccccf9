//go:build unix

// The names in these tests are such as only a file system of Unix can have.

package winpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// tree makes a folder with files, by slash-separated paths; a path that ends in
// a slash is a folder.
func tree(t testing.TB, paths ...string) string {
	t.Helper()
	root := t.TempDir()
	needs.CaseSensitive(t, root)
	for _, path := range paths {
		plant(t, root, path)
	}
	return root
}

func plant(t testing.TB, root, path string) {
	t.Helper()
	full := filepath.Join(root, filepath.FromSlash(path))
	dir := filepath.Dir(full)
	if strings.HasSuffix(path, "/") {
		dir = full
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir != full {
		if err := os.WriteFile(full, []byte(path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// findPath is Find for a path.
func findPath(root, path string) (string, fs.FileInfo, error) {
	names, folder, err := Segments(path)
	if err != nil {
		return "", nil, err
	}
	return Find(root, names, folder)
}

func TestFind(t *testing.T) {
	root := tree(t, "Index.HTML", "Sub/Page.txt", "sub2/x", "Both", "both", "BOTH2/in", "Both2", "Pair/lower", "pair/upper",
		"dot.", "blank ", "progra~1", "con.txt", "a:b", "q?", "back\\slash", "Größe.txt", "K", "zs", "CON", "ok.~1x", "late", "longer-name~1.txt", "bad\xffname")
	if err := os.Symlink("Sub", filepath.Join(root, "Link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(root, "Broken")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".", filepath.Join(root, "loop")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string // want: the name, or an error in parentheses
	}{
		{"/Index.HTML", "Index.HTML"},
		{"/index.html", "Index.HTML"},
		{"index.html", "Index.HTML"},
		{"/", ""},
		{"", ""},
		{"/sub", "Sub"},
		{"/sub/", "Sub"},
		{"//sub//PAGE.txt", "Sub/Page.txt"},
		{`\sub\page.TXT`, "Sub/Page.txt"},
		{"/sub/./page.txt", "Sub/Page.txt"},
		{"/sub/../index.html", "Index.HTML"},
		{"/../../index.html", "Index.HTML"},
		{`/..\..\index.html`, "Index.HTML"},
		{"/sub/page.txt/", "(not exist)"},
		{"/index.html/.", "(not exist)"},
		{"/index.html/x", "(not exist)"},
		{"/SUB/page.txt/x", "(not exist)"},
		{"/sub2/page.txt", "(not exist)"},
		// The exact name first, then the first in order; no way back.
		{"/Both", "Both"},
		{"/both", "both"},
		{"/BOTH", "Both"},
		{"/both2", "BOTH2"},
		{"/both2/in", "BOTH2/in"},
		{"/Both2/in", "(not exist)"},
		{"/PAIR/lower", "Pair/lower"},
		{"/PAIR/upper", "(not exist)"},
		{"/pair/UPPER", "pair/upper"},
		// What Windows would read in another way is there exactly or not at all.
		{"/dot.", "dot."},
		{"/DOT.", "(not exist)"},
		{"/index.html.", "(not exist)"},
		{"/Index.HTML ", "(not exist)"},
		{"/Index.HTML::$DATA", "(not exist)"},
		{"/blank ", "blank "},
		{"/blank", "(not exist)"},
		{"/progra~1", "progra~1"},
		{"/PROGRA~1", "(not exist)"},
		{"/ok.~1X", "ok.~1x"},
		{"/LONGER-name~1.txt", "longer-name~1.txt"},
		{"/con.txt", "con.txt"},
		{"/CON.txt", "(not exist)"},
		{"/con", "(not exist)"},
		{"/CON", "CON"},
		{"/a:b", "a:b"},
		{"/A:b", "(not exist)"},
		{"/q?", "q?"},
		{"/Sub./Page.txt", "(not exist)"},
		{"/back\\slash", "(not exist)"},
		// Case.
		{"/GRÖSSE.TXT", "(not exist)"},
		{"/GRÖßE.TXT", "Größe.txt"},
		{"/\u212A", "(not exist)"}, // Kelvin
		{"/z\u017F", "(not exist)"},
		// Links as Caddy has them.
		{"/link/page.txt", "Link/Page.txt"},
		{"/broken", "(not exist)"},
		{"/Broken", "(not exist)"},
		{"/LOOP/loop/Loop/late", "loop/loop/loop/late"},
		// What no file has.
		{"/a\x00b", "(invalid)"},
		{"/a\nb", "(invalid)"},
		{"/a\u0085b", "(invalid)"},
		{"/a\xffb", "(invalid)"},
		{"/" + strings.Repeat("x", 261), "(not exist)"},
		{"/" + strings.Repeat("é", 200), "(not exist)"},
		{strings.Repeat("/loop", 256), "(not exist)"},
		{"/bad\uFFFDname", "(not exist)"},
		{"/nothing", "(not exist)"},
	} {
		name, info, err := findPath(root, c.path)
		got := name
		switch {
		case errors.Is(err, fs.ErrInvalid):
			got = "(invalid)"
		case errors.Is(err, fs.ErrNotExist):
			got = "(not exist)"
		case err != nil:
			t.Errorf("%q: %v", c.path, err)
			continue
		case info == nil:
			t.Errorf("%q: no information about the file", c.path)
		}
		if got != c.want {
			t.Errorf("%q finds %q, not %q", c.path, got, c.want)
		}
	}
}

func TestFindWithoutRoot(t *testing.T) {
	if _, _, err := findPath(filepath.Join(t.TempDir(), "gone"), "/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is not there: %v", err)
	}
}

func TestFirst(t *testing.T) {
	root := tree(t, "Index.HTM", "default.htm/", "index.html", "Doc.", "con.htm")
	for _, c := range []struct {
		names []string
		want  string
		place int
	}{
		{[]string{"Default.htm", "index.htm", "index.html"}, "Index.HTM", 1},
		{[]string{"nothing.htm", "INDEX.HTML"}, "index.html", 1},
		{[]string{"doc.", "Doc."}, "Doc.", 1},
		{[]string{"CON.htm", "con.htm"}, "con.htm", 1},
		{[]string{"default.htm", "x"}, "", 0},
		{nil, "", 0},
	} {
		i, name, info, ok := First(root, c.names)
		if ok != (c.want != "") || name != c.want || i != c.place || ok && info.Size() == 0 {
			t.Errorf("%q: %q at %d, %v", c.names, name, i, ok)
		}
	}
	if _, _, _, ok := First(filepath.Join(root, "gone"), []string{"x"}); ok {
		t.Error("a file is found in a folder that is not there")
	}
}

func TestMap(t *testing.T) {
	root := tree(t, "Default.htm", "app/hidden.txt", "sub/A.txt")
	app := tree(t, "Data.txt", "index.php")
	shared := tree(t, "s.txt")
	m := New([]Folder{
		{URL: "/", Local: root, Windows: `C:\inetpub\wwwroot`},
		{URL: "/app", Local: app, Windows: `D:\Apps\one\`},
		{URL: "/app/share", Local: shared, Windows: `\\server\share$`},
		{URL: "/APP", Local: root, Windows: `E:\never`},
	})
	for _, c := range []struct {
		url, text string
		kind      Kind
	}{
		{"/", `C:\inetpub\wwwroot\`, Directory},
		{"/default.htm", `C:\inetpub\wwwroot\default.htm`, File},
		{"/sub", `C:\inetpub\wwwroot\sub`, Directory},
		{"/sub/", `C:\inetpub\wwwroot\sub\`, Directory},
		{"/sub//a.txt", `C:\inetpub\wwwroot\sub\a.txt`, File},
		{"/sub/a.txt/", `C:\inetpub\wwwroot\sub\a.txt\`, Missing},
		{"/sub/nope", `C:\inetpub\wwwroot\sub\nope`, Missing},
		{"/app", `D:\Apps\one`, Directory},
		{"/App/data.TXT", `D:\Apps\one\data.TXT`, File},
		{"/app/index.php/x", `D:\Apps\one\index.php\x`, Missing},
		{"/app/hidden.txt", `D:\Apps\one\hidden.txt`, Missing},
		{"/apple", `C:\inetpub\wwwroot\apple`, Missing},
		{"/app/share/S.txt", `\\server\share$\S.txt`, File},
	} {
		text, ok := m.Physical(c.url)
		if !ok || text != c.text {
			t.Errorf("%q is %q (%v), not %q", c.url, text, ok, c.text)
			continue
		}
		if kind, err := m.Stat(text); err != nil || kind != c.kind {
			t.Errorf("%q: %v, %v, not %v", text, kind, err, c.kind)
		}
		local, info, err := m.Resolve(c.url)
		switch {
		case c.kind == Missing:
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q is resolved to %q: %v", c.url, local, err)
			}
		case err != nil || info.IsDir() != (c.kind == Directory):
			t.Errorf("%q is resolved to %q: %v", c.url, local, err)
		default:
			if _, err := os.Stat(local); err != nil {
				t.Errorf("%q: %v", c.url, err)
			}
		}
	}
}

func TestStatTexts(t *testing.T) {
	root := tree(t, "cache/a.html", "web/index.php", "exact.", "p~1")
	m := New([]Folder{{URL: "/", Local: root, Windows: `C:\inetpub\wwwroot`}})
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Kind{
		`C:\inetpub\wwwroot\/cache/a.html`:               File, // {DOCUMENT_ROOT}/cache{URL}
		`c:/INETPUB/wwwroot/CACHE/A.HTML`:                File,
		`C:\inetpub\wwwroot\cache\..\web`:                Directory,
		`C:\x\..\inetpub\wwwroot\cache`:                  Directory,
		`C:\inetpub\wwwroot`:                             Directory,
		`C:\inetpub\wwwroot\exact.`:                      File,
		`C:\inetpub\wwwroot\p~1`:                         File,
		`C:\inetpub\wwwroot\web\index.php\x`:             Missing,
		`C:\inetpub\wwwroot\web\index.php\`:              Missing,
		`C:\inetpub\wwwroot\` + strings.Repeat("é", 200): Missing,
	} {
		if kind, err := m.Stat(text); err != nil || kind != want {
			t.Errorf("%q: %v, %v, not %v", text, kind, err, want)
		}
	}
	for _, text := range []string{
		"", `\`, `cache\a.html`, `C:`, `C:\inetpub`, `C:\inetpub\wwwroot2\x`, `C:\inetpub\wwwroot\..\secret`,
		`\\server\c:\inetpub\wwwroot`, `\\C:\inetpub\wwwroot\cache`, `\\?\C:\inetpub\wwwroot\cache`, root, filepath.Join(root, "cache"),
		`C:\inetpub\wwwroot\cache\a.html::$DATA`, `C:\inetpub\wwwroot\cache\a.html.`, `C:\inetpub\wwwroot\cache\a.html `,
		`C:\inetpub\wwwroot\cache.\a.html`, `C:\inetpub\wwwroot\con`, `C:\inetpub\wwwroot\x\Com1.txt`, `C:\inetpub\wwwroot\LPT² .x`,
		`C:\inetpub\wwwroot\INDEX~1.PHP`, `C:\inetpub\wwwroot\a*`, "C:\\inetpub\\wwwroot\\a\x00", "C:\\inetpub\\wwwroot\\a\nb",
		"C:\\inetpub\\wwwroot\\\xff", `C:\inetpub\wwwroot\P~1`, `C:\inetpub\wwwroot\` + strings.Repeat("x", 300),
	} {
		if kind, err := m.Stat(text); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q has the answer %v, %v", text, kind, err)
		}
	}
	if kind, err := m.Stat(`C:\inetpub\wwwroot\PIPE`); err == nil || errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a pipe has the answer %v, %v", kind, err)
	}
}

func TestMapWithoutWindows(t *testing.T) {
	root := tree(t, "a/B.txt")
	m := New([]Folder{{URL: "/x", Local: root}})
	if text, ok := m.Physical("/other"); ok {
		t.Errorf("a path outside of all folders is %q", text)
	}
	if text, ok := m.Physical("/x/\x00"); ok {
		t.Errorf("a path with a NUL is %q", text)
	}
	if _, _, err := m.Resolve("/other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path outside of all folders: %v", err)
	}
	text, ok := m.Physical("/x/A/b.txt")
	if !ok || !strings.HasSuffix(text, `\A\b.txt`) || strings.Contains(text, "/") {
		t.Fatalf("the file is %q, %v", text, ok)
	}
	if kind, err := m.Stat(text); kind != File || err != nil {
		t.Errorf("%q: %v, %v", text, kind, err)
	}
	drive := New([]Folder{{URL: "/", Local: root, Windows: `D:\`}})
	for url, want := range map[string]string{"/": `D:\`, "/a": `D:\a`} {
		if text, ok := drive.Physical(url); !ok || text != want {
			t.Errorf("%q is %q, not %q", url, text, want)
		}
		if kind, err := drive.Stat(want); err != nil || kind != Directory {
			t.Errorf("%q: %v, %v", want, kind, err)
		}
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		unreadableAsRoot(t)
		return
	}
	root := tree(t, "closed/file.txt", "deaf/file.txt")
	for name, mode := range map[string]fs.FileMode{"closed": 0, "deaf": 0o100} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(root, name), 0o700) })
	}
	m := New([]Folder{{URL: "/", Local: root, Windows: `C:\w`}})
	if kind, err := m.Stat(`C:\w\deaf\file.txt`); kind != File || err != nil {
		t.Errorf("an exact name in a folder that cannot be listed: %v, %v", kind, err)
	}
	for _, text := range []string{`C:\w\closed\file.txt`, `C:\w\closed\FILE.txt`, `C:\w\deaf\FILE.txt`} {
		if kind, err := m.Stat(text); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q: %v, %v", text, kind, err)
		}
	}
}

// unreadableAsRoot tests the same with a loop of links: root may read all.
func unreadableAsRoot(t *testing.T) {
	root := tree(t, "x")
	if err := os.Symlink("me", filepath.Join(root, "me")); err != nil {
		t.Fatal(err)
	}
	m := New([]Folder{{URL: "/", Local: root, Windows: `C:\w`}})
	for _, text := range []string{`C:\w\me`, `C:\w\ME`, `C:\w\me\x`} {
		if kind, err := m.Stat(text); err == nil || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, %v", text, kind, err)
		}
	}
}

// eventually waits for what listings show only after they have rested.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestListingsFollowTheFolder(t *testing.T) {
	root := tree(t, "dir/First.txt")
	dir := filepath.Join(root, "dir")
	finds := func(path string) func() bool {
		return func() bool { _, _, err := findPath(root, path); return err == nil }
	}
	misses := func(path string) func() bool {
		return func() bool { _, _, err := findPath(root, path); return errors.Is(err, fs.ErrNotExist) }
	}
	if !finds("/DIR/first.txt")() || !misses("/DIR/second.txt")() {
		t.Fatal("the folder is not seen as it is")
	}
	plant(t, dir, "Second.txt")
	if !finds("/dir/Second.txt")() {
		t.Error("a new file is not found at once by its exact name")
	}
	eventually(t, "a new file is found in another case", finds("/dir/second.txt"))
	if err := os.Remove(filepath.Join(dir, "First.txt")); err != nil {
		t.Fatal(err)
	}
	if !misses("/dir/first.txt")() {
		t.Error("a removed file is found")
	}
	// A folder that takes the place of another, as with a release.
	plant(t, root, "dir2/Third.txt")
	if err := os.Rename(dir, filepath.Join(root, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "dir2"), dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new folder is seen", finds("/dir/third.txt"))
}

func TestListingStands(t *testing.T) {
	root := tree(t, "a")
	age := func(d time.Duration) {
		t.Helper()
		then := time.Now().Add(-d)
		if err := os.Chtimes(root, then, then); err != nil {
			t.Fatal(err)
		}
	}
	now := func() fs.FileInfo {
		t.Helper()
		info, err := os.Stat(root)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	age(time.Minute)
	entry := &listingEntry{at: now(), read: time.Now().Add(-time.Second)}
	if !entry.stands(now()) {
		t.Error("the listing of a folder that has not changed for a minute does not stand")
	}
	entry.read = time.Now().Add(-maxAge - time.Second)
	if entry.stands(now()) {
		t.Error("a listing stands forever")
	}
	entry.read = time.Now().Add(-time.Second)
	age(time.Second)
	if entry.stands(now()) {
		t.Error("the listing of a folder that has changed stands")
	}
	entry.at = now()
	if entry.stands(now()) {
		t.Error("a listing stands that was read too soon after a change to notice the next")
	}
	entry.took = time.Second
	if !entry.stands(now()) {
		t.Error("a listing that took long to read does not rest")
	}
	other, err := os.Stat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if entry.stands(other) {
		t.Error("the listing of another folder stands")
	}
}

func TestListingsAreBounded(t *testing.T) {
	const folders = 50
	root := t.TempDir()
	for i := range folders {
		plant(t, root, string(rune('a'+i%26))+strings.Repeat("x", i)+"/file")
	}
	names, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	c := newListingCache(4000, 2000)
	for range 3 {
		for _, name := range names {
			l, err := c.of(filepath.Join(root, name.Name()))
			if err != nil || len(l.names) != 1 {
				t.Fatalf("%s: %v", name, err)
			}
			if c.kept > 4000 || c.recent.Len() != len(c.entries) {
				t.Fatalf("%d bytes are kept, for %d and %d folders", c.kept, c.recent.Len(), len(c.entries))
			}
		}
	}
	if len(c.entries) < 2 {
		t.Errorf("%d folders are kept", len(c.entries))
	}
	if _, err := c.of(root); !errors.Is(err, errTooManyNames) {
		t.Errorf("a large folder: %v", err)
	}
	e := c.entry(root)
	e.took = time.Hour
	if err := os.RemoveAll(filepath.Join(root, names[0].Name())); err != nil {
		t.Fatal(err)
	}
	if _, err := c.of(root); !errors.Is(err, errTooManyNames) {
		t.Errorf("a large folder is read again at once: %v", err)
	}
}
