package iishttp

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// What follows is a slow reading of the documentation, written apart from the
// handlers: texts are compared by strings.EqualFold at every place, paths are
// taken apart by package strings, networks by package net, wildcards are
// regular expressions.

// containsFold tells whether a text has another one at any place.
func containsFold(text, part string) bool {
	runes, n := []rune(text), utf8.RuneCountInString(part)
	for i := 0; i+n <= len(runes); i++ {
		if strings.EqualFold(string(runes[i:i+n]), part) {
			return true
		}
	}
	return false
}

func containsAnyFold(texts, parts []string) bool {
	for _, text := range texts {
		for _, part := range parts {
			if containsFold(text, part) {
				return true
			}
		}
	}
	return false
}

func equalFold(list []string, word string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(w, word) })
}

// slowSegments resolves a decoded path.
func slowSegments(path string) (names []string, folder bool) {
	for part := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		folder = part == "" || part == "." || part == ".."
		if part == ".." && len(names) > 0 {
			names = names[:len(names)-1]
		} else if !folder {
			names = append(names, part)
		}
	}
	return names, folder
}

var afterName = regexp.MustCompile(`[ .]*(:.*)?$`)

// spellings are a name, and that of the file which Windows opens for it.
func spellings(name string) []string {
	if plain := name[:afterName.FindStringIndex(name)[0]]; plain != "" && plain != name {
		return []string{name, plain}
	}
	return []string{name}
}

// slowDecode decodes every escape of a query.
var slowDecode = func(s string) string {
	return regexp.MustCompile(`%[0-9A-Fa-f]{2}`).ReplaceAllStringFunc(s, func(e string) string {
		plain, _ := url.PathUnescape(e)
		return plain
	})
}

// slowFilter is section 4 of the semantics for a URL and a method.
func slowFilter(f *Filter, method, rawPath, rawQuery string) string {
	path, _ := url.PathUnescape(rawPath)
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }) {
		return "400.0"
	}
	denied := func(l FilterList, word string, has func([]string, string) bool) bool {
		return has(l.Deny, word) || l.DenyUnlisted && !has(l.Allow, word)
	}
	names, folder := slowSegments(path)
	clean := "/" + strings.Join(names, "/")
	if folder && len(names) > 0 {
		clean += "/"
	}
	again, err := url.PathUnescape(path)
	forms := []string{path, rawPath, clean}
	queries := []string{rawQuery}
	if !f.KeepQueryStringEscaped {
		queries = append(queries, slowDecode(rawQuery), slowDecode(strings.ReplaceAll(rawQuery, "+", " ")))
	}
	exact := slices.Contains[[]string, string]
	switch {
	case denied(f.Verbs, method, exact):
		return "404.6"
	case f.MaxURL != nil && int64(len(rawPath)) > *f.MaxURL:
		return "404.14"
	case f.MaxQueryString != nil && int64(len(rawQuery)) > *f.MaxQueryString:
		return "404.15"
	case !f.AllowDoubleEscaping && (strings.Contains(path, "+") || err == nil && again != path || err != nil && slowDecode(path) != path):
		return "404.11"
	case f.DenyHighBitCharacters && len(path) != len([]rune(path)):
		return "404.12"
	case !equalFold(f.AlwaysAllowedURLs, clean) && containsAnyFold(forms, f.DenyURLSequences):
		return "404.5"
	}
	for _, name := range names {
		if slices.ContainsFunc(spellings(name), func(n string) bool { return equalFold(f.HiddenSegments, n) }) {
			return "404.8"
		}
	}
	if slowExtensions(f.FileExtensions, names, folder) {
		return "404.7"
	}
	if !equalFold(f.AlwaysAllowedQueryStrings, rawQuery) && containsAnyFold(queries, f.DenyQueryStringSequences) {
		return "404.18"
	}
	for _, rule := range f.Rules {
		if slowRule(rule, names, folder, forms, queries) {
			return "404.19"
		}
	}
	return "-"
}

// slowExtension is what stands from the last dot on, and a dot if there is none.
func slowExtension(name string) string {
	parts := strings.Split(name, ".")
	if len(parts) == 1 {
		return "."
	}
	return "." + parts[len(parts)-1]
}

func slowExtensions(l FilterList, names []string, folder bool) bool {
	if folder {
		names = append(slices.Clone(names), "a folder")
	}
	for i, name := range names {
		for _, n := range spellings(name) {
			ext := slowExtension(n)
			last := i == len(names)-1
			if equalFold(l.Deny, ext) && (last || ext != ".") {
				return true
			}
			if !l.DenyUnlisted || equalFold(l.Allow, ext) {
				continue
			}
			script := regexp.MustCompile(`^.+\.\d*[^.\d][^.]*$`).MatchString(n)
			if last || script {
				return true
			}
		}
	}
	return false
}

func slowRule(rule FilterRule, names []string, folder bool, forms, queries []string) bool {
	if folder {
		names = append(slices.Clone(names), "a folder")
	}
	applies := len(rule.AppliesTo) == 0
	for i, name := range names {
		for _, n := range spellings(name) {
			ext := slowExtension(n)
			applies = applies || equalFold(rule.AppliesTo, ext) && (ext != "." || i == len(names)-1)
		}
	}
	percent := func(s string) bool {
		return !rule.AllowUnescapedPercent && strings.Contains(regexp.MustCompile(`%[0-9A-Fa-f]{2}`).ReplaceAllString(s, ""), "%")
	}
	return applies && (rule.ScanURL && containsAnyFold(forms, rule.DenyStrings) ||
		rule.ScanQueryString && (containsAnyFold(queries, rule.DenyStrings) || percent(queries[0])))
}

// Pieces of paths, queries and lists that meet each other often.
var (
	// askedPath is a path that net/http takes: others never come to a handler.
	askedPath = somePath.Filter(func(path string) bool {
		_, err := url.ParseRequestURI(path)
		return err == nil
	})
	somePath = rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
			"/", "/", "/", "a", "bin", "BIN", "b%69n", "bi", ".", "..", ".asa", ".ASA", ".txt", ".1", "%2e", "%2f", "%5C", `\`, "%20", ":", "::$DATA", "%25", "%2541", "+", "%2B", "é", "%C3%A9", "%E2%84%AA",
			"ba", "%0a", "%c2%85", "%ff", "evil", "web.config", "*", "$S", "@", "~1", ";",
		}), 0, 8).Draw(t, "path"), "")
	})
	someQuery = rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "=", "&", "evil", "e%76il", "EVIL", "%", "%25", "+", "%20", "é", "%C3%A9", "/", "//h", "x y", "'", "%2B"}), 0, 5).Draw(t, "query"), "")
	})
	someSegment   = rapid.SampledFrom([]string{"bin", "bak", "web.config", "a", "évil", "É", "bin."})
	someExtension = rapid.SampledFrom([]string{".asa", ".txt", ".", ".1", ".config", ".bak", ".É"})
	someText      = rapid.SampledFrom([]string{"evil", "..", "/a", "%2", "b%69", `\`, ":", "é", "bin", "+", " ", "a/b"})
)

func someList(t *rapid.T, of *rapid.Generator[string], label string) []string {
	return rapid.SliceOfNDistinct(of, 0, 3, strings.ToLower).Draw(t, label)
}

func someFilterList(t *rapid.T, of *rapid.Generator[string], label string) FilterList {
	l := FilterList{Allow: someList(t, of, label), DenyUnlisted: rapid.Bool().Draw(t, label)}
	for _, word := range someList(t, of, label) {
		if !equalFold(l.Allow, word) {
			l.Deny = append(l.Deny, word)
		}
	}
	return l
}

func TestFilterIsWhatTheDocumentSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verbs := rapid.SampledFrom([]string{"GET", "get", "PUT"})
		f := &Filter{
			AllowDoubleEscaping: rapid.Bool().Draw(t, "double"), DenyHighBitCharacters: rapid.Bool().Draw(t, "high"), KeepQueryStringEscaped: rapid.Bool().Draw(t, "keep"),
			HiddenSegments:            someList(t, someSegment, "hidden"),
			DenyURLSequences:          someList(t, someText, "sequences"),
			DenyQueryStringSequences:  someList(t, someText, "query sequences"),
			AlwaysAllowedURLs:         []string{"/a", "/BIN/a"},
			AlwaysAllowedQueryStrings: []string{"EVIL", "a=a"},
		}
		if rapid.Bool().Draw(t, "unlisted") {
			f.Verbs, f.FileExtensions = someFilterList(t, verbs, "verbs"), someFilterList(t, someExtension, "extensions")
		} else {
			f.Verbs.Deny, f.FileExtensions.Deny = []string{"PUT"}, someList(t, someExtension, "denied extensions")
		}
		f.Verbs.Allow = slices.DeleteFunc(f.Verbs.Allow, func(v string) bool { return slices.Contains(f.Verbs.Deny, v) })
		if rapid.Bool().Draw(t, "limits") {
			f.MaxURL, f.MaxQueryString = new(int64(20)), new(int64(8))
		}
		if rapid.Bool().Draw(t, "rule") {
			f.Rules = []FilterRule{{
				ScanURL: rapid.Bool().Draw(t, "url"), ScanQueryString: rapid.Bool().Draw(t, "query"), AllowUnescapedPercent: rapid.Bool().Draw(t, "percent"),
				AppliesTo: someList(t, someExtension, "applies to"), DenyStrings: someList(t, someText, "deny"),
			}}
		}
		if err := f.compile(); err != nil {
			t.Fatal(err)
		}
		path, query, method := askedPath.Draw(t, "path"), someQuery.Draw(t, "query"), verbs.Draw(t, "method")
		r := &http.Request{Method: method, URL: &url.URL{RawQuery: query}, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "127.0.0.1:1"}
		// As net/http parses the target of a request.
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
		want := slowFilter(f, method, path, query)
		if got := answerOf(f, prepared(r)); got != want {
			t.Fatalf("%s %s?%s: got %s, want %s", method, path, query, got, want)
		}
	})
}

func TestIPSecurityIsWhatTheDocumentSays(t *testing.T) {
	addresses := rapid.SampledFrom([]string{
		"10.1.2.3", "10.1.2.4", "10.200.0.1", "::ffff:10.1.2.3", "::ffff:a01:204", "2001:db8::1", "2001:db8:0:1::1", "::1", "0.0.0.0", "unknown", "", "10.1.2.3.4", "10.1.2", "::10.1.2.3",
	})
	rapid.Check(t, func(t *rapid.T) {
		s := &IPSecurity{DenyUnlisted: rapid.Bool().Draw(t, "unlisted"), ProxyMode: rapid.Bool().Draw(t, "proxy")}
		for range rapid.IntRange(0, 4).Draw(t, "entries") {
			ranges := rapid.SliceOfN(rapid.SampledFrom([]string{
				"10.1.2.3", "10.1.2.0/24", "10.9.9.9/8", "0.0.0.0/0", "::/0", "2001:db8::/48", "2001:db8::1", "::ffff:10.1.2.0/120", "::ffff:10.1.2.3", "10.1.2.2/31",
			}), 1, 2).Draw(t, "ranges")
			s.Entries = append(s.Entries, IPEntry{Allow: rapid.Bool().Draw(t, "allow"), Ranges: ranges})
		}
		if err := s.compile(); err != nil {
			t.Fatal(err)
		}
		slow := func(text string) bool {
			ip := net.ParseIP(text)
			if ip == nil {
				return false
			}
			for _, e := range s.Entries {
				for _, text := range e.Ranges {
					if one := net.ParseIP(text); one != nil {
						if one.Equal(ip) {
							return e.Allow
						}
						continue
					}
					// ::/0 is of IPv6 addresses, of which IPv4 ones in that form are none.
					_, network, err := net.ParseCIDR(text)
					if err != nil {
						t.Fatal(err)
					}
					if network.Contains(ip) && (ip.To4() == nil) == (network.IP.To4() == nil) {
						return e.Allow
					}
				}
			}
			return !s.DenyUnlisted
		}
		peer := rapid.SampledFrom([]string{"10.1.2.3", "10.200.0.1", "::ffff:10.1.2.4", "2001:db8::1"}).Draw(t, "peer")
		want := slow(peer)
		header := http.Header{}
		for range rapid.IntRange(0, 2).Draw(t, "lines") {
			var line []string
			for _, a := range rapid.SliceOfN(addresses, 1, 3).Draw(t, "forwarded") {
				want = want && (!s.ProxyMode || slow(a))
				switch form := rapid.IntRange(0, 2).Draw(t, "form"); {
				case form > 0 && strings.Contains(a, ":"):
					a = "[" + a + "]" + strings.Repeat(":80", form-1)
				case form > 0 && net.ParseIP(a) != nil:
					a += ":65535"
				}
				line = append(line, a)
			}
			header.Add("X-Forwarded-For", strings.Join(line, rapid.SampledFrom([]string{",", ", ", " ,"}).Draw(t, "comma")))
		}
		r := prepared(&http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: header, RemoteAddr: net.JoinHostPort(peer, "1")})
		if got := answerOf(s, r); (got == "-") != want {
			t.Fatalf("%s, %q: got %s", peer, header, got)
		}
	})
}

func TestAuthorizationIsWhatTheDocumentSays(t *testing.T) {
	names := rapid.SampledFrom([]string{"*", "?", "ann", "ANN", "bob", `CORP\bob`, "bob@corp"})
	verbs := rapid.SampledFrom([]string{"GET", "get", "PUT"})
	rapid.Check(t, func(t *rapid.T) {
		a := &Authorization{DenyAnonymous: rapid.Bool().Draw(t, "anonymous")}
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			rule := AuthorizationRule{Allow: rapid.Bool().Draw(t, "allow"), Parent: rapid.Bool().Draw(t, "parent"), Users: rapid.SliceOfN(names, 0, 2).Draw(t, "users"), Verbs: rapid.SliceOfN(verbs, 0, 2).Draw(t, "verbs")}
			if len(rule.Users) == 0 || rapid.Bool().Draw(t, "roles") {
				rule.Roles = []string{"Admins"}
			}
			a.Rules = append(a.Rules, rule)
		}
		if err := a.compile(); err != nil {
			t.Fatal(err)
		}
		user, verb := rapid.SampledFrom([]string{"", "ann", "bob", `corp\BOB`, "carl"}).Draw(t, "user"), verbs.Draw(t, "verb")
		// All denials come first, so one that fits is enough.
		same := func(name string, allow bool) bool {
			if strings.EqualFold(name, user) {
				return true
			}
			isBob := func(s string) bool { return containsFold(s, "bob") }
			return !allow && isBob(name) && isBob(user)
		}
		denied, allowed := user == "" && a.DenyAnonymous, len(a.Rules) == 0
		for _, rule := range a.Rules {
			fits := len(rule.Roles) > 0 && !rule.Allow
			for _, name := range rule.Users {
				fits = fits || name == "*" || name == "?" && user == "" || user != "" && same(name, rule.Allow)
			}
			fits = fits && (len(rule.Verbs) == 0 || slices.Contains(rule.Verbs, verb))
			denied, allowed = denied || fits && !rule.Allow, allowed || fits && rule.Allow
		}
		r := &http.Request{Method: verb, URL: &url.URL{Path: "/"}, Header: http.Header{}, RemoteAddr: "127.0.0.1:1"}
		want := map[bool]string{true: "-", false: "401.2"}[allowed && !denied]
		if got := answerOf(a, asUser(prepared(r), user)); got != want {
			t.Fatalf("%q %s: got %s, want %s", user, verb, got, want)
		}
	})
}

// TestRedirectIsWhatTheDocumentSays compares decoded targets: how the client
// has escaped its path stays as it is, which the examples show.
func TestRedirectIsWhatTheDocumentSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Redirect{
			At: rapid.SampledFrom([]string{"", "/", "/bin", "/a/BIN/"}).Draw(t, "at"), ChildOnly: rapid.Bool().Draw(t, "child"), ExactDestination: rapid.Bool().Draw(t, "exact"),
			Destination: rapid.SampledFrom([]string{"http://new.example", "http://new.example/x/", "/sub/", "/sub"}).Draw(t, "destination"),
		}
		if err := d.compile(); err != nil {
			t.Fatal(err)
		}
		path, query := askedPath.Draw(t, "path"), someQuery.Draw(t, "query")
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = query
		got, ok := d.target(u)
		plain := u.Path
		if !utf8.ValidString(plain) || strings.ContainsFunc(plain, func(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }) {
			if ok {
				t.Fatalf("%q: got %s", path, got)
			}
			return
		}
		names, folder := slowSegments(plain)
		at, _ := slowSegments(d.At)
		inside := len(names) >= len(at) && strings.EqualFold(strings.Join(names[:len(at)], "/"), strings.Join(at, "/"))
		if inside {
			names = names[len(at):]
			inside = !d.ChildOnly || len(names) == 0 || len(names) == 1 && !folder
		}
		if ok != inside {
			t.Fatalf("%q at %q: got %q, %v", path, d.At, got, ok)
		}
		if !ok {
			return
		}
		want := d.Destination
		if !d.ExactDestination {
			suffix := strings.Join(names, "/")
			if folder && len(names) > 0 {
				suffix += "/"
			}
			if suffix != "" || folder {
				want = strings.TrimSuffix(want, "/") + "/" + suffix
			}
		}
		target, rest, _ := strings.Cut(got, "?")
		target, err = url.PathUnescape(target)
		if err != nil || target != want {
			t.Fatalf("%q at %q: got %q, want %q: %v", path, d.At, target, want, err)
		}
		if d.ExactDestination {
			query = ""
		}
		if slowDecode(rest) != slowDecode(query) || strings.ContainsAny(rest, " é") {
			t.Fatalf("query %q: got %q", query, rest)
		}
	})
}

// TestRedirectWildcards compares patterns with regular expressions.
func TestRedirectWildcards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]string{"a", "B", "b", "É", "é", "/", ".", "*", "*"})
		pattern := strings.Join(rapid.SliceOfN(letters, 1, 8).Draw(t, "pattern"), "")
		path := "/" + strings.ReplaceAll(strings.Join(rapid.SliceOfN(letters, 0, 8).Draw(t, "path"), ""), "*", "x")
		d := &Redirect{Wildcards: []WildcardRedirect{{pattern, "/t?$0|$1|$2"}}}
		if err := d.compile(); err != nil {
			t.Fatal(err)
		}
		u := &url.URL{Path: path}
		forms, err := readURL(u)
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile("(?is)^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, "(.*?)") + "$")
		match := re.FindStringSubmatch(forms.resolved())
		got, ok := d.target(u)
		if ok != (match != nil) {
			t.Fatalf("%s, %s: got %q, %v", pattern, path, got, ok)
		}
		if !ok {
			return
		}
		match = append(match, "", "", "")
		got, _ = url.PathUnescape(got)
		if want := fmt.Sprintf("/t?%s|%s|%s", match[1], match[2], match[3]); got != want {
			t.Fatalf("%s, %s: got %s, want %s", pattern, path, got, want)
		}
	})
}

// TestRedirectHost: whatever the client sends, the target's host is that of the
// destination, or none, and the header has nothing that ends it.
func TestRedirectHost(t *testing.T) {
	self, err := url.Parse("http://self.example/folder/file")
	if err != nil {
		t.Fatal(err)
	}
	parts := rapid.SampledFrom([]string{"$V", "$S", "$Q", "$P", "$0", "$1", "/", "?", "x", "@", ":", "\\", "//"})
	literal := func(destination string) (*url.URL, error) {
		return self.Parse(regexp.MustCompile(`\$[VSQP01].*`).ReplaceAllString(destination, ""))
	}
	redirect := func(destination string, exact bool) *Redirect {
		return &Redirect{Wildcards: []WildcardRedirect{{"*e*", destination}}, ExactDestination: exact}
	}
	destinations := rapid.Custom(func(t *rapid.T) string {
		host := rapid.SampledFrom([]string{"http://new.example", "https://new.example:8443", "", "/", "/x"}).Draw(t, "host")
		return host + strings.Join(rapid.SliceOfN(parts, 0, 4).Draw(t, "rest"), "")
	}).Filter(func(destination string) bool { // others are refused when the configuration loads
		_, err := literal(destination)
		return err == nil && redirect(destination, false).compile() == nil
	})
	rapid.Check(t, func(t *rapid.T) {
		destination := destinations.Draw(t, "destination")
		own, err := literal(destination)
		if err != nil {
			t.Fatal(err)
		}
		d := redirect(destination, rapid.Bool().Draw(t, "exact"))
		if err := d.compile(); err != nil {
			t.Fatal(err)
		}
		u, err := url.ParseRequestURI(askedPath.Draw(t, "path") + "//evil.example" + askedPath.Draw(t, "path"))
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = someQuery.Draw(t, "query") + "//evil.example"
		got, ok := d.target(u)
		if !ok {
			return
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
			t.Fatalf("%s: %q", destination, got)
		}
		target, err := self.Parse(got)
		if err != nil {
			return // a browser goes nowhere
		}
		if target.Host != own.Host || (target.User == nil) != (own.User == nil) {
			t.Fatalf("%s with %s: %s leads to %s", destination, u, got, target.Host)
		}
	})
}
