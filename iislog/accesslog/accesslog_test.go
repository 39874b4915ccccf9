package accesslog_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	_ "github.com/caddy-iis/caddy-iis/iishttp"
	"github.com/caddy-iis/caddy-iis/iislog/accesslog"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// site is a site whose access log is in a file. Caddy closes none of its log files.
type site struct {
	t            *testing.T
	srv          *testserver.Server
	config       string
	addr, folder string
}

func serve(t *testing.T, output, format string) *site {
	t.Helper()
	s := &site{t: t, folder: needs.OpenFolder(t), addr: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}
	s.config = `{
	auto_https off
	servers {
		log_credentials
	}
}
http://` + s.addr + ` {
	log {
		output file ` + s.folder + `/access.log ` + output + `
		format ` + format + `
	}
	log_skip /unlogged
	log_append <s-ip {http.request.local.host}
	log_append <s-port {http.request.local.port}
	log_append <s-sitename W3SVC7
	iis_filter {
		hidden_segments bin
	}
	rewrite /old* /new
	basic_auth /private* {
		alice $2a$10$ZuBouMcPJV/q.WFmnOj3vOq53rbUQ3NICOY2JubjE1lDg7x03S1fq
	}
	abort /gone
	header X-App shop
	respond "hello"
}`
	s.srv = testserver.Start(t, s.config)
	return s
}

func (s *site) get(path string, headers ...string) {
	s.t.Helper()
	text := "GET " + path + " HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	if _, err := testserver.Raw(s.addr, text); err != nil {
		s.t.Fatal(err)
	}
}

// files waits for as many lines as there are to be, and returns those of each file.
func (s *site) files(n int) [][]string {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob(s.folder + "/*")
		if err != nil {
			s.t.Fatal(err)
		}
		var files [][]string
		count := 0
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				break // it was just renamed
			}
			lines := strings.Split(strings.TrimSuffix(string(raw), "\r\n"), "\r\n")
			files, count = append(files, lines), count+len(lines)
		}
		if count >= n {
			return files
		}
		if time.Now().After(end) {
			s.t.Fatalf("there are %d lines, want %d: %q", count, n, files)
		}
	}
}

func (s *site) lines(n int) []string {
	s.t.Helper()
	return s.files(n)[0]
}

// load loads another configuration, and waits until its server alone takes connections:
// for a moment, Caddy's server of before still can, and closes them.
func (s *site) load(config string) {
	s.t.Helper()
	if err := s.srv.Load(config); err != nil {
		s.t.Fatal(err)
	}
	for answered, end := 0, time.Now().Add(10*time.Second); answered < 10; answered++ {
		answer, err := testserver.Raw(s.addr, "GET /unlogged HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.Contains(answer, "hello") {
			answered = 0
			if time.Now().After(end) {
				s.t.Fatal("nobody answers after the load")
			}
		}
	}
}

// TestAccessLog: lines of a site are as those of w3c_log, with what log_append adds of
// what an entry does not have; a load begins no new log.
func TestAccessLog(t *testing.T) {
	s := serve(t, "", `iis_w3c {
			fields s-sitename s-ip cs-method cs-uri-stem cs-uri-query cs-username c-ip cs-version cs(User-Agent) sc-status
			fields sc-substatus sc-win32-status sc-bytes
			field Original request_header X-Forwarded-For
			field App response_header X-App
		}`)
	s.get("/a%20b/%C3%A4?x=1&y=%20", "User-Agent: Agent 1", "X-Forwarded-For: 192.0.2.1, 10.0.0.1")
	s.get("/bin/x", "User-Agent: #")
	s.get("/old/page?q", "User-Agent:  ")
	s.get("/private", "User-Agent: u", "Authorization: Basic YWxpY2U6d3Jvbmc=")
	s.get("/private/a", "User-Agent: u", "Authorization: Basic YWxpY2U6c2VjcmV0")
	s.get("/gone", "User-Agent: u")
	s.lines(10)
	s.load(strings.ReplaceAll(s.config, "hello", "hello again"))
	s.get("/after", "User-Agent: u")
	got := s.lines(11)
	got[2] = got[2][:len("#Date: ")]
	want := []string{
		"#Software: caddy-iis", "#Version: 1.0", "#Date: ",
		"#Fields: s-sitename s-ip cs-method cs-uri-stem cs-uri-query cs-username c-ip cs-version cs(User-Agent) sc-status sc-substatus sc-win32-status sc-bytes Original App",
		"W3SVC7 127.0.0.1 GET /a+b/ä x=1&y=%20 - 127.0.0.1 HTTP/1.1 Agent+1 200 0 0 5 192.0.2.1,+10.0.0.1 shop",
		"W3SVC7 127.0.0.1 GET /bin/x - - 127.0.0.1 HTTP/1.1 # 404 8 0 0 - shop",
		"W3SVC7 127.0.0.1 GET /old/page q - 127.0.0.1 HTTP/1.1 - 200 0 0 5 - shop",
		"W3SVC7 127.0.0.1 GET /private - - 127.0.0.1 HTTP/1.1 u 401 0 0 0 - shop",
		"W3SVC7 127.0.0.1 GET /private/a - alice 127.0.0.1 HTTP/1.1 u 200 0 0 5 - shop",
		"W3SVC7 127.0.0.1 GET /gone - - 127.0.0.1 HTTP/1.1 u 0 0 0 0 - shop",
		"W3SVC7 127.0.0.1 GET /after - - 127.0.0.1 HTTP/1.1 u 200 0 0 11 - shop",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDefaultFields: without fields, a line has those of IIS 10; s-port is a number, and
// what is not there is "-".
func TestDefaultFields(t *testing.T) {
	s := serve(t, "", "iis_w3c")
	s.get("/x?y", "User-Agent: u", "Referer: http://a/b c")
	want := regexp.MustCompile(`^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d 127\.0\.0\.1 GET /x y \d+ - 127\.0\.0\.1 u http://a/b\+c 200 0 0 \d+$`)
	if got := s.lines(5)[4]; !want.MatchString(got) {
		t.Errorf("got %q", got)
	}
}

// TestFiltered: Caddy's encoder filter takes values out in front of this one.
func TestFiltered(t *testing.T) {
	s := serve(t, "", `filter {
			wrap iis_w3c {
				fields c-ip cs-uri-stem cs-uri-query cs(Cookie) cs(X-Hidden) sc-status
			}
			request>client_ip ip_mask {
				ipv4 8
			}
			request>uri query {
				replace token gone
			}
			request>headers>X-Hidden delete
			request>headers>Cookie cookie {
				delete session
			}
		}`)
	s.get("/x?token=secret&a=b", "X-Hidden: secret", "Cookie: session=1; color=red")
	if got := s.lines(5)[4]; got != "127.0.0.0 /x a=b&token=gone - color=red 200" && got != "127.0.0.0 /x a=b&token=gone color=red - 200" {
		t.Errorf("got %q", got)
	}
}

// TestRolled: each file that Caddy begins, begins with a header.
func TestRolled(t *testing.T) {
	s := serve(t, "{\nroll_size 1\nroll_uncompressed\n}", "iis_w3c {\nfields cs-uri-stem cs(A) cs(B)\n}")
	long := strings.Repeat("x", 4000)
	for i := range 200 {
		s.get(fmt.Sprintf("/%d%s", i, long), "A: "+long, "B: "+long)
	}
	files, rows := s.files(200+3*4), 0
	for _, lines := range files {
		if lines[0] != "#Software: caddy-iis" || lines[3] != "#Fields: cs-uri-stem cs(A) cs(B)" {
			t.Errorf("a file begins with %.200q", lines[:4])
		}
		rows += len(lines) - 4
	}
	if len(files) != 3 || rows != 200 {
		t.Errorf("there are %d files with %d rows", len(files), rows)
	}
}

// TestOtherFields: lines of another list of fields have a header of their own, also in the
// same file, and so has a file that was made empty or taken away.
func TestOtherFields(t *testing.T) {
	s := serve(t, "{\nroll_disabled\n}", "iis_w3c {\nfields cs-uri-stem\n}")
	s.get("/1")
	s.lines(5)
	s.get("/2")
	s.lines(6)
	s.load(strings.ReplaceAll(s.config, "fields cs-uri-stem", "fields cs-uri-stem sc-status"))
	s.get("/3")
	got := s.lines(11)
	if want := []string{"/1", "/2", "#Fields: cs-uri-stem sc-status", "/3 200"}; got[4] != want[0] || got[5] != want[1] || got[9] != want[2] || got[10] != want[3] {
		t.Errorf("got %q", got)
	}
	if err := os.Truncate(s.folder+"/access.log", 0); err != nil {
		t.Fatal(err)
	}
	s.get("/4")
	if got := s.lines(5); got[0] != "#Software: caddy-iis" || got[4] != "/4 200" {
		t.Errorf("got %q", got)
	}
}

// TestRemark: what is not of an access log is not lost, and readers of such logs pass over it.
func TestRemark(t *testing.T) {
	file := filepath.ToSlash(needs.OpenFolder(t)) + "/all.log"
	testserver.Start(t, "{\nauto_https off\nlog all {\noutput file "+file+"\nformat iis_w3c\n}\n}\n:"+fmt.Sprint(testserver.FreePort(t))+" {\n}")
	s := &site{t: t, folder: filepath.Dir(file)}
	var seen bool
	for _, line := range s.lines(6)[4:] {
		text, ok := strings.CutPrefix(line, "#Remark: ")
		var entry struct{ Level, Msg, Logger string }
		if err := json.Unmarshal([]byte(text), &entry); !ok || err != nil {
			t.Errorf("%q: %v", line, err)
		}
		seen = seen || entry.Level == "info" && entry.Logger == "http.log" && entry.Msg == "server running"
	}
	if !seen {
		t.Errorf("got %q", s.lines(6))
	}
}

// TestRemarkPrintable: what an entry says cannot end its line for any reader, nor change
// what a terminal shows.
func TestRemarkPrintable(t *testing.T) {
	text := "a\u0085b\u2028c\x1b[0md\u202ee\U000e0001f\x7f\"é"
	buf, err := provisioned(t, "iis_w3c").EncodeEntry(zapcore.Entry{LoggerName: "x", Message: text, Time: time.Unix(1, 0)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(buf.String(), "#Remark: ")
	line = strings.TrimSuffix(line, "\r\n")
	var entry struct{ Msg string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg != text || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("got %q, %v", line, err)
	}
}

// provisioned makes an encoder from a Caddyfile by way of its JSON.
func provisioned(t testing.TB, text string) *accesslog.Encoder {
	t.Helper()
	var parsed, e accesslog.Encoder
	if err := parsed.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(&parsed)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := e.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return &e
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"iis_w3c x":                       "wrong argument count",
		"iis_w3c {\n fields\n}":           "wrong argument count",
		"iis_w3c {\n fields dat\n}":       `unknown field "dat"`,
		"iis_w3c {\n field a b\n}":        "expected: field <name> request_header|response_header <header>",
		"iis_w3c {\n time_format wall\n}": `unknown word "time_format"`,
	} {
		var e accesslog.Encoder
		if err := e.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// FuzzForge: whatever an entry holds, it is one line of its kind.
func FuzzForge(f *testing.F) {
	f.Add("http.log.access.log0", "GET", "/a?b", "uri")
	f.Add("http.log.access", "\r\n#Fields: x", "x\u2028\x85\n", "request")
	f.Add("admin", "a\r\nb", "\x00\xff", "status")
	e := provisioned(f, "iis_w3c {\n fields cs-method cs-uri-stem cs-uri-query cs(A) s-ip sc-substatus\n}")
	f.Fuzz(func(t *testing.T, logger, first, second, key string) {
		enc := e.Clone()
		enc.AddString(key, first)
		out, err := enc.EncodeEntry(zapcore.Entry{LoggerName: logger, Message: second, Time: time.Unix(0, 0)}, []zap.Field{
			zap.Dict("request", zap.String("method", first), zap.String("uri", second), zap.Dict("headers", zap.Strings("A", []string{first, second}))),
			zap.String(second, first), zap.String("s-ip", first), zap.String("sc-substatus", second),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(out.String(), "#Fields: cs-method cs-uri-stem cs-uri-query cs(A) s-ip sc-substatus\r\n")
		if line == "" {
			line = out.String() // the header was written before
		}
		one, rest, ok := strings.Cut(line, "\r\n")
		if !ok || rest != "" || strings.ContainsAny(one, "\r\n") {
			t.Fatalf("%q is not one line", line)
		}
		if access := !strings.HasPrefix(one, "#"); access && strings.Count(one, " ") != 5 {
			t.Errorf("%q has not 6 fields", one)
		}
	})
}
