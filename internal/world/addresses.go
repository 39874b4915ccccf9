package world

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Addresses are those of this machine.
func Addresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, addr := range list {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
			ips = append(ips, prefix.Addr().Unmap().WithZone(""))
		}
	}
	return ips, nil
}

// Addresses that no machine has: they are reserved (RFC 1112, section 4) and for
// packets that are thrown away (RFC 6666).
var (
	nowhere4 = netip.AddrFrom4([4]byte{240, 0, 0, 1})
	nowhere6 = netip.MustParseAddr("100::1")
)

// Absent returns which of some addresses this machine does not have, and those that it
// has. Where that cannot be found out, none is absent.
func Absent(ips []netip.Addr) (absent, here []netip.Addr) {
	here, err := Addresses()
	if err != nil {
		return nil, nil
	}
	for _, ip := range ips {
		nowhere := nowhere4
		if ip.Unmap().Is6() {
			nowhere = nowhere6
		}
		// A system can be told that everybody may have any address (ip_nonlocal_bind).
		if !slices.Contains(here, ip.Unmap().WithZone("")) && !bindable(ip) && !bindable(nowhere) {
			absent = append(absent, ip)
		}
	}
	return absent, here
}

// bindable reports whether the system knows an address as its own: it can have more
// than its interfaces show, such as all of 127.0.0.0/8, or routes that end here.
func bindable(ip netip.Addr) bool {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Join lists addresses for a message, some of them if they are many.
func Join(ips []netip.Addr) string {
	const most = 6
	var texts []string
	for i, ip := range ips {
		if i == most {
			texts = append(texts, "and "+strconv.Itoa(len(ips)-most)+" more")
			break
		}
		texts = append(texts, ip.String())
	}
	return strings.Join(texts, ", ")
}
