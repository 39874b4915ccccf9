package centralstore

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var refused = []string{
	"", ".", "..", "../x", "a/b", `a\b`, "a..b", ".a", "a.", "a.b.", " a", "a ", "a b", "a\x00", "a\x00.b",
	"*.example.com", "a:b", "a:$DATA", "[::1]", "::1", "a%2fb", "bücher.example", "a\n", "~", "$x", "a,b", "-\t",
	strings.Repeat("a", 64), "x." + strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 126) + "ab",
	strings.Repeat("a", 100_000), "/etc/passwd", `\\server\share`, `c:\x`, "%00", "con:", "nul ", "com¹",
}

func TestRefusedNames(t *testing.T) {
	m := new(memory)
	s := open(t, m, Options{})
	for _, name := range refused {
		expect(t, s, name, "")
		if _, err := s.Check(t.Context(), name); err == nil {
			t.Errorf("Check takes %q", name)
		}
	}
	if len(m.asked) != 0 {
		t.Errorf("the store was asked for %q", m.asked)
	}
	if n := s.Stats().Refused; n != uint64(len(refused)) {
		t.Errorf("%d refused, want %d", n, len(refused))
	}
}

func TestLongNames(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a" // 253, which makes no name of a file
	label := strings.Repeat("b", 63) + ".example.com"
	m := new(memory)
	m.put(label+".pfx", "ok label")
	m.put("_"+long[1:]+".pfx", "ok never")
	s := open(t, m, Options{})
	expect(t, s, label, "ok label")
	expect(t, s, long, "")
	for _, asked := range m.asked {
		if len(asked) > maxFile {
			t.Errorf("asked for a name of %d", len(asked))
		}
	}
}

func TestDeviceNames(t *testing.T) {
	devices := []string{"con", "NUL", "aux", "Prn", "com1", "COM9", "lpt1", "com0"}
	m := new(memory)
	m.put("_.example.com.pfx", "ok wildcard")
	for _, device := range devices {
		for _, ext := range []string{".pfx", ".example.com.pfx"} {
			m.put(strings.ToLower(device)+ext, "ok device")
		}
	}
	s := open(t, m, Options{})
	for _, device := range devices {
		expect(t, s, device, "")
		expect(t, s, device+".example.com", "ok wildcard")
	}
	for _, asked := range m.asked {
		if !strings.HasPrefix(asked, "_.example.com.") {
			t.Errorf("asked for %q", asked)
		}
	}
	for _, name := range []string{"console", "com", "com10", "lpt", "www.con", "nul-1"} {
		m.put(name+".pfx", "ok "+name)
		expect(t, s, name, "ok "+name)
	}
}

var (
	referenceName   = regexp.MustCompile(`^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$`)
	referenceDevice = regexp.MustCompile(`^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)
)

// reference is what a server name may lead to, the slow way.
func reference(name string) (stems []string) {
	if len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r > 127 }) {
		return nil
	}
	name = strings.ToLower(name)
	if !referenceName.MatchString(name) {
		return nil
	}
	if !referenceDevice.MatchString(name) {
		stems = append(stems, name)
	}
	if labels := strings.Split(name, "."); len(labels) > 1 {
		labels[0] = "_"
		stems = append(stems, strings.Join(labels, "."))
	}
	return stems
}

func FuzzName(f *testing.F) {
	for _, name := range append(refused, "www.example.com", "WWW.Example.COM", "localhost", "_.example.com", "con.example.com", "xn--bcher-kva.example") {
		f.Add(name)
	}
	root := filepath.FromSlash("/srv/certs")
	backend := Folder(root)
	f.Fuzz(func(t *testing.T, name string) {
		var (
			h     host
			stems []string
		)
		if h.parse(name) {
			for _, stem := range [][]byte{h.exact(), h.wildcard()} {
				if stem != nil {
					stems = append(stems, string(stem))
				}
			}
		}
		if got, want := strings.Join(stems, "|"), strings.Join(reference(name), "|"); got != want {
			t.Fatalf("%q leads to %q, want %q", name, got, want)
		}
		for _, stem := range stems {
			file := stem + ".pfx"
			if !filepath.IsLocal(file) || filepath.Dir(backend.Locate(file)) != filepath.Clean(backend.String()) {
				t.Fatalf("%q leads to %q", name, backend.Locate(file))
			}
		}
	})
}
