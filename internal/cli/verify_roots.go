package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
)

// internalRoots stands for the authorities of the running Caddy.
const internalRoots = "internal"

// readRoots returns the authorities of this machine and of files. It is nil,
// which means those of this machine, if there are no files.
func (e *Env) readRoots(ctx context.Context, files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any
	}
	for _, file := range files {
		if file == internalRoots {
			if err := e.addInternal(ctx, pool); err != nil {
				return nil, err
			}
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s has no certificate in PEM: expected -----BEGIN CERTIFICATE-----", file)
		}
	}
	return pool, nil
}

// addInternal adds the roots of the authorities that issuer internal issues by.
func (e *Env) addInternal(ctx context.Context, pool *x509.CertPool) error {
	ids := map[string]any{"local": nil} // is always there
	var configured map[string]any
	if err := e.Client.GetJSON(ctx, "/config/apps/pki/certificate_authorities", nil, &configured); err == nil {
		for id := range configured {
			ids[id] = nil
		}
	}
	for id := range ids {
		var authority struct {
			Root string `json:"root_certificate"`
		}
		if err := e.Client.GetJSON(ctx, "/pki/ca/"+url.PathEscape(id), nil, &authority); err != nil {
			return fmt.Errorf("the authority %q of Caddy: %w", id, err)
		}
		pool.AppendCertsFromPEM([]byte(authority.Root))
	}
	return nil
}
