package iisconfig

import (
	"net/netip"
	"regexp"
	"strings"
)

// ListenAddress is an address of the list to which HTTP.sys is bound.
type ListenAddress struct {
	Address netip.Addr `json:"address"`
	Source  Source     `json:"source"`
}

var reIPListenHint = regexp.MustCompile(`(?i)IP listen list|netsh\s+http\s+show\s+iplisten`)

// looksLikeIPListen knows the output in every language: a heading, a line of dashes, and
// addresses alone, or none.
func looksLikeIPListen(text []byte) bool {
	if reIPListenHint.Match(text[:min(len(text), 4096)]) {
		return true
	}
	headings, dashes := 0, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case !dashes && len(line) > 2 && strings.Trim(line, "-=") == "":
			dashes = true
		case !dashes:
			if headings++; headings > 3 {
				return false
			}
		default:
			if _, ok := listenAddress(line); !ok {
				return false
			}
		}
	}
	return dashes && headings > 0
}

func listenAddress(line string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(line, "[]"))
	return addr.Unmap(), err == nil
}

// ipListen reads the output of "netsh http show iplisten". Without an address in it,
// HTTP.sys listens on all.
func (b *builder) ipListen(name string, text []byte) {
	b.server.ListenRead = true
	dashes := false
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		src := Source{File: name, Line: number}
		if addr, ok := listenAddress(line); ok {
			b.server.Listen = append(b.server.Listen, ListenAddress{addr, src})
			continue
		}
		if line != "" && dashes {
			b.rep.warn(CodeUnknown, src, "look at netsh http show iplisten", "%q is no address to listen on", shorten(line))
		}
		dashes = dashes || len(line) > 2 && strings.Trim(line, "-=") == ""
	}
}
