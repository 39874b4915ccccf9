package front

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestBindError(t *testing.T) {
	for _, tc := range []struct {
		goos, network string
		port          uint16
		errno         syscall.Errno
		want          []string
	}{
		{"linux", "tcp", 443, syscall.EADDRINUSE, []string{`site 1 "Test": cannot listen on tcp 127.0.0.1:443: listen tcp: bind: address already in use; `, "'ss -Hltnp sport = :443'"}},
		{"linux", "udp", 443, syscall.EADDRINUSE, []string{"udp", "'ss -Hlunp sport = :443'"}},
		{"darwin", "tcp", 443, syscall.EADDRINUSE, []string{"lsof -nP -iTCP:443"}},
		{"darwin", "udp", 443, syscall.EADDRINUSE, []string{"lsof -nP -iUDP:443"}},
		{"linux", "tcp", 443, syscall.EACCES, []string{"CAP_NET_BIND_SERVICE", "setcap", "1024"}},
		{"freebsd", "tcp", 443, syscall.EACCES, []string{"as root"}},
		{"linux", "tcp", 8443, syscall.EACCES, []string{"security policy"}},
		{"linux", "tcp", 443, syscall.EADDRNOTAVAIL, []string{"does not have the address"}},
		{"windows", "tcp", 443, wsaEACCES, []string{"HTTP.sys", "netsh http show servicestate", "net stop w3svc", "net stop was", "excludedportrange", "netsh http add iplisten ipaddress=", "'listen'", "docs/beside-iis.md"}},
		{"windows", "tcp", 443, wsaEADDRINUSE, []string{"HTTP.sys", "netsh http show servicestate"}},
		{"windows", "udp", 443, wsaEACCES, []string{"HTTP/3", "excludedportrange", "docs/beside-iis.md"}},
		{"windows", "tcp", 443, wsaEADDRNOTAVAIL, []string{"does not have the address"}},
	} {
		err := &net.OpError{Op: "listen", Net: tc.network, Err: os.NewSyscallError("bind", tc.errno)}
		got := bindError(tc.goos, `site 1 "Test"`, socketKey{tc.network, netip.AddrPortFrom(loopback, tc.port)}, err)
		for _, want := range tc.want {
			if !strings.Contains(got.Error(), want) {
				t.Errorf("%s: %q does not contain %q", tc.goos, got, want)
			}
		}
		if !errors.Is(got, tc.errno) {
			t.Errorf("%s: %v is not wrapped", tc.goos, tc.errno)
		}
		// what is worth waiting for: a program that was just ended may still have the port
		taken := tc.errno == syscall.EADDRINUSE || tc.errno == wsaEADDRINUSE || tc.errno == wsaEACCES
		if c := causeOf(tc.goos, got); (c == inUse) != taken {
			t.Errorf("%s: cause of %v: %v", tc.goos, tc.errno, c)
		}
	}
	if _, err := os.Stat("../" + strings.Fields(beside)[0]); err != nil {
		t.Errorf("the page that errors name: %v", err)
	}
	if got := bindError("linux", "", socketKey{"tcp", netip.AddrPortFrom(netip.Addr{}, 80)}, errors.New("no reason")).Error(); got != "cannot listen on tcp :80: no reason" {
		t.Error(got)
	}
}
