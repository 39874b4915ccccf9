package front

import "net"

// Reset closes a TCP connection at once, without a TLS alert, so that the
// client sees it reset. A connection over QUIC ends by its failed handshake.
func (c *Conn) Reset() {
	if c.nc == nil {
		return
	}
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.nc.Close()
}
