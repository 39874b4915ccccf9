package inspect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// lookTime bounds how long an answer about sites waits for storages and stores. What
// has not been read by then is left out of it.
const lookTime = 2 * time.Second

// look is what answers about several sites share.
type look struct {
	redirects redirects
	until     time.Time // zero before something is read
}

func newLook(sn view) *look { return &look{redirects: redirects{sn: sn}} }

// context is one for reading.
func (l *look) context() (context.Context, context.CancelFunc) {
	if l.until.IsZero() {
		l.until = time.Now().Add(lookTime)
	}
	return context.WithDeadline(context.Background(), l.until)
}

// showStanding tells how the certificate of a record stands for clients of a binding who
// send its host.
func (sn view) showStanding(b *adminapi.Binding, host string, live *serve.Record, look *look) {
	if live.Source == nil {
		return
	}
	leaf, renewer, err := standing(live.Source, host, look)
	b.RenewedBy = sn.renewedBy(live)
	if err != nil {
		b.Error = err.Error()
	}
	if leaf == nil {
		return
	}
	end := leaf.NotAfter.UTC()
	b.NotAfter = &end
	if renewer != nil {
		renews := renewer.Renews(leaf).UTC()
		b.Renews = &renews
	}
	if host != "" {
		covers := health.Covers(leaf, host)
		b.Covers = &covers
	}
}

// standing finds the certificate, who renews it if Caddy does, and what failed last.
func standing(source certsel.Source, host string, look *look) (*x509.Certificate, certsel.Renewer, error) {
	ctx, cancel := look.context()
	defer cancel()
	switch source := source.(type) {
	case certsel.Renewer:
		s := source.Standing(ctx, host)
		return s.Leaf, source, s.Failure.Err
	case certsel.Store:
		if host == "" || strings.HasPrefix(host, "*") {
			return nil, nil, nil
		}
		found, err := source.Check(ctx, host)
		if errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil {
			return nil, nil, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("there is no file for the host")
		}
		return leafOf(found.Certificate), nil, err
	}
	leaf := bestLeaf(source.Current(), host)
	if reloader, ok := source.(certsel.Reloader); ok {
		return leaf, nil, reloader.Status().LastError
	}
	return leaf, nil, nil
}

// bestLeaf is the certificate among several that is for a host, else the first.
func bestLeaf(certs []*tls.Certificate, host string) (first *x509.Certificate) {
	for _, cert := range certs {
		leaf := leafOf(cert)
		switch {
		case leaf == nil:
		case host == "" || health.Covers(leaf, host):
			return leaf
		case first == nil:
			first = leaf
		}
	}
	return first
}

func (sn view) renewedBy(live *serve.Record) string {
	switch live.Source.(type) {
	case certsel.Renewer:
		return adminapi.RenewedByCaddy
	case certsel.Store:
		return adminapi.RenewedByStore
	}
	if sn.App.SourceOfCertificate(live.Certificate) != nil {
		return adminapi.RenewedByAPI
	}
	return adminapi.RenewedByFile
}

// showRenewer adds to a certificate what is known of one that Caddy obtains.
func showRenewer(c *adminapi.Certificate, renewer certsel.Renewer) {
	failures := renewer.Failures()
	for _, host := range serve.SortedKeys(failures) {
		f := failures[host]
		shown := adminapi.CertificateFailure{Host: host, Error: f.Err.Error(), At: f.At.UTC()}
		if f.Again.After(time.Now()) {
			again := f.Again.UTC()
			shown.Again = &again
		}
		c.Failures = append(c.Failures, shown)
	}
	auto, ok := renewer.(*certsel.Auto)
	if !ok {
		return
	}
	stats := auto.Stats()
	c.ForBindings = &adminapi.ForBindings{Certificates: stats.Memory, Hits: stats.Hits, Reads: stats.Reads, Orders: stats.Orders}
	for i, n := range stats.Failures {
		if n == 0 {
			continue
		}
		if c.ForBindings.Failures == nil {
			c.ForBindings.Failures = make(map[string]uint64)
		}
		c.ForBindings.Failures[certsel.FailureReasons[i]] = n
	}
}
