package certfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	encodingasn1 "encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// fixture reads a file of the collection of real PFX files beside the
// repository.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(needs.Fixtures(t), "pfx", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// openssl runs OpenSSL with input on a machine that has it.
func openssl(t testing.TB, input []byte, args ...string) []byte {
	t.Helper()
	needs.OpenSSL(t)
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// identity is a certificate with its private key.
type identity struct {
	key  crypto.Signer
	cert *x509.Certificate
}

var serials int64

// issue makes a certificate signed by a parent, or by itself without one.
func issue(t testing.TB, name string, parent *identity, key crypto.Signer, lifetime time.Duration) *identity {
	t.Helper()
	serials++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serials),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(lifetime),
		IsCA:                  strings.HasSuffix(name, " CA"),
		BasicConstraintsValid: true,
	}
	id := &identity{key: key}
	signer, signerCert := key, template
	if parent != nil {
		signer, signerCert = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signerCert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if id.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return id
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKeys sync.Map

// rsaKey returns the one RSA key of a size, which takes long to make.
func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	if key, ok := rsaKeys.Load(bits); ok {
		return key.(crypto.Signer)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	rsaKeys.Store(bits, key)
	return key
}

const year = 365 * 24 * time.Hour

// family is a chain of three.
type family struct{ root, inter, leaf *identity }

func newFamily(t testing.TB) family {
	t.Helper()
	root := issue(t, "Root CA", nil, newKey(t), 10*year)
	inter := issue(t, "Intermediate CA", root, newKey(t), 5*year)
	return family{root, inter, issue(t, "www.example.com", inter, newKey(t), year)}
}

func certPEM(ids ...*identity) []byte {
	var out []byte
	for _, id := range ids {
		out = append(out, pemBlock("CERTIFICATE", id.cert.Raw)...)
	}
	return out
}

func keyPEM(t testing.TB, id *identity) []byte {
	t.Helper()
	return pemBlock("PRIVATE KEY", pkcs8(t, id.key))
}

func pemBlock(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// build returns what a function adds to a builder.
func build(add func(b *cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	add(&b)
	return b.BytesOrPanic()
}

func addOID(b *cryptobyte.Builder, oid string) {
	var id encodingasn1.ObjectIdentifier
	for arc := range strings.SplitSeq(oid, ".") {
		n, err := strconv.Atoi(arc)
		if err != nil {
			panic(err)
		}
		id = append(id, n)
	}
	b.AddASN1ObjectIdentifier(id)
}

func sequence(parts ...[]byte) []byte { return tagged(asn1.SEQUENCE, parts...) }

func tagged(tag asn1.Tag, parts ...[]byte) []byte {
	return build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	})
}

func objectID(id string) []byte { return build(func(b *cryptobyte.Builder) { addOID(b, id) }) }

func octets(data []byte) []byte { return tagged(asn1.OCTET_STRING, data) }

func number(n int64) []byte { return build(func(b *cryptobyte.Builder) { b.AddASN1Int64(n) }) }

// bag makes an entry of SafeContents.
func bag(id string, value []byte, localKeyID string) []byte {
	var attributes []byte
	if localKeyID != "" {
		attributes = tagged(asn1.SET, sequence(objectID(oidLocalKeyID), tagged(asn1.SET, octets([]byte(localKeyID)))))
	}
	return sequence(objectID(id), tagged(contextTag0.Constructed(), value), attributes)
}

func certBag(id *identity, localKeyID string) []byte {
	return bag(oidCertBag, sequence(objectID(oidX509Certificate), tagged(contextTag0.Constructed(), octets(id.cert.Raw))), localKeyID)
}

func plainKeyBag(t testing.TB, id *identity, localKeyID string) []byte {
	return bag(oidKeyBag, pkcs8(t, id.key), localKeyID)
}

// dataInfo makes an unencrypted part of a file.
func dataInfo(entries ...[]byte) []byte {
	return sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(sequence(entries...))))
}

// makePFX makes a file without MAC.
func makePFX(infos ...[]byte) []byte {
	return sequence(number(3), sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(sequence(infos...)))))
}

// toBER writes DER with indefinite lengths, and octet strings in pieces.
func toBER(der []byte) []byte {
	length, header, ok := readHeader(der)
	if !ok {
		panic("not DER")
	}
	tag, content, rest := der[0], der[header:header+length], der[header+length:]
	var out []byte
	switch {
	case tag&constructed != 0:
		out = append(out, tag, 0x80)
		for len(content) > 0 {
			length, header, _ := readHeader(content)
			out = append(out, toBER(content[:header+length])...)
			content = content[header+length:]
		}
		out = append(out, 0, 0)
	case tag == byte(asn1.OCTET_STRING) && length > 2:
		half := length / 2
		out = append(out, constructedOctetString, 0x80)
		out = append(out, octets(content[:half])...)
		out = append(out, octets(content[half:])...)
		out = append(out, 0, 0)
	default:
		out = append(out, der[:header+length]...)
	}
	if len(rest) > 0 {
		panic("trailing data")
	}
	return out
}
