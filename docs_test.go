package caddyiis_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// packageFolders lists the folders with Go files, as "binding/"; "./" is the root.
func packageFolders(t *testing.T) []string {
	t.Helper()
	var folders []string
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) == ".go":
			folders = append(folders, path.Dir(name)+"/")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// imports lists the packages of this project that a package imports, as folders.
func imports(t *testing.T, folder string) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS(folder), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path.Join(folder, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "github.com/caddy-iis/caddy-iis"); ours {
				list = append(list, path.Join(".", imported)+"/")
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

var (
	folderPattern = regexp.MustCompile(`(?m)(?:^|\s)((?:[a-z0-9]+|\.)(?:/[a-z0-9]+)*/)(?:\s|$)`)
	goFilePattern = regexp.MustCompile("`((?:[a-z]+/)*[a-z0-9_*]+\\.go)`")
)

// TestArchitecture: the page names every package and none that is not there, in
// an order in which none imports a later one, and each file that it names exists.
func TestArchitecture(t *testing.T) {
	raw, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	_, tree, ok := strings.Cut(page, "<!-- packages -->\n```\n")
	if !ok {
		t.Fatal("the page has no tree")
	}
	tree, _, _ = strings.Cut(tree, "```")
	var named []string
	// A blank can end one match and begin the next.
	for _, m := range folderPattern.FindAllStringSubmatch(strings.ReplaceAll(tree, " ", "  "), -1) {
		named = append(named, m[1])
	}
	packages := packageFolders(t)
	for _, folder := range packages {
		if !slices.Contains(named, folder) {
			t.Errorf("docs/architecture.md does not name the package %s", folder)
		}
	}
	for _, folder := range named {
		if !slices.Contains(packages, folder) && folder != "bench/" {
			t.Errorf("docs/architecture.md names %s, where no package is", folder)
		}
	}
	for i, folder := range named {
		if strings.HasPrefix(folder, "bench/") {
			continue // its parts are in the order of the alphabet
		}
		for _, imported := range imports(t, folder) {
			if !slices.Contains(named[:i], imported) {
				t.Errorf("%s imports %s, which docs/architecture.md does not name before it", folder, imported)
			}
		}
	}
	files := goFilePattern.FindAllStringSubmatch(page, -1)
	if len(files) < 20 {
		t.Fatalf("only %d files found in the page", len(files))
	}
	for _, m := range files {
		if !slices.ContainsFunc([]string{"", "internal/serve/", "internal/live/", "internal/inspect/"}, func(folder string) bool {
			found, err := fs.Glob(os.DirFS("."), folder+m[1])
			return err == nil && len(found) > 0
		}) {
			t.Errorf("docs/architecture.md names %s: there is none", m[1])
		}
	}
	var source strings.Builder
	for _, folder := range packages {
		found, err := fs.Glob(os.DirFS("."), path.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	for _, m := range identifierPattern.FindAllStringSubmatch(page, -1) {
		name := m[1][strings.LastIndex(m[1], ".")+1:]
		if !regexp.MustCompile(`(?m)(^func (\([^)]*\) )?|^type |^\t)`+name+`\b`).MatchString(source.String()) && !strings.HasPrefix(m[1], "tls.") && !strings.HasPrefix(m[1], "caddyhttp.") {
			t.Errorf("docs/architecture.md names %s: there is none", m[1])
		}
	}
}

// identifierPattern finds what is called as in Go, with a capital letter in it.
var identifierPattern = regexp.MustCompile("`((?:[A-Za-z]+\\.)*[A-Za-z]+[A-Z][A-Za-z]*|(?:[A-Za-z]+\\.)+[A-Z][A-Za-z]*)`")

// documents are the pages that people read.
func documents(t *testing.T) []string {
	t.Helper()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md", "examples/*/*.md", ".github/*.md"} {
		found, err := fs.Glob(os.DirFS("."), pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	return pages
}

var (
	fencePattern   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	codePattern    = regexp.MustCompile("`[^`\n]*`")
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?m)^\[[^\]]+\]: (\S+)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
)

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) []string {
	var list []string
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(page, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		list = append(list, anchor)
	}
	return list
}

// TestDocumentLinks: links between the pages lead to files and headings that
// exist.
func TestDocumentLinks(t *testing.T) {
	checked := 0
	for _, name := range documents(t) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := codePattern.ReplaceAllString(fencePattern.ReplaceAllString(string(raw), ""), "")
		for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
			link := m[1] + m[2]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(link, "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			page, err := os.ReadFile(target)
			if err != nil {
				if info, statErr := os.Stat(target); statErr != nil || !info.IsDir() {
					t.Errorf("%s links to %s: %v", name, link, err)
				}
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(page)), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", name, link, target)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links found", checked)
	}
}
