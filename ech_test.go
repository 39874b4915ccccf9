package caddyiis_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestEncryptedClientHello: Caddy's ECH works on a port that bindings share,
// for an ordinary site and for a site of iis.
func TestEncryptedClientHello(t *testing.T) {
	httpPort, port := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, fmt.Sprintf(`{
		ech public.test
		local_certs
		http_port %[1]d
		https_port %[2]d
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 Main {
				secure_bindings :%[2]d:www.contoso.test
				certificate wildcard
				respond "iis"
			}
		}
	}
	secret.test {
		tls internal
		respond "ordinary"
	}
	public.test {
		tls internal
		respond "public"
	}`, httpPort, port))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	var config []byte
	waitFor(t, "the ECH configuration in storage", func() bool {
		_ = filepath.WalkDir(s.Storage(), func(path string, _ fs.DirEntry, _ error) error {
			if base := filepath.Base(path); base == "config.bin" {
				config, _ = os.ReadFile(path)
			}
			return nil
		})
		return len(config) > 0
	})
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
	for _, name := range []string{"secret.test", "www.contoso.test"} {
		waitFor(t, "the certificate of "+name, func() bool {
			cert, err := ts.Handshake(addr, name)
			return err == nil && cert.VerifyHostname(name) == nil
		})
		conn, err := tls.Dial("tcp", addr, &tls.Config{
			ServerName: name, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, EncryptedClientHelloConfigList: list,
			EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { return nil },
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if state := conn.ConnectionState(); !state.ECHAccepted || state.PeerCertificates[0].VerifyHostname(name) != nil {
			t.Errorf("%s: accepted %v, certificate %v", name, state.ECHAccepted, state.PeerCertificates[0].DNSNames)
		}
		conn.Close()
	}
}
