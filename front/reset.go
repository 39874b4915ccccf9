package front

import "net"

// Reset closes a TCP connection at once, without a TLS alert, so that the
// client sees it reset. A connection over QUIC ends by its failed handshake.
func (c *Conn) Reset() {
	if c.nc == nil {
		return
	}
	below := c.nc
	for {
		wrapped, ok := below.(interface{ Raw() net.Conn }) // as the PROXY protocol's
		if !ok {
			break
		}
		below = wrapped.Raw()
	}
	if tcp, ok := below.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.nc.Close()
}
