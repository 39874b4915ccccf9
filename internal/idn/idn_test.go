package idn

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	composed   = "b\u00fccher.test"
	decomposed = "bu\u0308cher.test"
	ascii      = "xn--bcher-kva.test"
)

func TestToASCII(t *testing.T) {
	for name, want := range map[string]string{
		composed: ascii, decomposed: ascii, "B\u00dcCHER.Test": ascii, "*." + decomposed: "*." + ascii,
		"www." + composed: "www." + ascii, "WWW.Example.com": "www.example.com", "a_b.\u00e4.test": "a_b.xn--4ca.test",
		"stra\u00dfe.test": "xn--strae-oqa.test", // nontransitional
		"b\u00fccher。test": ascii, "": "", "*": "*",
	} {
		if got, err := ToASCII(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", name, got, err, want)
		}
	}
	for _, bad := range []string{"b\xfccher.test", "\ufffd.test", "\u0308u.test", "xn--\u00fc.test"} {
		if got, err := ToASCII(bad); err == nil {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}

func TestToUnicode(t *testing.T) {
	for name, want := range map[string]string{
		ascii: composed, "*." + ascii: "*." + composed, "www." + ascii: "www." + composed, "_." + ascii: "_." + composed,
		"www.example.com":     "",
		"xn--bucher-xyd.test": "", // the decomposed form as it is, which nobody asks for
		"xn--a.test":          "",
	} {
		got, ok := ToUnicode(name)
		if ok != (want != "") || got != want {
			t.Errorf("%q: got %q, %v; want %q", name, got, ok, want)
		}
	}
}

func TestReachable(t *testing.T) {
	for name, want := range map[string]string{"xn--bucher-xyd.test": ascii, "*.xn--bucher-xyd.test": "*." + ascii, ascii: "", "www.test": "", "XN--BCHER-KVA.test": ""} {
		if got, ok := Reachable(name); got != want && ok || ok != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", name, got, ok, want)
		}
	}
}

// FuzzToUnicode: whatever comes from the network, the Unicode form holds nothing
// that names another file or host, and leads back.
func FuzzToUnicode(f *testing.F) {
	for _, name := range []string{ascii, "xn--a.test", "xn--www-gp6j.test", "xn--a-0gn.test", "xn--/-x.test"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, ok := ToUnicode(name)
		if !ok {
			return
		}
		if back, err := ToASCII(got); err != nil || back != name {
			t.Fatalf("%q becomes %q, then %q, %v", name, got, back, err)
		}
		if !utf8.ValidString(got) || strings.Count(got, "/") > strings.Count(name, "/") || strings.Count(got, `\`) > strings.Count(name, `\`) {
			t.Fatalf("%q becomes %q", name, got)
		}
	})
}
