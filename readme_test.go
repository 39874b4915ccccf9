package caddyiis_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestReadmeIsFormatted: whoever copies a Caddyfile out of the README is not told to
// format it.
func TestReadmeIsFormatted(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllSubmatch(raw, -1)
	if len(blocks) == 0 {
		t.Fatal("the README has no Caddyfile")
	}
	for _, block := range blocks {
		if got := string(caddyfile.Format(block[1])); got != string(block[1]) {
			t.Errorf("caddy fmt makes of it:\n%s", got)
		}
	}
}
