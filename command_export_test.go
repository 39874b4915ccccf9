package caddyiis

import (
	"io"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/commands"
)

// RunCommand runs caddy iis in this process and returns its exit code.
func RunCommand(out, errOut io.Writer, args ...string) int {
	return commands.Run(checkFile, out, errOut, args...)
}

// QUICKnowsAddress tells whether HTTP/3 may be on where the local address
// decides.
var QUICKnowsAddress = quicKnowsAddress

// PortsWithQUIC returns the ports on which the app would offer HTTP/3 where QUIC
// does not tell the local address.
func (a *Instance) PortsWithQUIC() []uint16 {
	endpoints := slices.Clone(a.now().state.Endpoints)
	a.now().withoutQUIC(endpoints)
	var ports []uint16
	for _, e := range endpoints {
		if e.Settings.H3 {
			ports = append(ports, e.Addr.Port())
		}
	}
	return ports
}
