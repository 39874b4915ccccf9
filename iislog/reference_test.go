package iislog_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-iis/caddy-iis/iislog"
)

// parse reads a log as slowly and as plainly as can be: lines end with CR LF,
// those that begin with # are directives, and all others have as many fields,
// with one blank between them, as the last #Fields names.
func parse(text string) (rows []map[string]string, err error) {
	var names []string
	for text != "" {
		line, rest, ok := strings.Cut(text, "\r\n")
		if !ok {
			return nil, fmt.Errorf("%q has no end", line)
		}
		text = rest
		if fields, ok := strings.CutPrefix(line, "#Fields: "); ok {
			names = strings.Split(fields, " ")
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		values := strings.Split(line, " ")
		if len(values) != len(names) {
			return nil, fmt.Errorf("%d fields in %q, want %q", len(values), line, names)
		}
		row := make(map[string]string)
		for i, value := range values {
			if value == "" {
				return nil, fmt.Errorf("the field %s is empty in %q", names[i], line)
			}
			row[names[i]] = value
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// escaped is what a text is in a line, character by character.
func escaped(text string, first bool) string {
	if text == "" {
		return "-"
	}
	tail := ""
	if len(text) > 4096 {
		tail = "..."
		text = text[:4096]
		for back := 1; back <= 3; back++ { // what may be the beginning of a character is left out
			if end := text[4096-back:]; end[0] >= 0xc0 && !utf8.FullRuneInString(end) {
				text = text[:4096-back]
				break
			}
		}
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		bad := r == utf8.RuneError && size == 1
		switch {
		case !bad && (unicode.IsSpace(r) || unicode.IsControl(r)):
			out.WriteString("+")
		case bad, !unicode.IsPrint(r), first && i == 0 && r == '#':
			for _, c := range []byte(text[i : i+size]) {
				fmt.Fprintf(&out, "%%%02X", c)
			}
		default:
			out.WriteRune(r)
		}
		i += size
	}
	return out.String() + tail
}

// want is what each field of a record must be.
func want(name string, first bool, f *iislog.Format, r *iislog.Record) string {
	text := func(s string) string { return escaped(s, first) }
	header := func(names, values []string, wanted string) string {
		for i, have := range names {
			if strings.EqualFold(have, wanted) && i < len(values) {
				return text(values[i])
			}
		}
		return "-"
	}
	switch name {
	case "date":
		return r.Time.UTC().Format("2006-01-02")
	case "time":
		return r.Time.UTC().Format("15:04:05")
	case "s-sitename":
		if r.Site == 0 {
			return "-"
		}
		return fmt.Sprintf("W3SVC%d", r.Site)
	case "s-computername":
		return text(r.Computer)
	case "s-ip":
		if !r.Server.Addr().IsValid() {
			return "-"
		}
		return r.Server.Addr().String()
	case "s-port":
		if r.Server.Port() == 0 {
			return "-"
		}
		return fmt.Sprint(r.Server.Port())
	case "cs-method":
		return text(r.Method)
	case "cs-uri-stem":
		return text(r.Stem)
	case "cs-uri-query":
		return text(r.Query)
	case "cs-username":
		return text(r.User)
	case "c-ip":
		return text(r.Client)
	case "cs-version":
		return text(r.Version)
	case "cs-host":
		return text(r.Host)
	case "sc-status":
		return fmt.Sprint(r.Status)
	case "sc-substatus":
		return fmt.Sprint(r.SubStatus)
	case "sc-win32-status":
		return fmt.Sprint(r.Win32)
	case "sc-bytes":
		return fmt.Sprint(r.Sent)
	case "cs-bytes":
		return fmt.Sprint(r.Received)
	case "time-taken":
		return fmt.Sprint(r.Taken.Milliseconds())
	}
	source, rest, _ := strings.Cut(name, "(")
	if source == "sc" {
		return header(f.ResponseHeaders(), r.Response, strings.TrimSuffix(rest, ")"))
	}
	return header(f.RequestHeaders(), r.Request, strings.TrimSuffix(rest, ")"))
}

// compare writes a record and reads it back by the slow parser.
func compare(t *testing.T, names []string, r *iislog.Record) {
	t.Helper()
	f, err := iislog.NewFormat(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := string(f.AppendLine(f.AppendHeader(nil, r.Time), r))
	rows, err := parse(out)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%q: %d lines, %v", out, len(rows), err)
	}
	for i, name := range names {
		if got, want := rows[0][name], want(name, i == 0, f, r); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

var pieces = []string{
	"", "-", "#", "#Fields: date", "a", "/index.html", " ", "\t", "\r\n", "\n2001-01-01", "\x00", "\x7f", "\u0085", "\u2028", "\u202e", "\ufeff",
	"é", "日本", "\xff", "\xc3", "%0d%0a", "+", "\u00a0", "\U0001f600", "\ufffd", `"`, "Mozilla/5.0 (X11; Linux)", strings.Repeat("x", 4095),
}

func text(rng *rand.Rand) string {
	var b strings.Builder
	for range rng.IntN(4) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return b.String()
}

// TestProperty compares random records with the slow parser.
func TestProperty(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	all := append(iislog.FieldNames(), "cs(X-Forwarded-For)", "sc(Content-Type)", "sc(Location)")
	for range 5000 {
		names := append([]string(nil), all...)
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:1+rng.IntN(len(names))]
		r := &iislog.Record{
			Time: time.Unix(rng.Int64N(4e9), rng.Int64N(1e9)).In(time.FixedZone("", rng.IntN(86400)-43200)), Site: rng.Uint32N(3),
			Computer: text(rng), Method: text(rng), Stem: text(rng), Query: text(rng), User: text(rng), Client: text(rng), Version: text(rng),
			Host: text(rng), Status: rng.IntN(600), SubStatus: rng.IntN(20), Win32: rng.IntN(2000), Sent: rng.Int64N(1e12), Received: rng.Int64N(1e12),
			Taken: time.Duration(rng.Int64N(1e12)),
		}
		if rng.IntN(2) == 0 {
			r.Server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(256))}), uint16(rng.IntN(65536)))
		}
		for range rng.IntN(6) {
			r.Request, r.Response = append(r.Request, text(rng)), append(r.Response, text(rng))
		}
		if compare(t, names, r); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzForge: a client can make neither a line nor a field, nor a directive.
func FuzzForge(f *testing.F) {
	for _, piece := range pieces {
		f.Add(piece, piece)
	}
	f.Fuzz(func(t *testing.T, agent, path string) {
		r := &iislog.Record{Time: time.Unix(0, 0), Stem: path, Query: agent, Method: "GET", Host: path}
		for _, names := range [][]string{
			{"cs(User-Agent)", "date", "cs-uri-stem", "cs-uri-query", "cs-method", "cs-host"},
			{"cs-uri-stem", "cs(User-Agent)", "cs-host"},
		} {
			r.Request = []string{agent}
			compare(t, names, r)
		}
	})
}
