package caddyiis_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
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

// TestOutdatedKeys: a client whose keys for Encrypted Client Hello are out of
// date learns the new ones, whatever bindings and endpoints are there: it gets
// Caddy's certificate for the public name. (Caddy's own test, with a site of iis.)
func TestOutdatedKeys(t *testing.T) {
	for name, options := range map[string]string{
		"no certificate for other names":     "",
		"a certificate for all names":        "endpoint *:%d {\ncertificate wildcard\n}",
		"one for the address":                "endpoint 127.0.0.1:%d {\ncertificate wildcard\n}",
		"other names are refused":            "endpoint *:%d {\ncertificate wildcard\n}\nsni_unmatched reject",
		"the endpoint refuses all its names": "endpoint *:%d {\nreject\n}",
	} {
		t.Run(name, func(t *testing.T) {
			httpPort, port := ts.FreePort(t), ts.FreePort(t)
			if strings.Contains(options, "%d") {
				options = fmt.Sprintf(options, port)
			}
			s := ts.Start(t, fmt.Sprintf(`{
				ech public.localhost
				local_certs
				skip_install_trust
				http_port %[1]d
				https_port %[2]d
				iis {
					certificate wildcard {
						subjects *.contoso.test
						issuer internal
					}
					%[3]s
					site 1 Main {
						binding https *:%[2]d:www.contoso.test {
							sni
							certificate wildcard
						}
						respond "iis"
					}
				}
			}`, httpPort, port, options))
			addr := at("127.0.0.1", port)
			waitFor(t, "the certificate of the public name", func() bool {
				cert, err := ts.Handshake(addr, "public.localhost")
				return err == nil && cert.VerifyHostname("public.localhost") == nil
			})
			for _, proto := range protocols {
				r := ts.Request{Addr: addr, SNI: "www.contoso.test", Proto: proto, TLS: echClient(outdatedKeys(t, "public.localhost"))}
				_, err := ts.Connect(r)
				var rejection *tls.ECHRejectionError
				if !errors.As(err, &rejection) || len(rejection.RetryConfigList) == 0 {
					t.Fatalf("%s: got %v, want new keys", proto, err)
				}
				r.TLS = echClient(rejection.RetryConfigList)
				answer, err := ts.Do(r)
				if err != nil || answer.Body != "iis" || !answer.State.ECHAccepted || answer.Subject() != "*.contoso.test" {
					t.Errorf("%s with the new keys: %v, %v", proto, answer, err)
				}
			}
			var x adminapi.Explanation
			s.AdminJSON("/iis/explain?local="+addr+"&sni=public.localhost", &x)
			if x.Handshake.Server != adminapi.ServerECH {
				t.Errorf("explain tells %+v", x.Handshake)
			}
		})
	}
}

// echClient is a client with keys for Encrypted Client Hello.
func echClient(list []byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, EncryptedClientHelloConfigList: list,
		// The state has no certificates yet; waitFor has looked at them.
		EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { return nil },
	}
}

// outdatedKeys is a list of one configuration with a key that nobody has.
func outdatedKeys(t *testing.T, publicName string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const version, x25519, sha256, aes128 = 0xfe0d, 0x20, 1, 1
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(version)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(1)
			b.AddUint16(x25519)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16(sha256)
				b.AddUint16(aes128)
			})
			b.AddUint8(0)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(publicName)) })
			b.AddUint16(0)
		})
	})
	return b.BytesOrPanic()
}
