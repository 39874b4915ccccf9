package front

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
)

// ListenError is that of a socket that cannot be opened.
type ListenError struct {
	Network string         // "tcp" or "udp"
	Addr    netip.AddrPort // without IP: all addresses
	err     error
}

// Error implements error.
func (e *ListenError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *ListenError) Unwrap() error { return e.err }

// InUse reports whether somebody else has the address.
func (e *ListenError) InUse() bool { return causeOf(runtime.GOOS, e.err) == inUse }

// cause is why an address could not be bound.
type cause int

const (
	otherCause cause = iota
	inUse
	forbidden
	notLocal
)

// Windows reports these codes, which package syscall has no portable names for.
const (
	wsaEACCES        = syscall.Errno(10013)
	wsaEADDRINUSE    = syscall.Errno(10048)
	wsaEADDRNOTAVAIL = syscall.Errno(10049)
)

func causeOf(goos string, err error) cause {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return otherCause
	}
	if goos == "windows" {
		switch errno {
		case wsaEADDRINUSE, wsaEACCES: // ports need no right there: HTTP.sys has it, or somebody for himself alone
			return inUse
		case wsaEADDRNOTAVAIL:
			return notLocal
		}
		return otherCause
	}
	switch errno {
	case syscall.EADDRINUSE:
		return inUse
	case syscall.EACCES, syscall.EPERM:
		return forbidden
	case syscall.EADDRNOTAVAIL:
		return notLocal
	}
	return otherCause
}

// bindError explains why an address could not be bound and what to do about it.
func bindError(goos, owner string, key socketKey, err error) error {
	what := cannotListen(owner, key)
	if hint := bindHint(goos, key, causeOf(goos, err)); hint != "" {
		return fmt.Errorf("%s: %w; %s", what, err, hint)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func cannotListen(owner string, key socketKey) string {
	what := fmt.Sprintf("cannot listen on %s %s", key.network, displayAddr(key.addr))
	if owner != "" {
		what = owner + ": " + what
	}
	return what
}

func bindHint(goos string, key socketKey, c cause) string {
	port := strconv.Itoa(int(key.addr.Port()))
	switch {
	case c == inUse && goos == "windows":
		return windowsHint(key, port)
	case c == inUse:
		return "another program has the port: find it with '" + finder(goos, key.network, port) +
			"' and stop it, or choose another port"
	case c == forbidden && key.addr.Port() < 1024:
		return privilegeHint(goos)
	case c == forbidden:
		return "a security policy of the system forbids the port: allow it there, or choose another port"
	case c == notLocal:
		return "this machine does not have the address: configure it on an interface first, or use another address"
	}
	return ""
}

// finder is the command that shows who has a port.
func finder(goos, network, port string) string {
	if goos != "linux" {
		if network == "udp" {
			return "lsof -nP -iUDP:" + port
		}
		return "lsof -nP -iTCP:" + port + " -sTCP:LISTEN"
	}
	if network == "udp" {
		return "ss -Hlunp sport = :" + port
	}
	return "ss -Hltnp sport = :" + port
}

func privilegeHint(goos string) string {
	const port = "or choose a port from 1024 on"
	if goos == "linux" {
		return "ports below 1024 need a privilege: run the service with AmbientCapabilities=CAP_NET_BIND_SERVICE, " +
			"or give it to the program with 'setcap cap_net_bind_service=+ep', " + port
	}
	return "ports below 1024 need a privilege: start the program as root, " + port
}

// The way for those who need both, and the page that has it.
const (
	divide = "leave it to IIS on its addresses ('netsh http add iplisten ipaddress=...', then a restart of HTTP.sys) and name another one under 'listen'"
	beside = "docs/beside-iis.md has each step"
)

func windowsHint(key socketKey, port string) string {
	if key.network == "udp" {
		return "another program has the port, or it is reserved: see 'netstat -ano -p udp' and " +
			"'netsh int ipv4 show excludedportrange protocol=udp'; if it is HTTP.sys with HTTP/3, " +
			"'netsh http show servicestate' shows for whom, and 'net stop was /y' stops IIS; or choose another port; " + beside
	}
	return "HTTP.sys may have the port, for IIS or another service: 'netsh http show servicestate' shows for whom. " +
		"Free it by stopping IIS ('net stop w3svc' and 'net stop was /y') or that service, choose another port, or " + divide + ". " +
		"If it is not HTTP.sys, 'netstat -ano -p tcp' shows the process with port " + port +
		", and 'netsh int ipv4 show excludedportrange protocol=tcp' the reserved ports; " + beside
}
