package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// newConnections throws away the packets that begin QUIC connections: those with a long
// header that are Initial or 0-RTT (RFC 9000, section 17.2; RFC 9369, section 3.2) and
// are for a connection ID of 8 bytes at least, which only a client chooses that has heard
// nothing of the server yet (section 7.2): those of quic-go's servers have 4. Offsets are
// behind the 8 bytes of UDP's header.
var newConnections = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 8},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xe0},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: 0xc0},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 8 + 5},
	{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: 8},
	{Code: unix.BPF_RET | unix.BPF_K},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
}

// holdBack keeps new QUIC connections away from a socket, or lets them come again. What
// is thrown away costs its client some hundred milliseconds; what the process would
// have read in its last moments, but not answered, would cost the connection.
func holdBack(conn *net.UDPConn, on bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		if on {
			program := unix.SockFprog{Len: uint16(len(newConnections)), Filter: &newConnections[0]}
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}
	}); cerr != nil {
		return cerr
	}
	return err
}
