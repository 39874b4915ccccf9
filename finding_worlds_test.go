package caddyiis_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// findingWorlds are the tests that have a world in which check must find something, or a
// file with such worlds, by the code of the finding.
var findingWorlds = map[string]string{
	"address-not-here":              "serve_addresses_test.go TestAddressNotHere",
	"admin-off":                     "testdata/mistakes.txt",
	"bad-binding":                   "binding/conflicts_test.go TestCompileErrors",
	"bad-endpoint":                  "binding/conflicts_test.go TestCompileErrors",
	"bad-flags":                     "testdata/mistakes.txt",
	"bad-site":                      "binding/conflicts_test.go TestCompileErrors",
	"central-store-file-broken":     "stores_test.go TestFolderTornFiles",
	"certificate-chain-incomplete":  "certsel/health/health_test.go TestExamine",
	"certificate-conflict":          "testdata/mistakes.txt",
	"certificate-expired":           "testdata/mistakes.txt",
	"certificate-expires-soon":      "certsel/health/health_test.go TestExamine",
	"certificate-held-back":         "live_certificates_test.go TestCertificatesNeedKey",
	"certificate-key-outdated":      "live_certificates_test.go TestCertificatesNeedKey",
	"certificate-name-mismatch":     "testdata/mistakes.txt",
	"certificate-not-for-servers":   "certsel/health/health_test.go TestExamine",
	"certificate-not-for-tls13":     "certsel/health/health_test.go TestNotForTLS13",
	"certificate-not-obtained":      "autocert_names_test.go TestAutoPermission",
	"certificate-not-ordered":       "autocert_names_test.go TestAutoCheckDNS",
	"certificate-not-there-yet":     "stores_test.go TestFoldersOfPrograms",
	"certificate-not-yet-valid":     "certsel/health/health_test.go TestExamine",
	"certificate-twice":             "finding_worlds_test.go TestCertificateTwice",
	"certificate-weak-key":          "certsel/health/health_test.go TestExamine",
	"certificate-weak-signature":    "certsel/health/health_test.go TestWeakSignature",
	"client-authority-file-broken":  "central_files_test.go TestTrustPoolRotates",
	"closed-places":                 "testdata/commands/closed.txt",
	"closed-sites":                  "testdata/commands/closed.txt",
	"duplicate-binding":             "testdata/mistakes.txt",
	"host-elsewhere":                "command_check_test.go TestCheckDNS",
	"host-not-as-browsers-write-it": "central_files_test.go TestOrdinaryInternationalHost",
	"host-not-in-dns":               "command_check_test.go TestCheckDNS",
	"legacy-tls":                    "access_test.go TestLegacyTLS",
	"literal-password":              "stores_test.go TestNamedCentralStore",
	"no-bindings":                   "command_check_test.go TestCheckWorlds",
	"no-certificate":                "testdata/mistakes.txt",
	"no-default":                    "testdata/commands/check.txt",
	"no-redirect-to-https":          "command_check_test.go TestCheckWorlds",
	"no-upstream":                   "command_check_test.go TestCheckWorlds",
	"variable-not-set":              "command_check_test.go TestCheckWorlds",
	"not-all-looked-at":             "command_check_test.go TestCheckDNS",
	"not-in-central-store":          "central_files_test.go TestCentralStoreMisnamed",
	"not-listening":                 "binding/compile_test.go TestLint",
	"protocol-conflict":             "testdata/mistakes.txt",
	"redirect-to-nowhere":           "redirects_test.go TestRedirectsToNowhere",
	"refused":                       "testdata/mistakes.txt",
	"root-foreign":                  "command_check_test.go TestCheckWorlds",
	"root-missing":                  "command_check_test.go TestCheckWorlds",
	"settings-conflict":             "binding/conflicts_test.go TestCompileErrors",
	"shadowed":                      "binding/compile_test.go TestLint",
	"site-held-back":                "live_certificates_test.go TestCertificatesNeedKey",
	"site-refused":                  "live_postgres_test.go TestPostgresSites",
	"sites-file-refused":            "sitesfile_copy_test.go TestSitesFileCopy",
	"sites-snapshot":                "live_postgres_test.go TestPostgresSnapshot",
	"sites-source-away":             "live_postgres_test.go TestPostgresSnapshot",
	"sites-source-changed":          "live_postgres_test.go TestPostgresOtherDatabase",
	"sites-source-damaged":          "live_damage_test.go TestDamageWhileServing",
	"unset-upstreams":               "testdata/commands/closed.txt",
	"unused-settings":               "binding/compile_test.go TestLint",
	"upstream-refuses":              "command_check_test.go TestCheckWorlds",
	"w3c-log-folder":                "w3clog_test.go TestW3CLogUnwritable",
	"w3c-log-not-written":           "w3clog_test.go TestW3CLogUnwritable",
	"waiting-places":                "testdata/commands/closed.txt",
}

// notFindings are files with codes that are answers of the API, and findings that no system
// has on which these tests run.
var notFindings = []string{"internal/live/refusal.go", "no-quic-by-address"}

// findingCodes returns the codes of findings with the names of their constants.
func findingCodes(t *testing.T) map[string]string {
	t.Helper()
	codes := make(map[string]string)
	name := regexp.MustCompile(`^[cC]ode[A-Z]`)
	for _, folder := range []string{"binding", "internal/inspect", "internal/serve", "internal/live", "internal/policies", "internal/world", "internal/cli", "internal/w3clog", "certsel/health"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", folder, err)
		}
		for _, file := range files {
			file = filepath.ToSlash(file)
			if strings.HasSuffix(file, "_test.go") || slices.Contains(notFindings, file) {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			note := func(constant string, value ast.Expr) {
				if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if code, err := strconv.Unquote(lit.Value); err == nil && code != "" && !slices.Contains(notFindings, code) && !slices.Contains(notFindings, constant) {
						codes[code] = constant
					}
				}
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for i, ident := range n.Names {
						if i < len(n.Values) && (name.MatchString(ident.Name) || path.Dir(file) == "certsel/health" && strings.HasPrefix(exprText(n.Values[i]), `"certificate-`)) {
							note(ident.Name, n.Values[i])
						}
					}
				case *ast.KeyValueExpr:
					if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
						note(`"`, n.Value)
					}
				}
				return true
			})
		}
	}
	return codes
}

// exprText is the text of a literal, empty for anything else.
func exprText(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok {
		return lit.Value
	}
	return ""
}

// functionText is the source of a function of a test file.
func functionText(t *testing.T, file, function string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == function {
			return string(raw[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
		}
	}
	return ""
}

// TestFindingWorlds: for each finding there is a world in the tests in which it must be
// found. A finding without one does not pass.
func TestFindingWorlds(t *testing.T) {
	codes := findingCodes(t)
	if len(codes) < 50 {
		t.Fatalf("only %d codes", len(codes))
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		file, function, _ := strings.Cut(findingWorlds[code], " ")
		if file == "" {
			t.Errorf("finding %s has no world in which it must be found", code)
			continue
		}
		text := functionText
		if function == "" {
			text = func(t *testing.T, file, _ string) string {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return strings.ReplaceAll(string(raw), "["+code+"]", `"`+code+`"`)
			}
		}
		if world := text(t, file, function); !strings.Contains(world, `"`+code+`"`) && !regexp.MustCompile(`\b`+regexp.QuoteMeta(codes[code])+`\b`).MatchString(world) {
			t.Errorf("%s of %s does not look for finding %s", function, file, code)
		}
	}
	for code := range findingWorlds {
		if codes[code] == "" {
			t.Errorf("there is no finding %s", code)
		}
	}
}

// TestCertificateTwice: a certificate of a source that has the name of one of another is
// not served, and check says so. It is seen where both are opened at once.
func TestCertificateTwice(t *testing.T) {
	dir := t.TempDir()
	config := func(names ...string) string {
		var sb strings.Builder
		for _, name := range names {
			fmt.Fprintf(&sb, "sites_from bolt %s {\nname %s\nplain_keys\n}\n", filepath.Join(dir, name), name)
		}
		return iisConfig(sb.String())
	}
	s := ts.Start(t, config("one"))
	for _, name := range []string{"one", "two"} {
		if err := s.Restart(config(name)); err != nil {
			t.Fatal(err)
		}
		if status, answer := s.Admin("PUT", "/iis/certificates/same", certificateJSON(issue(t, 5, nil, name+".test"))); status != 201 {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
	}
	if err := s.Restart(config("one", "two")); err != nil {
		t.Fatal(err)
	}
	if finding(t, s, "certificate-twice", `"same" of two is not served`, "another name") == nil {
		t.Errorf("the findings are %+v", findings(t, s))
	}
}
