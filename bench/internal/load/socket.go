package load

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/websocket"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// EchoServer starts a server of WebSockets that sends back what comes.
func EchoServer() *httptest.Server {
	return httptest.NewServer(websocket.Server{Handler: func(conn *websocket.Conn) { _, _ = io.Copy(conn, conn) }})
}

// Socket is a WebSocket that is open to a site.
type Socket struct {
	conn interface {
		io.ReadWriteCloser
		SetDeadline(deadline time.Time) error
	}
	reader *bufio.Reader
	close  func()
}

// OpenSocket opens a WebSocket over HTTP/1.1 (RFC 6455).
func OpenSocket(addr string, site sites.Site) (*Socket, error) {
	conn, err := dial(addr, site.Host, site.Cert.Leaf)
	if err != nil {
		return nil, err
	}
	s := &Socket{conn, bufio.NewReader(conn), func() { _ = conn.NetConn().Close() }}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nOrigin: https://%[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", site.Host, socketKey())
	resp, err := http.ReadResponse(s.reader, nil) //nolint:bodyclose // what follows is the WebSocket's
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return s.opened(err)
}

// socketKey is as random as what it is for needs: a cache would notice.
func socketKey() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%016x", rand.Uint64())[:16]) //nolint:gosec // it is no secret
}

// OpenSocketHTTP3 opens one on a connection of HTTP/3 (RFC 9220).
func OpenSocketHTTP3(ctx context.Context, addr string, site sites.Site) (*Socket, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	// The connection outlives ctx.
	conn, err := quic.DialAddr(ctx, addr, clientConfig(site.Host, site.Cert.Leaf, "h3"), &quic.Config{KeepAlivePeriod: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	s := &Socket{close: func() { _ = conn.CloseWithError(0, "") }}
	return s.opened(s.connect(ctx, conn, site.Host))
}

func (s *Socket) connect(ctx context.Context, conn *quic.Conn, host string) error {
	client := new(http3.Transport).NewClientConn(conn)
	select {
	case <-client.ReceivedSettings():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !client.Settings().EnableExtendedConnect {
		return errors.New("the server takes no WebSockets over HTTP/3")
	}
	stream, err := client.OpenRequestStream(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	s.conn, s.reader = stream, bufio.NewReader(stream)
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodConnect, "https://"+host+"/", nil)
	if err != nil {
		return err
	}
	req.Proto = "websocket"
	req.Header.Set("Origin", "https://"+host)
	req.Header.Set("Sec-WebSocket-Version", "13")
	if err := stream.SendRequestHeader(req); err != nil {
		return err
	}
	resp, err := stream.ReadResponse() //nolint:bodyclose // what follows is the WebSocket's
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

func (s *Socket) opened(err error) (*Socket, error) {
	if err == nil {
		err = s.Echo("opened")
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	return s, nil
}

// frame is the beginning of a frame that is a whole text (RFC 6455, section 5.2), and
// masked that of a client.
const frame, masked = 0x81, 0x80

// maxShort is the longest text whose length is one byte.
const maxShort = 125

// Echo sends a short text and waits until it has come back.
func (s *Socket) Echo(text string) error {
	if len(text) > maxShort {
		return fmt.Errorf("a text of %d bytes is too long", len(text))
	}
	if err := s.conn.SetDeadline(time.Now().Add(opTimeout)); err != nil {
		return err
	}
	message := append([]byte{frame, masked | byte(len(text)), 0, 0, 0, 0}, text...) // a mask of zeros changes nothing
	if _, err := s.conn.Write(message); err != nil {
		return err
	}
	got := make([]byte, 2+len(text))
	if _, err := io.ReadFull(s.reader, got); err != nil {
		return err
	}
	if want := append([]byte{frame, byte(len(text))}, text...); string(got) != string(want) {
		return &WrongError{fmt.Sprintf("a frame %q, not %q", got, want)}
	}
	return nil
}

// Close ends the connection.
func (s *Socket) Close() { s.close() }
