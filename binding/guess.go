package binding

import (
	"net/netip"
	"strings"
)

// guess returns the binding that somebody probably meant who wrote another form: a
// URL, a host with or without a port, a port and a host, an IPv6 address without
// brackets. It is empty if there is none.
func guess(protocol Protocol, info string) string {
	text, port := strings.TrimSpace(info), "80"
	if protocol == HTTPS {
		port = "443"
	}
	if scheme, rest, ok := strings.Cut(text, "://"); ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		text = strings.TrimSuffix(rest, "/")
	}
	if i := strings.LastIndexByte(text, ':'); strings.Count(text, ":") > 3 && i > 0 {
		return guessIPv6(protocol, text)
	}
	parts := strings.Split(text, ":")
	var forms []string
	switch {
	case strings.ContainsAny(text, " *") && len(parts) != 2:
	case len(parts) == 1 && text != "":
		forms = []string{"*:" + port + ":" + text}
	case len(parts) == 2 && isNumber(parts[0]):
		forms = []string{"*:" + parts[0] + ":" + parts[1]}
	case len(parts) == 2 && isNumber(parts[1]):
		forms = []string{parts[0] + ":" + parts[1] + ":", "*:" + parts[1] + ":" + parts[0]}
	case len(parts) == 3 && isNumber(parts[1]) && parts[2] == "":
		forms = []string{"*:" + parts[1] + ":" + parts[0]}
	}
	return firstValid(protocol, info, forms)
}

// guessIPv6 puts brackets around the address of IP:port:host.
func guessIPv6(protocol Protocol, text string) string {
	last := strings.LastIndexByte(text, ':')
	second := strings.LastIndexByte(text[:last], ':')
	return firstValid(protocol, text, []string{"[" + text[:second] + "]" + text[second:]})
}

func firstValid(protocol Protocol, info string, forms []string) string {
	for _, form := range forms {
		if b, err := parse(protocol, form); err == nil && form != info && !looksLikeIP(b.Host) {
			return form
		}
	}
	return ""
}

// looksLikeIP tells whether a host is a mistyped or misplaced address.
func looksLikeIP(host string) bool {
	if host == "" {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil || strings.Trim(host, "0123456789.") == ""
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
