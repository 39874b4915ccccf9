package cli

import (
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	list, err := parsePaths("f", []byte("\n# a comment\nhttps://www.Example.com/a?b=c 401\n/health\n"))
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if got, want := list[0], (pathLine{"f:3", "https", "www.example.com", "/a?b=c", 401}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := list[1], (pathLine{where: "f:4", path: "/health"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, c := range []struct {
		line  string
		first bool
		fits  [3]bool // http and https at www.example.com, http elsewhere
	}{
		{"https://www.example.com/", true, [3]bool{false, true, false}},
		{"www.example.com/", true, [3]bool{true, true, false}},
		{"/", true, [3]bool{true, true, true}},
	} {
		list, err := parsePaths("f", []byte(c.line))
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{list[0].fits("http", "www.example.com"), list[0].fits("https", "www.example.com"), list[0].fits("http", "b")}; got != c.fits {
			t.Errorf("%s: %v, want %v", c.line, got, c.fits)
		}
	}
	for line, want := range map[string]string{
		"www.example.com":         "f:1: \"www.example.com\" has no path: expected one such as www.example.com/",
		"ftp://www.example.com/":  "f:1: unknown scheme \"ftp\": expected http or https",
		"/ 99":                    "f:1: \"99\" is no status: expected a number such as 200 or 401",
		"/ ok":                    "f:1: \"ok\" is no status: expected a number such as 200 or 401",
		"/a b 200":                "f:1: expected a path and a status, such as www.example.com/login 200; a blank in a path is %20",
		"www.example.com/%zz 200": "f:1: \"/%zz\" is no path: expected one such as / or /status?full=1",
	} {
		if _, err := parsePaths("f", []byte(line)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func FuzzPaths(f *testing.F) {
	f.Add("https://www.example.com/a 401\n/b\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parsePaths("f", []byte(text))
		for _, p := range list {
			if err != nil || !strings.HasPrefix(p.path, "/") || strings.ContainsAny(p.host+p.path, " \r\n") || p.status != 0 && (p.status < 200 || p.status > 599) {
				t.Errorf("%q: %+v, %v", text, p, err)
			}
		}
	})
}
