package caddyiis_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// codeBlock is a block of code of a document.
type codeBlock struct{ page, language, text string }

func (b codeBlock) String() string { return b.page + ":\n" + b.text }

func codeBlocks(t *testing.T) (list []codeBlock) {
	t.Helper()
	pattern := regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```$")
	for _, page := range documents(t) {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(raw), -1) {
			text := regexp.MustCompile("(?m)^"+m[1]).ReplaceAllString(m[3], "")
			list = append(list, codeBlock{page, m[2], text})
		}
	}
	return list
}

// blocksElsewhere are what tests of their own run, by page and language, and what is no
// code: the test, or why it is not run.
var blocksElsewhere = map[string]string{
	// Run by tests of their own.
	"README.md console":             "TestQuickstart",
	"README.md sh":                  "TestQuickstart runs the first; go test is how you are reading this, xcaddy needs the network",
	"docs/live-sites.md console":    "TestLiveSitesPage",
	"docs/live-sites.md sql":        "TestPostgresSites writes rows so",
	"docs/live-sites.md sh":         "TestLiveSitesPage runs the first; the others speak of another machine",
	"docs/migrate.md sh":            "TestGuide",
	"docs/migrate.md powershell":    "TestGuide reads what is collected; it needs Windows",
	"docs/migrate.md bat":           "TestGuide reads what is collected; it needs IIS",
	"docs/service.md ini":           "TestServicePage",
	"docs/service.md sh":            "TestServicePage",
	"docs/service.md powershell":    "TestServicePage",
	"docs/beside-iis.md powershell": "TestBesideIISPage",
	"docs/metrics.md promql":        "TestDocumentedQueries",
	"docs/metrics.md sh":            "TestAlertsPage",
	"docs/container.md sh":          "TestContainerPage",
	"docs/container.md ":            "TestContainerPage",
	"docs/semantics.md text":        "TestServeExamplesOfConflicts",
	"docs/farm.md sh":               "TestFarmPanel",
	"docs/farm.md console":          "TestFarmPanel",
	"docs/architecture.md ":         "TestArchitecture",
	// Of other programs, which this project does not have.
	"docs/farm.md ":             "a configuration of HAProxy",
	"docs/from-iis.md bat":      "commands of Windows beside those of caddy iis that take their place",
	"docs/commands.md text":     "a file for verify --paths",
	"docs/commands.md bat":      "commands of Windows, which TestDifference applies",
	"docs/admin-api.md console": "curl against the admin API of Caddy",
	"docs/reference.md sh":      "curl against the admin API of Caddy",
	"bench/README.md sh":        "the benchmarks, which take hours",
	"CONTRIBUTING.md sh":        "the tests themselves",
}

// TestBlocks: each block of code in the documents is tried: Caddyfiles are adapted where
// they belong, JSON and XML are read, command lines of caddy iis are taken by the commands.
// What cannot be tried so is named above with the test that runs it; what is neither does
// not pass.
func TestBlocks(t *testing.T) {
	blocks := codeBlocks(t)
	for key, how := range blocksElsewhere {
		if test, ok := strings.CutPrefix(how, "Test"); ok && !testExists(t, "Test"+strings.Fields(test)[0]) {
			t.Errorf("%s: there is no %s", key, how)
		}
	}
	empty := t.TempDir() // in the place of a folder with files that are imported
	used := make(map[string]bool)
	for _, b := range blocks {
		var err error
		key := b.page + " " + b.language
		how := blocksElsewhere[key]
		switch {
		case b.language == "caddyfile":
			err = adaptsSomewhere(strings.ReplaceAll(b.text, "import sites/", "import "+empty+"/"))
		case b.language == "json":
			err = readsAsJSON(b.text)
		case b.language == "xml":
			err = readsAsXML(b.text)
		case how != "":
			used[key] = true
		}
		lines, lineErr := takesLines(b.text)
		if err = errors.Join(err, lineErr); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		switch b.language {
		case "caddyfile", "json", "xml":
		case "console", "sh":
			if lines == 0 && how == "" {
				t.Errorf("%s\nis not run by any test", b)
			}
		default:
			if how == "" {
				t.Errorf("%s %q is not tried by any test", b, b.language)
			}
		}
	}
	for key, how := range blocksElsewhere {
		if !used[key] {
			t.Errorf("there is no block for %s: %s", key, how)
		}
	}
}

func testExists(t *testing.T, name string) bool {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "_test.go") && functionText(t, file.Name(), name) != "" {
			return true
		}
	}
	return false
}

// grammarPattern finds what stands for something else: <name>, [option], and three dots.
var grammarPattern = regexp.MustCompile(`<[a-z][^<>\n]*>|\[[a-z<][^\]\n]*\]|\.\.\.$|\|`)

// adaptsSomewhere tries a Caddyfile at the places where its lines can stand. A block that
// shows the grammar has nothing to try.
func adaptsSomewhere(block string) error {
	if grammarPattern.MatchString(block) {
		return nil
	}
	const site = "server_bindings :80:\n"
	var errs []error
	for _, place := range []string{
		"%s", "{\niis {\n%s\n}\n}\n", "{\niis {\nsite 1 {\n" + site + "%s\n}\n}\n}\n", "{\n%s\n}\n", "{\n}\nexample.com {\n%s\n}\n",
		"{\niis {\nendpoint *:443 {\n%s\n}\n}\n}\n", "{\niis {\nsite 1 {\nbinding https *:443:www.example.com {\n%s\n}\n}\n}\n}\n",
		"{\niis {\n" + "sites_from bolt {\n%s\n}\n}\n}\n", "{\niis {\ntemplate t {\n%s\n}\n}\n}\n",
		"{\niis {\nsite 1 {\n" + site + "handle {\n%s\n}\n}\n}\n}\n", "{\n}\nexample.com {\nreverse_proxy localhost:1 {\n%s\n}\n}\n", "{\n}\n%s",
		"{\niis {\nsite 1 {\n" + site + "reverse_proxy localhost:1 {\n%s\n}\n}\n}\n}\n", "{\nlog {\n%s\n}\n}\n",
	} {
		text := fmt.Sprintf(place, block)
		if place == "%s" && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			continue
		}
		_, err := ts.Adapt(text, "")
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// readsAsJSON reads one or more values; three dots stand for what is left out.
func readsAsJSON(text string) error {
	text = regexp.MustCompile(`,?\s*\.\.\.,?`).ReplaceAllString(text, "")
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var value any
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func readsAsXML(text string) error {
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// iisLine finds command lines of caddy iis, in a console or in a script.
var iisLine = regexp.MustCompile(`(?m)^(?:\$ |PS> |sudo )*(?:\./)?caddy iis (.*)$`)

// takesLines gives the command lines of a block to the commands, which do nothing: commands
// and flags are known, and the number of arguments is right.
func takesLines(block string) (lines int, err error) {
	for _, m := range iisLine.FindAllStringSubmatch(block, -1) {
		lines++
		line, _, _ := strings.Cut(m[1], "  #")
		if grammarPattern.MatchString(strings.Split(line, " | ")[0]) || strings.HasSuffix(line, `\`) {
			continue
		}
		if lineErr := takesLine(line); lineErr != nil {
			err = errors.Join(err, fmt.Errorf("caddy iis %s: %w", line, lineErr))
		}
	}
	return lines, err
}

func takesLine(line string) error {
	words := regexp.MustCompile(`"[^"]*"|[^\s"]+(?:"[^"]*")?|\S+`).FindAllString(line, -1)
	for i, word := range words {
		if word == "|" || word == ">" || word == "2>" || word == "&&" || word == "<" {
			words = words[:i]
			break
		}
		words[i] = strings.ReplaceAll(word, `"`, "")
	}
	root, _ := iisCommand()
	cmd, rest, err := root.Find(append([]string{"iis"}, words...))
	if err != nil {
		return err
	}
	cmd.SetErr(io.Discard)
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	args := cmd.Flags().Args()
	if cmd.Args == nil {
		return cobra.NoArgs(cmd, args)
	}
	return cmd.Args(cmd, args)
}
