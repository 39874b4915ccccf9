package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// session is a client over HTTP/2 or HTTP/3 that keeps its connection.
type session struct {
	http.RoundTripper
	close func()
}

// newSession returns a client whose connections begin with a handshake for a site. Each
// connection is counted.
func newSession(mode Mode, addr string, site sites.Site, dialed *int64) *session {
	cfg := clientConfig(site.Host, site.Cert.Leaf, string(mode))
	if mode == HTTP3 {
		transport := &http3.Transport{
			TLSClientConfig: cfg,
			Dial: func(ctx context.Context, _ string, cfg *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
				*dialed++
				cfg.ServerName = site.Host // not that of the URL
				return quic.DialAddr(ctx, addr, cfg, quicConfig)
			},
		}
		return &session{transport, func() { _ = transport.Close() }}
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			*dialed++
			dialer := tls.Dialer{Config: cfg}
			return dialer.DialContext(ctx, "tcp", addr)
		},
	}
	return &session{transport, transport.CloseIdleConnections}
}

// roundTrip makes a request over HTTP/2 or HTTP/3, on the connection of the one before
// if it still stands.
func (w *worker) roundTrip(site sites.Site) error {
	if w.round == nil {
		w.round = newSession(w.mode, w.target.Addr, site, &w.dialed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.target.Addr+"/", nil)
	if err != nil {
		return err
	}
	req.Host = site.Host
	resp, err := w.round.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	return expectation{http.StatusOK, site.Body(), true}.check(resp.StatusCode, body)
}
