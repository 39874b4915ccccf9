package certsel

import (
	"crypto/tls"
	"net"
	"testing"
)

// liveHello is the ClientHello of a client that waits: that of a handshake which goes on
// until the test ends.
func liveHello(t testing.TB) *tls.ClientHelloInfo {
	t.Helper()
	client, server := net.Pipe()
	come, end := make(chan *tls.ClientHelloInfo), make(chan struct{})
	go func() {
		_ = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
		_ = client.Close()
	}()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = tls.Server(server, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			come <- hello
			<-end
			return nil, net.ErrClosed
		}}).HandshakeContext(t.Context())
		_ = server.Close()
	}()
	t.Cleanup(func() { close(end); <-over })
	return <-come
}
