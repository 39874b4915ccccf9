package near

import "testing"

func TestWord(t *testing.T) {
	words := []string{"server_bindings", "secure_bindings", "binding", "certificate", "sni", "www"}
	for word, want := range map[string]string{
		"secure_binding": "secure_bindings", "bindign": "binding", "Bindings": "binding", "certifcate": "certificate",
		"require_sni": "", "sn": "sni", "ns": "", "reverse_proxy": "", "": "", "SNI": "sni",
	} {
		if got, _ := Word(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := Hint("bindng", words); got != ` (did you mean "binding"?)` {
		t.Error(got)
	}
	if got := Hint("binding", []string{"binding"}); got != "" {
		t.Error(got)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
