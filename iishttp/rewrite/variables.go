package rewrite

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Request is what rules see of a request.
type Request struct {
	*http.Request
	// Original is the URL as the client sent it.
	Original *url.URL
	// OriginalURL is Result.OriginalURL of rules that have run before, if there were any.
	OriginalURL string
	// Local is the address of the connection on this side.
	Local net.Addr
	// Files answers questions about files; nil if there is nobody to ask.
	Files Files
}

// Files answers questions about files by the paths that they have in IIS.
type Files interface {
	// Physical returns the path of the file that a decoded path of a URL names, as IIS
	// writes it. It is not ok if no file can have it.
	Physical(urlPath string) (text string, ok bool)
	// Is tells whether a path is that of a file or a directory. An error is no answer:
	// ErrNoFile if it is the client's fault.
	Is(physical string) (file, directory bool, err error)
}

// value makes the value of a variable. The bool says that it is decoded.
type value func(c *call) (text string, decoded bool)

func raw(get func(c *call) string) value {
	return func(c *call) (string, bool) { return get(c), false }
}

func decoded(get func(c *call) string) value {
	return func(c *call) (string, bool) { return get(c), true }
}

// notClient are variables that the client does not choose.
var notClient = map[string]bool{
	"HTTPS": true, "SERVER_PORT": true, "SERVER_PORT_SECURE": true, "LOCAL_ADDR": true, "DOCUMENT_ROOT": true, "APPL_PHYSICAL_PATH": true,
	"SERVER_SOFTWARE": true, "GATEWAY_INTERFACE": true, "APP_WARMING_UP": true,
}

// variables are those of IIS that are known when rules run. Those of authentication,
// which comes later, are empty.
var variables = map[string]value{
	"URL": decoded(currentPath), "PATH_INFO": decoded(currentPath), "SCRIPT_NAME": decoded(currentPath),
	"REQUEST_URI":         nil, // two pieces: see variable
	"UNENCODED_URL":       raw((*call).rawURL),
	"HTTP_URL":            raw((*call).rawURL),
	"HTTP_X_ORIGINAL_URL": decoded(func(c *call) string { return c.originalURL }),
	"QUERY_STRING":        raw(func(c *call) string { return c.query }),
	"HTTP_HOST":           raw(func(c *call) string { return c.request.Host }),
	"SERVER_NAME":         raw(func(c *call) string { return hostname(c.request.Host) }),
	"SERVER_PORT":         raw(func(c *call) string { return c.localPort() }),
	"HTTPS":               raw(func(c *call) string { return onOff(c.request.TLS != nil) }),
	"SERVER_PORT_SECURE":  raw(func(c *call) string { return oneZero(c.request.TLS != nil) }),
	"REMOTE_ADDR":         raw(func(c *call) string { return hostOf(c.request.RemoteAddr) }),
	"REMOTE_HOST":         raw(func(c *call) string { return hostOf(c.request.RemoteAddr) }),
	"REMOTE_PORT":         raw(func(c *call) string { return portOf(c.request.RemoteAddr) }),
	"LOCAL_ADDR":          raw(func(c *call) string { return hostOf(c.local()) }),
	"REQUEST_METHOD":      raw(func(c *call) string { return c.request.Method }),
	"REQUEST_FILENAME":    decoded(func(c *call) string { return c.physical(c.path) }),
	"SCRIPT_FILENAME":     decoded(func(c *call) string { return c.physical(c.path) }),
	"PATH_TRANSLATED":     decoded(func(c *call) string { return c.physical(c.path) }),
	"APPL_PHYSICAL_PATH":  decoded(func(c *call) string { return strings.TrimRight(c.physical("/"), `\`) + `\` }),
	"DOCUMENT_ROOT":       decoded(func(c *call) string { return strings.TrimRight(c.physical("/"), `\`) }),
	"CONTENT_TYPE":        raw(func(c *call) string { return c.request.Header.Get("Content-Type") }),
	"CONTENT_LENGTH":      raw(contentLength),
	"SERVER_PROTOCOL":     raw(func(c *call) string { return c.request.Proto }),
	"SERVER_SOFTWARE":     raw(func(*call) string { return "Caddy" }),
	"GATEWAY_INTERFACE":   raw(func(*call) string { return "CGI/1.1" }),
	"APP_WARMING_UP":      raw(empty), // nothing here answers before it can
	"AUTH_USER":           raw(empty),
	"AUTH_TYPE":           raw(empty),
	"AUTH_PASSWORD":       raw(empty),
	"LOGON_USER":          raw(empty),
	"REMOTE_USER":         raw(empty),
	"CERT_SUBJECT":        raw(empty),
	"CERT_ISSUER":         raw(empty),
	"CERT_SERIALNUMBER":   raw(empty),
	"CERT_COOKIE":         raw(empty),
	"CERT_FLAGS":          raw(empty),
}

// unknownYet are variables that are empty only because authentication comes later.
func unknownYet(name string) bool {
	return strings.HasPrefix(name, "AUTH_") || strings.HasPrefix(name, "CERT_") || name == "LOGON_USER" || name == "REMOTE_USER"
}

func isVariable(name string) bool {
	_, ok := variables[name]
	return ok || isHeader(name)
}

// variableName is the form in which a variable is looked up. Headers are named with
// underscores, and with hyphens by some.
func variableName(name string) string {
	name = strings.ToUpper(name)
	if isHeader(name) {
		name = strings.ReplaceAll(name, "-", "_")
	}
	return name
}

func isHeader(name string) bool { return strings.HasPrefix(name, "HTTP_") && len(name) > len("HTTP_") }

// headerName is the name of the header of a variable: HTTP_X_Y is X-Y.
func headerName(variable string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(variable[len("HTTP_"):], "_", "-"))
}

func currentPath(c *call) string { return c.path }

func empty(*call) string { return "" }

func contentLength(c *call) string {
	if c.request.ContentLength < 0 {
		return ""
	}
	return strconv.FormatInt(c.request.ContentLength, 10)
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

func oneZero(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	host, _, _ = strings.Cut(host, "%")
	return host
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func (c *call) localPort() string { return portOf(c.local()) }

// physical is the path of a file in IIS; what has none is noted, and ends the rules.
func (c *call) physical(path string) string {
	if c.request.Files == nil {
		c.noFile = true
		return ""
	}
	text, ok := c.request.Files.Physical(path)
	if !ok {
		c.noFile = true
	}
	return text
}

// variable adds the value of a server variable to pieces.
func (c *call) variable(n *node, out []piece) ([]piece, error) {
	name := n.text
	if v, ok := c.custom[name]; ok {
		return append(out, piece{v, true, true}), nil
	}
	if v, ok := c.set.constants[name]; ok {
		return append(out, piece{text: v}), nil
	}
	if name == "REQUEST_URI" {
		return c.requestURI(out), nil
	}
	if get := variables[name]; get != nil {
		text, isDecoded := get(c)
		if c.noFile {
			c.noFile = false
			return nil, ErrNoFile
		}
		return append(out, piece{text, isDecoded, !notClient[name]}), nil
	}
	if n.from == "" {
		return append(out, piece{}), nil
	}
	return append(out, piece{strings.Join(c.request.Header[n.from], ", "), false, true}), nil
}

// requestURI is the path decoded and the query as it was sent.
func (c *call) requestURI(out []piece) []piece {
	u := c.request.Original
	out = append(out, piece{u.Path, true, true})
	if u.RawQuery != "" || u.ForceQuery {
		out = append(out, piece{"?", false, true}, piece{u.RawQuery, false, true})
	}
	return out
}

// rawURL is path and query as they were sent.
func (c *call) rawURL() string {
	if c.unencoded == "" {
		c.unencoded = c.request.Original.RequestURI()
	}
	return c.unencoded
}

func (c *call) local() string {
	if c.localAddr == "" && c.request.Local != nil {
		c.localAddr = c.request.Local.String()
	}
	return c.localAddr
}
