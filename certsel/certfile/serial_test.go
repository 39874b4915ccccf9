package certfile

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// withSerial signs a certificate again with a serial number that is written as it
// is given: crypto/x509 makes none that is negative.
func withSerial(t testing.TB, id *identity, serial []byte) *identity {
	t.Helper()
	var outer struct {
		TBS       encodingasn1.RawValue
		Algorithm encodingasn1.RawValue
		Signature encodingasn1.BitString
	}
	if _, err := encodingasn1.Unmarshal(id.cert.Raw, &outer); err != nil {
		t.Fatal(err)
	}
	var fields []encodingasn1.RawValue
	for rest := outer.TBS.Bytes; len(rest) > 0; {
		var field encodingasn1.RawValue
		var err error
		if rest, err = encodingasn1.Unmarshal(rest, &field); err != nil {
			t.Fatal(err)
		}
		fields = append(fields, field)
	}
	var body []byte
	for i, field := range fields {
		if i == 1 {
			field.FullBytes = append([]byte{2, byte(len(serial))}, serial...)
		}
		body = append(body, field.FullBytes...)
	}
	tbs := sequence(body)
	sum := sha256.Sum256(tbs)
	signature, err := id.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	bits, err := encodingasn1.Marshal(encodingasn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})
	if err != nil {
		t.Fatal(err)
	}
	der := sequence(tbs, outer.Algorithm.FullBytes, bits)
	return &identity{key: id.key, cert: &x509.Certificate{Raw: der, RawTBSCertificate: tbs}}
}

// TestNegativeSerial: certificates as makecert.exe wrote them are read without a
// setting of the process, and everything about them is theirs.
func TestNegativeSerial(t *testing.T) {
	plain := issue(t, "old.example.com", nil, newKey(t), year)
	for want, serial := range map[int64][]byte{-128: {0x80}, -1: {0xff}, -32768: {0x80, 0x00}} {
		old := withSerial(t, plain, serial)
		if _, err := x509.ParseCertificate(old.cert.Raw); err == nil {
			t.Fatal("crypto/x509 reads it: this is not needed any more")
		}
		cert, err := PEM(certPEM(old), keyPEM(t, old), "")
		if err != nil {
			t.Errorf("%d: %v", want, err)
			continue
		}
		leaf := cert.Leaf
		if leaf.SerialNumber.Cmp(big.NewInt(want)) != 0 || !bytes.Equal(leaf.Raw, old.cert.Raw) ||
			!bytes.Equal(leaf.RawTBSCertificate, old.cert.RawTBSCertificate) || leaf.DNSNames[0] != "old.example.com" {
			t.Errorf("%d: got serial number %d of %v", want, leaf.SerialNumber, leaf.DNSNames)
		}
		if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
			t.Errorf("%d: %v", want, err)
		}
		if !bytes.Equal(handshake(t, cert), old.cert.Raw) {
			t.Errorf("%d: another certificate was served", want)
		}
	}
	// What is wrong otherwise stays wrong.
	broken := withSerial(t, plain, []byte{0x80})
	broken.cert.Raw = broken.cert.Raw[:len(broken.cert.Raw)-1]
	_, err := PEM(certPEM(broken), keyPEM(t, plain), "")
	wantError(t, err, "malformed certificate")
}

// handshake serves a certificate to one client and returns what it got. The client
// does not parse it.
func handshake(t *testing.T, cert *tls.Certificate) (leaf []byte) {
	t.Helper()
	clientSide, serverSide := net.Pipe()
	defer clientSide.Close()
	deadline := time.Now().Add(10 * time.Second)
	_ = clientSide.SetDeadline(deadline)
	_ = serverSide.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		server := tls.Server(serverSide, &tls.Config{Certificates: []tls.Certificate{*cert}, MaxVersion: tls.VersionTLS12})
		done <- server.Handshake()
		serverSide.Close()
	}()
	recorded := &recorder{Conn: clientSide}
	err := tls.Client(recorded, &tls.Config{InsecureSkipVerify: true, ServerName: "old.example.com"}).Handshake()
	clientSide.Close()
	<-done
	if err != nil && !strings.Contains(err.Error(), "negative serial number") {
		t.Fatal(err)
	}
	if i := bytes.Index(recorded.seen.Bytes(), cert.Certificate[0]); i >= 0 {
		return recorded.seen.Bytes()[i : i+len(cert.Certificate[0])]
	}
	return nil
}

// recorder keeps what it reads.
type recorder struct {
	net.Conn
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

func TestLiteralLineEnds(t *testing.T) {
	id := issue(t, "www.example.com", nil, newKey(t), year)
	cert, key := certPEM(id), keyPEM(t, id)
	for _, end := range []string{`\n`, `\r\n`} {
		pasted := func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte(end)) }
		_, err := PEM(pasted(cert), key, "")
		wantError(t, err, `the certificate file has \n`)
		_, err = PEM(cert, pasted(key), "")
		wantError(t, err, `the key file has \n`)
		_, err = PEM(append(pasted(cert), '\n'), key, "")
		wantError(t, err, `in place of line ends`)
	}
}
