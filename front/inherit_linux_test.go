package front

import (
	"net"
	"net/netip"
	"testing"
)

// TestHandedOverAddress: the address of a socket that was handed over is read as it was
// written when the socket was bound, with the zone of a link-local one.
func TestHandedOverAddress(t *testing.T) {
	hosts := []string{"127.0.0.1", "::1"}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		if got := zoneName(uint32(ifi.Index)); got != ifi.Name {
			t.Errorf("zone %d is %q, want %s", ifi.Index, got, ifi.Name)
		}
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() {
				hosts = append(hosts, prefix.Addr().WithZone(ifi.Name).String())
			}
		}
	}
	for _, host := range hosts {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		file, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		found, ok := describeFD(int(file.Fd()))
		if want := ln.Addr().(*net.TCPAddr).AddrPort(); !ok || normalize(found.addr) != normalize(want) || found.network != "tcp" {
			t.Errorf("%s: %+v %v, want %s", host, found, ok, want)
		}
	}
}
