package iisconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestMalformed(t *testing.T) {
	for file, want := range map[string]string{
		"closed.config":  "closed.config:4: not well-formed: element <sites> closed by </system.applicationHost>",
		"quotes.config":  "quotes.config:4: not well-formed: unquoted or missing attribute value in element",
		"entity.config":  "entity.config:2: not well-formed: invalid character entity &custom;",
		"doctype.config": "doctype.config:2: a document type declaration, which no IIS file has; it is refused",
		"MetaBase.xml":   "MetaBase.xml:5: not well-formed: unescaped < inside quoted string",
		"appcmd.xml":     "appcmd.xml:3: not well-formed: expected attribute name in element",
		"version.config": `version.config:1: unsupported version "1.1"; only version 1.0 is supported`,
		"control.config": "control.config:2: not well-formed: illegal character code U+0001",
		"root.config":    "root.config:4: not well-formed: unexpected EOF",
	} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", "malformed", file))
			if err != nil {
				t.Fatal(err)
			}
			s, err := Read([]File{{Name: file, Data: data}}, Options{})
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if s != nil {
				t.Error("there is a server")
			}
			var e *Error
			if !errors.As(err, &e) || e.File != file || e.Line == 0 {
				t.Errorf("not an *Error with file and line: %#v", err)
			}
		})
	}
}

func TestAllErrors(t *testing.T) {
	_, err := Read([]File{{Name: "a", Data: []byte("<sites>")}, {Name: "b", Data: []byte("<sites>\n")}}, Options{})
	if want := "a:1: not well-formed: unexpected EOF\nb:2: not well-formed: unexpected EOF"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// bounded runs a read and fails if it takes long or much memory.
func bounded(t *testing.T, limit uint64, fn func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := fn()
	runtime.ReadMemStats(&after)
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
	if used := after.HeapSys - min(before.HeapSys, after.HeapSys); used > limit {
		t.Errorf("the heap grew by %d MB", used>>20)
	}
	return err
}

func TestHostile(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("<!DOCTYPE lolz [\n <!ENTITY lol \"lol\">\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&bomb, " <!ENTITY lol%d \"%s\">\n", i, strings.Repeat(fmt.Sprintf("&lol%d;", i-1), 10))
	}
	bomb.WriteString("]>\n<sites>&lol9;</sites>")

	many := func(n int, start, item, end string) string { return start + strings.Repeat(item, n) + end }
	tests := []struct {
		name, data, want string
	}{
		{"entity bomb", bomb.String(), "x:1: a document type declaration"},
		{"external entity", `<!DOCTYPE a SYSTEM "file:///etc/passwd"><sites/>`, "x:1: a document type declaration"},
		{"deep", many(100_000, "<sites>", "<site name='a'>", ""), "x:1: elements nested more than 64 deep"},
		{"deep in a section left out", many(100_000, "<configuration><system.applicationHost><log>", "<a>", ""), "x:1: elements nested more than 64 deep"},
		{"many elements", many(1_100_000, "<sites><siteDefaults/>", "<a/>", "</sites>"), "x:1: more than 1000000 elements"},
		{"large attribute", "<sites><site name=\"" + strings.Repeat("a", 3<<20), "x:1: an element, text or comment of more than 1048576 bytes"},
		{"large text", "<sites>\n" + strings.Repeat("a", 3<<20), "x:2: an element, text or comment of more than 1048576 bytes"},
		{"large comment", "<sites><siteDefaults/><!--" + strings.Repeat("a", 3<<20), "x:1: an element, text or comment of more than 1048576 bytes"},
		{"many attributes", "<sites " + many(2000, "", "a=''\n", "") + "/>", "x:1: an element with more than 1024 attributes"},
		{"too large", strings.Repeat("<", 65<<20), "x: larger than 67108864 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := bounded(t, 700<<20, func() error {
				_, err := Read([]File{{Name: "x", Data: []byte(test.data)}}, Options{})
				return err
			})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestHostileValid reads large files that are well-formed: time and memory grow with
// their size, no faster.
func TestHostileValid(t *testing.T) {
	const n = 20_000
	gen := func(start, end string, item func(i int) string) string {
		var b strings.Builder
		b.WriteString(start)
		for i := range n {
			b.WriteString(item(i))
		}
		b.WriteString(end)
		return b.String()
	}
	mime := gen("<configuration><system.applicationHost/><system.webServer><staticContent>", "</staticContent></system.webServer>",
		func(i int) string { return fmt.Sprintf(`<mimeMap fileExtension=".%d" mimeType="a/b"/>`, i) })
	for name, data := range map[string]string{
		"unknown elements": gen("<sites><siteDefaults/>", "</sites>", func(int) string { return "<x a='1'/>" }),
		"one site":         gen(`<site name="a" id="1"><bindings>`, "</bindings></site>", func(i int) string { return fmt.Sprintf(`<binding protocol="http" bindingInformation="*:80:h%d"/>`, i) }),
		"same binding":     gen(`<site name="a" id="1"><bindings>`, "</bindings></site>", func(int) string { return `<binding protocol="http" bindingInformation="*:80:"/>` }),
		"clear and add":    gen(`<site name="a" id="1"><bindings>`, "</bindings></site>", func(int) string { return `<clear/><binding protocol="http" bindingInformation="*:80:"/>` }),
		"same site": gen("<sites>", "</sites>", func(int) string {
			return `<site name="a" id="1"><bindings><binding protocol="http" bindingInformation="*:80:"/></bindings></site>`
		}),
		"applications": gen(`<site name="a" id="1">`, "</site>", func(i int) string { return fmt.Sprintf(`<application path="/%d"/>`, i) }),
		"locations": mime + gen(`<location path="a"/>`, "</configuration>", func(i int) string {
			return fmt.Sprintf(`<location path="a/%d"><system.webServer><staticContent><mimeMap fileExtension=".x" mimeType="c/d"/></staticContent></system.webServer></location>`, i)
		}) + `<site name="a" id="1"/>`,
		"same location": gen(`<configuration><system.applicationHost><sites><site name="a" id="1"/></sites></system.applicationHost>`, "</configuration>", func(int) string {
			return `<location path="a/b"><system.webServer><directoryBrowse enabled="true"/></system.webServer></location>`
		}),
		"locks": gen(`<configuration><system.applicationHost/>`, "</configuration>", func(i int) string {
			return fmt.Sprintf(`<location path="a/%d" overrideMode="Deny"><system.webServer><directoryBrowse enabled="true"/></system.webServer></location>`, i)
		}),
		"pools": gen("<applicationPools>", "</applicationPools>", func(i int) string { return fmt.Sprintf(`<add name="%d"/>`, i) }),
		"metabase": gen("<MBProperty>", "</MBProperty>", func(i int) string {
			return fmt.Sprintf("<IIsWebVirtualDir Location='/LM/W3SVC/1/ROOT/%d' Path='c:' AppRoot='/LM/W3SVC/1/ROOT/%d'/>\n", i, i)
		}),
		"metabase list": gen("<IIsWebServer Location='/LM/W3SVC/1' ServerBindings='", "'/>", func(i int) string { return fmt.Sprintf(":80:%x ", i) }),
		"netsh": gen("", "", func(i int) string {
			return fmt.Sprintf("a : h%d:443\nb : (null)\nc : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n", i)
		}),
		"netsh lines": gen("SSL Certificate bindings:\n", "", func(int) string { return "a : 1\n" }),
		"appcmd": gen("", "", func(i int) string {
			return fmt.Sprintf("SITE \"%d\" (id:%d,bindings:http/*:80:,state:Started)\nAPP \"%d/\" (applicationPool:a)\nVDIR \"%d/\" (physicalPath:c)\n", i, i+1, i, i)
		}),
		"appcmd quotes": "SITE \"a\" (id:1,bindings:" + strings.Repeat("http/*:80:,", n) + ",state:Started)",
		"adsutil": gen("", "", func(i int) string {
			return fmt.Sprintf("[/w3svc/%d]\nServerBindings : (LIST) (1 Items)\n  \":80:\"\n", i+1)
		}),
		"adsutil list":   "KeyType : (STRING) \"IIsWebServer\"\nServerBindings : (LIST) (999999999999 Items)\n" + strings.Repeat("  \":80:\"\n", n),
		"registry":       "REGEDIT4\n" + strings.Repeat("[a]\n", n),
		"zeros":          strings.Repeat("\x00", 1<<20),
		"long path":      `<configuration><system.applicationHost><sites><site name="a" id="1"/></sites></system.applicationHost><location path="a` + strings.Repeat("/b", 300_000) + `"><system.webServer><directoryBrowse enabled="true"/></system.webServer></location></configuration>`,
		"colons":         "SSL Certificate bindings:\n" + strings.Repeat(": ", 200_000),
		"same attribute": `<site name="a" id="1"><bindings>` + strings.Repeat(`<binding `+strings.Repeat(`x="" `, 500)+`/>`, 200) + `</bindings></site>`,
	} {
		t.Run(name, func(t *testing.T) {
			err := bounded(t, 700<<20, func() error {
				s, err := Read([]File{{Name: "x1", Data: []byte(data)}}, Options{})
				if err == nil && len(s.Findings) > 20_000 {
					t.Errorf("%d findings", len(s.Findings))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// endless is a file whose size is a lie and whose content has no end.
type endless struct{ r io.Reader }

func (e *endless) Read(p []byte) (int, error) { return e.r.Read(p) }
func (*endless) Close() error                 { return nil }
func (e *endless) Stat() (fs.FileInfo, error) { return fstest.MapFS{"a": {}}.Stat("a") }

type pattern struct{ text []byte }

func (p pattern) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		n += copy(b[n:], p.text)
	}
	return n, nil
}

type endlessFS struct{ head string }

func (f endlessFS) Open(string) (fs.File, error) {
	return &endless{io.MultiReader(strings.NewReader(f.head), pattern{[]byte("<a/>")})}, nil
}

func TestEndless(t *testing.T) {
	for name, head := range map[string]string{"known": "<sites>", "late": "<configuration><a/>"} {
		t.Run(name, func(t *testing.T) {
			err := bounded(t, 700<<20, func() error {
				_, err := ReadFS(endlessFS{head}, Options{MaxBytes: 8 << 20}, "x")
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "x: larger than 8388608 bytes") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMaxTotal(t *testing.T) {
	file := []byte("<sites/>" + strings.Repeat(" ", 1000))
	_, err := Read([]File{{Name: "a", Data: file}, {Name: "b", Data: file}}, Options{MaxTotal: 1500})
	if err == nil || err.Error() != "b: with it, the files are larger than 1500 bytes together" {
		t.Errorf("got %v", err)
	}
}

func TestMaxFindings(t *testing.T) {
	data := append([]byte("<sites><siteDefaults/>"), bytes.Repeat([]byte("<x/>"), 50)...)
	s, err := Read([]File{{Name: "a", Data: append(data, "</sites>"...)}}, Options{MaxFindings: 10})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Findings); n != 11 || s.Findings[10].Message != "40 more findings of the code unknown are not shown" {
		t.Errorf("%d findings, the last: %v", n, s.Findings[n-1])
	}
}
