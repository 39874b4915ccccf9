package serve

import "slices"

// PortsWithQUIC returns the ports on which the app would offer HTTP/3 where QUIC
// does not tell the local address.
func (a *Instance) PortsWithQUIC() []uint16 {
	endpoints := slices.Clone(a.Now().state.Endpoints)
	a.Now().withoutQUIC(endpoints)
	var ports []uint16
	for _, e := range endpoints {
		if e.Settings.H3 {
			ports = append(ports, e.Addr.Port())
		}
	}
	return ports
}
