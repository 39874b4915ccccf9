package caddyiis_test

import (
	"os"
	"regexp"
	"strings"
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

// TestReadmeFigures: each figure of the first screen is one of docs/performance.md.
func TestReadmeFigures(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	measured, err := os.ReadFile("docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	screen, _, _ := strings.Cut(string(raw), "\n## ")
	_, claims, _ := strings.Cut(screen, "What it has that no other server has")
	figures := regexp.MustCompile(`\d[\d,.]*\d|\d`).FindAllString(claims, -1)
	if strings.Count(claims, "\n- ") != 5 || len(figures) < 15 {
		t.Fatalf("not five lines with figures: %q", claims)
	}
	for _, figure := range figures {
		if !regexp.MustCompile(`(^|[^\d.,])` + regexp.QuoteMeta(figure) + `($|[^\d.,]|[.,]\D)`).Match(measured) {
			t.Errorf("docs/performance.md has no figure %s", figure)
		}
	}
}
