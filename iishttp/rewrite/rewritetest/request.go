package rewritetest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// Tree is a site's files: paths of URLs, those of folders with a slash at the end.
type Tree []string

// Physical implements rewrite.Files.
func (Tree) Physical(p string) (string, bool) {
	return `C:\site` + strings.TrimSuffix(strings.ReplaceAll(p, "/", `\`), `\`), !strings.Contains(p, ":")
}

// Is implements rewrite.Files.
func (t Tree) Is(physical string) (file, directory bool, err error) {
	p := strings.ReplaceAll(strings.TrimPrefix(physical, `C:\site`), `\`, "/")
	for _, have := range t {
		file = file || strings.EqualFold(have, p)
		directory = directory || p == "" || strings.EqualFold(have, p+"/")
	}
	return file, directory, nil
}

// Request is a request for a URL; for one of a path only, at the host h.
func Request(text string, files rewrite.Files) *rewrite.Request {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	if u.Host == "" {
		u.Scheme, u.Host = "http", "h"
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header), RemoteAddr: "127.0.0.1:5000", Proto: "HTTP/1.1"}
	if u.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	original := *u
	original.Scheme, original.Host = "", ""
	return &rewrite.Request{Request: r, Original: &original, Local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, Files: files}
}

// Outcome is a result in one line.
func Outcome(r rewrite.Result, err error) string {
	switch {
	case errors.Is(err, rewrite.ErrNoFile):
		return "404"
	case err != nil:
		return "500"
	case r.Action == "none":
		return "-"
	case r.Action == "redirect":
		return fmt.Sprintf("%d %s", r.Status, r.Location)
	case r.Action == "respond":
		return strings.TrimSpace(fmt.Sprintf("%d.%d %s %s", r.Status, r.SubStatus, r.Reason, r.Description))
	case r.Proxy != "":
		return "proxy " + r.Proxy
	case r.Action == "rewrite" && r.Query != "":
		return (&url.URL{Path: r.Path}).EscapedPath() + "?" + r.Query
	case r.Action == "rewrite":
		return (&url.URL{Path: r.Path}).EscapedPath()
	}
	return r.Action
}
