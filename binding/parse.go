package binding

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is the protocol of a binding.
type Protocol uint8

// The protocols whose bindings are served. IIS knows others (net.tcp, ftp, ...)
// that go to services other than the web server.
const (
	HTTP Protocol = iota
	HTTPS
)

// String returns "http" or "https".
func (p Protocol) String() string {
	if p == HTTPS {
		return "https"
	}
	return "http"
}

// MarshalText writes what String returns.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Binding is one parsed IIS binding: the attributes protocol and
// bindingInformation of IIS 7 and later, or an item of ServerBindings (http) or
// SecureBindings (https) of IIS 6.
type Binding struct {
	Protocol Protocol
	Port     uint16
	// IP is the zero Addr for all unassigned addresses, written "", "*" or
	// "0.0.0.0". netip.IPv6Unspecified, written "[::]", is every address of an
	// IPv6 connection. IPv4-mapped addresses are unmapped.
	IP netip.Addr
	// Host is empty for any host, else a lower-case A-label name; "*.d" is a
	// wildcard host header as IIS 10 has them.
	Host string
}

// ParseError tells which part of a text is wrong and what would be accepted.
type ParseError struct {
	Input    string // the whole text
	Part     string // "protocol", "IP address", "port", "host" or "binding"
	Reason   string
	Accepted string
	Guess    string // what was meant, if that can be guessed

	isNone bool // what stands where the address is, is none
}

// Error names the wrong part and shows the accepted form.
func (e *ParseError) Error() string {
	text := fmt.Sprintf("%q: %s %s; accepted: %s", e.Input, e.Part, e.Reason, e.Accepted)
	if e.Guess != "" {
		text += fmt.Sprintf(" (did you mean %s?)", e.Guess)
	}
	return text
}

// The parts that a ParseError names.
const (
	partProtocol = "protocol"
	partIP       = "IP address"
	partPort     = "port"
	partHost     = "host"
	partBinding  = "binding"
)

const (
	acceptedBinding  = "IP:port:host, such as *:80:www.example.com, 10.0.0.5:443: or [::1]:80:"
	acceptedEndpoint = "IP:port, such as 10.0.0.5:443, 0.0.0.0:443 or [::]:443"
	acceptedIP       = "an IPv4 address, an IPv6 address in brackets, or * for all addresses"
	acceptedPort     = "a number from 1 to 65535 without leading zeros"
)

// Parse reads a binding. The protocol is http or https in any case. The text is
// read from the right, so that IPv6 addresses work: the last colon starts the
// host, the one before it the port. An https binding may also have the form
// IP:port, which is how Microsoft documents SecureBindings. A host of "*", which
// IIS Express writes, is any host.
func Parse(protocol, info string) (Binding, error) {
	spoken := HTTP
	switch strings.ToLower(strings.TrimSpace(protocol)) {
	case "http":
	case "https":
		spoken = HTTPS
	default:
		return Binding{}, &ParseError{Input: protocol, Part: partProtocol, Reason: "is not served here", Accepted: "http, https"}
	}
	b, err := parse(spoken, info)
	var wrong *ParseError
	if !errors.As(err, &wrong) {
		return b, err
	}
	if wrong.Guess = guess(spoken, info); wrong.Guess != "" && wrong.isNone {
		wrong.Part, wrong.Accepted = partBinding, acceptedBinding
		wrong.Reason = "has not the form IP:port:host"
	}
	return Binding{}, wrong
}

// parse is Parse without guessing.
func parse(protocol Protocol, info string) (Binding, error) {
	b := Binding{Protocol: protocol}
	ip, port, host, err := splitBinding(b.Protocol, info)
	if err != nil {
		return Binding{}, err
	}
	if b.IP, err = parseIP(info, ip); err != nil {
		return Binding{}, err
	}
	if b.Port, err = parsePort(info, port); err != nil {
		return Binding{}, err
	}
	if host == "" || host == "*" {
		return b, nil
	}
	b.Host, err = parseHost(info, host)
	if err != nil {
		return Binding{}, err
	}
	return b, nil
}

// ParseEndpoint reads an address and port as "netsh http add sslcert ipport="
// takes them. The address is as in Binding.
func ParseEndpoint(s string) (netip.Addr, uint16, error) {
	text := strings.TrimSpace(s)
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return netip.Addr{}, 0, &ParseError{Input: s, Part: partPort, Reason: "is missing", Accepted: acceptedEndpoint}
	}
	ip, err := parseIP(s, text[:colon])
	if err != nil {
		if _, notHost := parseHost(s, text[:colon]); notHost == nil && !looksLikeIP(text[:colon]) {
			err = &ParseError{Input: s, Part: partIP, Reason: fmt.Sprintf("%q is a name, and an endpoint has an address; names are in the bindings of sites", text[:colon]), Accepted: acceptedEndpoint}
		}
		return netip.Addr{}, 0, err
	}
	port, err := parsePort(s, text[colon+1:])
	if err != nil {
		return netip.Addr{}, 0, err
	}
	return ip, port, nil
}

func splitBinding(protocol Protocol, info string) (ip, port, host string, err error) {
	text := strings.TrimSpace(info)
	// Colons inside the brackets of an IPv6 address separate nothing.
	start := 0
	if strings.HasPrefix(text, "[") {
		start = strings.IndexByte(text, ']') + 1
	}
	last := strings.LastIndexByte(text[start:], ':') + start
	second := -1
	if last >= start {
		second = strings.LastIndexByte(text[start:last], ':') + start
	}
	switch {
	case second >= start:
		return text[:second], text[second+1 : last], text[last+1:], nil
	case last >= start && protocol == HTTPS:
		return text[:last], text[last+1:], "", nil
	}
	return "", "", "", &ParseError{
		Input: info, Part: partBinding,
		Reason:   "needs two colons, the second one after the port even if there is no host",
		Accepted: acceptedBinding,
	}
}

func parseIP(input, s string) (netip.Addr, error) {
	fail := func(format string, args ...any) (netip.Addr, error) {
		return netip.Addr{}, &ParseError{Input: input, Part: partIP, Reason: fmt.Sprintf(format, args...), Accepted: acceptedIP}
	}
	if s == "" || s == "*" {
		return netip.Addr{}, nil
	}
	text, closed := s, true
	bracket := s[0] == '['
	if bracket {
		text, closed = strings.CutSuffix(s[1:], "]")
	}
	if !closed {
		return fail("%q has no closing bracket", s)
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return netip.Addr{}, &ParseError{Input: input, Part: partIP, Reason: fmt.Sprintf("%q is none", s), Accepted: acceptedIP, isNone: true}
	case addr.Is4() && bracket:
		return fail("%q is IPv4 and takes no brackets", s)
	case addr.Is6() && !bracket:
		return fail("%q is IPv6 and needs brackets", s)
	case addr.Zone() != "" && !validZone(addr):
		return fail("%q has a zone that is not usable", s)
	}
	return unassigned(addr), nil
}

// validZone refuses zones that could not be written in a binding again, and
// those of addresses that are the same in every zone.
func validZone(addr netip.Addr) bool {
	if addr.Is4In6() || addr.IsUnspecified() || addr.WithZone("").IsUnspecified() {
		return false
	}
	for _, c := range []byte(addr.Zone()) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// unassigned brings an address to the form that Binding.IP has.
func unassigned(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr == netip.IPv4Unspecified() {
		return netip.Addr{}
	}
	return addr
}

func parsePort(input, s string) (uint16, error) {
	fail := func(reason string) (uint16, error) {
		return 0, &ParseError{Input: input, Part: partPort, Reason: reason, Accepted: acceptedPort}
	}
	if s == "" {
		return fail("is missing")
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return fail(fmt.Sprintf("%q is not a number", s))
		}
	}
	if s[0] == '0' {
		return fail(fmt.Sprintf("%q starts with a zero", s))
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fail(fmt.Sprintf("%q is not between 1 and 65535", s))
	}
	return uint16(port), nil
}

// String writes the binding as bindingInformation has it: "*:443:host".
func (b Binding) String() string {
	ip := "*"
	if b.IP.IsValid() {
		ip = addrText(b.IP)
	}
	return ip + ":" + strconv.Itoa(int(b.Port)) + ":" + b.Host
}

// SecureString writes the binding as IIS 6 has it in ServerBindings and
// SecureBindings: ":443:host", with nothing instead of the asterisk.
func (b Binding) SecureString() string {
	return strings.TrimPrefix(b.String(), "*")
}

// addrText writes an address as it stands in a binding.
func addrText(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// endpointText writes the key of an IP:port record as netsh does.
func endpointText(addr netip.Addr, port uint16) string {
	ip := "0.0.0.0"
	if addr.IsValid() {
		ip = addrText(addr)
	}
	return ip + ":" + strconv.Itoa(int(port))
}
