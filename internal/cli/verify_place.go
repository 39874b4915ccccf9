package cli

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// place says where endpoints are reached: [LOCAL=]HOST[:PORT], where LOCAL is
// the IP:port, the IP or the :port of an endpoint of the configuration. Without
// LOCAL it is for endpoints on all addresses, and for those that no other place
// is for.
type place struct {
	ip      netip.Addr // zero: any
	port    uint16     // 0: any
	general bool       // there is no LOCAL

	host   string
	toPort string // empty: the endpoint's
}

func parsePlace(text string) (place, error) {
	p := place{general: true}
	local, address, ok := strings.Cut(text, "=")
	if !ok {
		local, address = "", text
	}
	if ok {
		p.general = false
		if err := p.parseLocal(local); err != nil {
			return p, fmt.Errorf("%q: %w", text, err)
		}
	}
	if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		p.host = ip.String()
		return p, nil
	}
	p.host = address
	if strings.Contains(address, ":") {
		host, port, err := net.SplitHostPort(address)
		if err != nil || !validPort(port) {
			return p, fmt.Errorf("%q: %q is not an address, such as 10.0.0.5, server.example.com or [::1]:8443", text, address)
		}
		p.host, p.toPort = host, port
	}
	if p.host == "" {
		return p, fmt.Errorf("%q: the address is missing", text)
	}
	return p, nil
}

func validPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

func (p *place) parseLocal(text string) error {
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		p.ip = ip.Unmap()
		return nil
	}
	ip, port, err := binding.ParseEndpoint(text)
	if err != nil {
		return fmt.Errorf("before the = is no IP:port of an endpoint, such as 10.0.0.5:443, 10.0.0.5 or :443: %w", err)
	}
	p.ip, p.port = ip, port
	return nil
}

func parsePlaces(texts []string) ([]place, error) {
	var places []place
	for _, text := range texts {
		p, err := parsePlace(text)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// fits tells how well a place is for an endpoint, 0 if it is not.
func (p place) fits(ip netip.Addr, port uint16) int {
	switch {
	case p.general:
		return 1
	case p.port != 0 && p.port != port, p.ip.IsValid() && p.ip != ip:
		return 0
	case p.ip.IsValid() && p.port != 0:
		return 4
	case p.ip.IsValid():
		return 3
	}
	return 2
}

// find returns the addresses of the places that fit best.
func find(places []place, ip netip.Addr, port uint16) []string {
	best := 0
	var found []string
	for _, p := range places {
		fit := p.fits(ip, port)
		if fit == 0 || fit < best {
			continue
		}
		if fit > best {
			best, found = fit, nil
		}
		found = append(found, net.JoinHostPort(p.host, cmp.Or(p.toPort, strconv.Itoa(int(port)))))
	}
	return found
}

// hasLocal tells whether a place was named for this endpoint: an endpoint with
// an IP address is reached there unless it was.
func hasLocal(places []place, ip netip.Addr, port uint16) bool {
	return slices.ContainsFunc(places, func(p place) bool { return p.fits(ip, port) > 1 })
}
