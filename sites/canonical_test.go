package sites_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestCanonicalNumbers: numbers are written in one way, whatever has kept them.
func TestCanonicalNumbers(t *testing.T) {
	long := "0." + strings.Repeat("0", 1000) + "1"
	for number, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0", "0e9": "0", "7": "7", "-70": "-70", "1e2": "100", "1E+2": "100", "100.0": "100",
		"1.50": "1.5", "-1.50e1": "-15", "12.345e1": "123.45", "12.345e-4": "0.0012345", "0.1e1": "1", "0.05e3": "50", "1e-2": "0.01",
		"1e400": "1" + strings.Repeat("0", 400), "1e401": "", "1e-401": "", "1e99999999999999999999": "", long: long,
	} {
		got, err := sites.Canonical([]byte(`{"b": [{"c":` + number + `}], "a":` + number + `}`))
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "exponent") {
				t.Errorf("%s: got %s, %v", number, got, err)
			}
			continue
		}
		if text := `{"a":` + want + `,"b":[{"c":` + want + `}]}`; err != nil || string(got) != text {
			t.Errorf("%s: got %s, %v, want %s", number, got, err, text)
		}
	}
}

// FuzzCanonicalNumber: a number means the same, and is the canonical form of itself.
func FuzzCanonicalNumber(f *testing.F) {
	for _, seed := range []string{"-12.30e-5", "0.0", "-0e7", "1E+20"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, number string) {
		got, err := sites.Canonical([]byte(`{"a":` + number + `}`))
		before, ok := new(big.Rat).SetString(strings.TrimSpace(number))
		if err != nil || !ok || len(number) > 1000 || strings.ContainsAny(number, "}{,:\"/") {
			return
		}
		text := strings.TrimSuffix(strings.TrimPrefix(string(got), `{"a":`), "}")
		if after, ok := new(big.Rat).SetString(text); !ok || after.Cmp(before) != 0 || strings.ContainsAny(text, "eE") {
			t.Errorf("%s became %s", number, text)
		}
		if again, err := sites.Canonical(got); err != nil || string(again) != string(got) {
			t.Errorf("%s is canonical, and then %s, %v", got, again, err)
		}
	})
}
