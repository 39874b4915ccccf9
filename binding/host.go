package binding

import (
	"net/netip"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// The limits of RFC 1035, section 2.3.4, in text form.
const (
	maxHost  = 253
	maxLabel = 63
)

const acceptedHost = "a name such as www.example.com, or *.example.com for its subdomains"

// ParseHost brings a host of the configuration to the form in which requests
// carry it: lower case, Unicode labels as A-labels. "*.d" is a wildcard host
// header; the asterisk is legal only as the whole left-most label (IIS 10).
func ParseHost(s string) (string, error) {
	return parseHost(s, strings.TrimSpace(s))
}

func parseHost(input, s string) (string, error) {
	fail := func(reason string) (string, error) {
		return "", &ParseError{Input: input, Part: partHost, Reason: reason, Accepted: acceptedHost}
	}
	ascii, err := idn.ToASCII(s)
	if err != nil {
		return fail("cannot be written in ASCII (" + err.Error() + ")")
	}
	name, wildcard := strings.CutPrefix(ascii, "*.")
	scan := scanName(name)
	switch {
	case scan.problem != "":
		return fail(scan.problem)
	case wildcard && len(name)+len("*.") > maxHost:
		return fail(problemLong)
	case scan.numeric:
		return fail("looks like an IP address, which stands before the port")
	}
	return ascii, nil
}

// checkHost tells what is wrong with a host that should already be in the form
// that ParseHost returns.
func checkHost(host string) string {
	name, wildcard := strings.CutPrefix(host, "*.")
	scan := scanName(name)
	switch {
	case scan.problem != "":
		return scan.problem
	case wildcard && len(host) > maxHost:
		return problemLong
	case scan.numeric:
		return "looks like an IP address"
	case scan.upper:
		return "is not in lower case"
	}
	return ""
}

// HostName is the host of a request in the form that Tables.Site takes. Only
// Host makes one, so a raw header cannot be looked up by mistake. The zero
// HostName is invalid.
type HostName struct {
	name string
	kind hostKind
}

type hostKind uint8

const (
	hostInvalid hostKind = iota // no site may answer: 400
	hostNone                    // no host, as in HTTP/1.0
	hostIP                      // matches no binding's host
	hostNamed
)

// String returns the host in lower case without port; "" if there is none.
func (h HostName) String() string { return h.name }

// IsValid reports whether a site may answer for this host.
func (h HostName) IsValid() bool { return h.kind != hostInvalid }

// IsIP reports whether the host is an IP address. HTTP.sys keeps addresses out
// of the explicit category: they match no host header.
func (h HostName) IsIP() bool { return h.kind == hostIP }

// Host brings the host of a request (absolute-form target, :authority or Host
// header) to the form that Tables.Site takes: lower case and without port, which
// has no part in routing. It is not ok if HTTP.sys would answer "400 Bad Request
// - Invalid Hostname": a trailing dot, slashes, blanks, user information, an
// asterisk, control characters, empty labels, a port that is none. Underscores
// are valid. An empty header is valid and means that there is no host.
func Host(header string) (HostName, bool) {
	if header == "" {
		return HostName{kind: hostNone}, true
	}
	if header[0] == '[' {
		return hostIPv6(header)
	}
	name := header
	if before, after, ok := strings.Cut(header, ":"); ok {
		if !validHostPort(after) {
			return HostName{}, false
		}
		name = before
	}
	scan := scanName(name)
	switch {
	case scan.problem != "":
		return HostName{}, false
	case scan.numeric:
		return HostName{name: name, kind: hostIP}, true
	case scan.upper:
		name = strings.ToLower(name)
	}
	return HostName{name: name, kind: hostNamed}, true
}

// hostIPv6 reads an address in brackets, RFC 3986 section 3.2.2. Zones have no
// meaning for anybody but the sender (RFC 6874) and are refused.
func hostIPv6(header string) (HostName, bool) {
	end := strings.IndexByte(header, ']')
	if end < 0 || strings.IndexByte(header[:end], '%') >= 0 {
		return HostName{}, false
	}
	if rest := header[end+1:]; rest != "" && (rest[0] != ':' || !validHostPort(rest[1:])) {
		return HostName{}, false
	}
	addr, err := netip.ParseAddr(header[1:end])
	if err != nil || !addr.Is6() {
		return HostName{}, false
	}
	return HostName{name: strings.ToLower(header[:end+1]), kind: hostIP}, true
}

// validHostPort takes the port behind a host. RFC 9110 section 4.2.1 and RFC 3986
// section 3.2.3 allow it to be empty and to have leading zeros.
func validHostPort(s string) bool {
	port := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		port = port*10 + int(s[i]-'0')
		if port > 65535 {
			return false
		}
	}
	return port != 0 || s == ""
}

const problemLong = "is longer than 253 characters"

// nameScan is what one pass over a name finds.
type nameScan struct {
	problem string // why it is no host name, "" if it is one
	upper   bool   // has upper-case letters
	numeric bool   // digits and dots only, which is an IP address or an attempt at one
}

// scanName checks an ASCII host name. It is the single judge of what a valid
// name is, for configuration and for requests, so that every host that can be
// configured can also be asked for.
func scanName(s string) nameScan {
	var scan nameScan
	if s == "" {
		return nameScan{problem: "is empty"}
	}
	if len(s) > maxHost {
		return nameScan{problem: problemLong}
	}
	label, dots, letters := 0, 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', c == '-', c == '_':
			letters = true
		case '0' <= c && c <= '9':
		case 'A' <= c && c <= 'Z':
			letters, scan.upper = true, true
		case c == '.':
			if label == 0 {
				return nameScan{problem: "has an empty label"}
			}
			label = -1
			dots++
		default:
			return nameScan{problem: charProblem(c)}
		}
		if label++; label > maxLabel {
			return nameScan{problem: "has a label longer than 63 characters"}
		}
	}
	if label == 0 {
		return nameScan{problem: "ends with a dot"}
	}
	scan.numeric = !letters && dots > 0
	return scan
}

func charProblem(c byte) string {
	switch {
	case c == '*':
		return "has an asterisk in another place than the whole first label"
	case c == ' ' || c == '\t':
		return "has a blank in it"
	case c == ':':
		return "has a colon in it"
	case c < ' ' || c == 0x7f:
		return "has a control character in it"
	case c >= 0x80:
		return "has characters outside ASCII in it"
	}
	return "has the character " + string(rune(c)) + " in it"
}
