package caddyiis_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// waysOut are the words by which a message says what to do.
var waysOut = regexp.MustCompile(`way out: |did you mean |accepted: |expected: |put a blank|, such as "|: add "id"|is a closing brace missing|remove it|remove one of them|give one of them|has no place here: |they are swapped|global option log|add certificate |add template |give one |: expected |, expected `)

// TestMistakes: each likely mistake is answered by a sentence that says what is wrong and
// what to do; a message without a way out does not pass. With UPDATE_GOLDEN=1 in the environment, testdata/mistakes.txt is written
// anew.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	_, otherKey := ts.PEM(t, "other.contoso.test")
	expired, expiredKey := ts.PEMValid(t, -48*time.Hour, -24*time.Hour, "www.contoso.test")
	secret := filepath.Join(dir, "secret.key")
	if err := os.WriteFile(secret, []byte("key"), 0o200); err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer("SECRETKEY", secret, "CERT", certFile, "OTHERKEY", otherKey, "KEY", keyFile, "EXPIREDPAIR", expired+" "+expiredKey, "DIR", dir)
	back := strings.NewReplacer(secret, "SECRETKEY", certFile, "CERT", otherKey, "OTHERKEY", keyFile, "KEY", expired, "EXPIRED", dir, "DIR")
	raw, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var written strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(string(raw)), "\n\n### ") {
		name, rest, _ := strings.Cut(strings.TrimPrefix(block, "### "), "\n")
		input, want, _ := strings.Cut(rest+"\n", "\n=>\n")
		if strings.Contains(input, "SECRETKEY") && os.Getuid() == 0 {
			fmt.Fprintf(&written, "### %s\n%s\n\n", name, strings.TrimSpace(rest))
			continue // root may read everything
		}
		ending := ".caddyfile"
		for mark, other := range map[string]string{"(JSON)": ".json", "(no name)": ".conf"} {
			if strings.HasPrefix(input, mark) {
				ending = other
			}
		}
		file := filepath.Join(dir, fmt.Sprint(i)+ending)
		list := filepath.Join(dir, "sites.jsonl")
		config := encode(names.Replace(input))
		if lines, ok := strings.CutPrefix(input, "(sites file)\n"); ok {
			config = encode("sites_file " + list)
			if err := os.WriteFile(list, []byte(lines+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		caddyiis.RunCommand(&out, &errOut, "check", "--no-probe", "--config", file)
		said := strings.TrimSpace(out.String() + errOut.String())
		if i := strings.LastIndex(said, "\n\n"); i >= 0 {
			said = said[:i] // how many there are
		}
		got := back.Replace(strings.ReplaceAll(said, file, "FILE"))
		got = dates.ReplaceAllString(thumbprints.ReplaceAllString(got, "SHA1"), "YYYY-MM-DD")
		fmt.Fprintf(&written, "### %s\n%s\n=>\n%s\n\n", name, input, got)
		if !waysOut.MatchString(got) {
			t.Errorf("%s: there is no way out: %s", name, got)
		}
		if chain := regexp.MustCompile(`loading (handler )?module|provision |parsing caddyfile tokens`); chain.MatchString(got) {
			t.Errorf("%s: the chain of modules: %s", name, got)
		}
		if got != strings.TrimSpace(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("testdata/mistakes.txt", []byte(strings.TrimSpace(written.String())+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// encode makes the bytes of a file: the first line may name an encoding.
func encode(input string) []byte {
	encoding, rest, _ := strings.Cut(input, "\n")
	switch encoding {
	case "(UTF-16)":
		units := append([]uint16{0xfeff}, utf16.Encode([]rune(rest))...)
		var b []byte
		for _, u := range units {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return b
	case "(BOM)":
		return []byte("\ufeff" + rest)
	case "(JSON)", "(no name)":
		return []byte(rest)
	case "(CRLF)":
		return []byte(strings.ReplaceAll(rest, "\n", "\r\n"))
	}
	return []byte("{\niis {\n" + input + "\n}\n}\n")
}
