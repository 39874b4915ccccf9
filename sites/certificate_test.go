package sites_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-iis/caddy-iis/sites"
)

func selfSigned(t testing.TB, key any, public any) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.test"}, DNSNames: []string{"a.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func sealer(t testing.TB, seed string) *sites.Sealer {
	t.Helper()
	s, err := sites.NewSealerWith(hex.EncodeToString([]byte(strings.Repeat(seed, 32)[:32])))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSealer: what one seals, itself and nobody else opens, under that name only.
func TestSealer(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, other := sealer(t, "a"), sealer(t, "b")
	for _, cert := range []*tls.Certificate{selfSigned(t, ec, ec.Public()), selfSigned(t, rsaKey, rsaKey.Public()), selfSigned(t, ed, edPublic)} {
		document, err := s.Document("x", cert)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Document("x", cert)
		if err != nil || string(document) == string(again) || !s.Same("x", document, again) {
			t.Errorf("the same again: %v, %s", err, again)
		}
		opened, err := s.Certificate("x", document)
		if err != nil || !opened.Leaf.Equal(mustParse(t, cert.Certificate[0])) {
			t.Errorf("opened: %v", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if raw, _ := json.Marshal(der[len(der)-30:]); strings.Contains(string(document), strings.Trim(string(raw), `"=`)) {
			t.Error("the key is in the document")
		}
		if _, err := s.Certificate("y", document); err == nil {
			t.Error("opened under another name")
		}
		if _, err := other.Certificate("x", document); err == nil || !strings.Contains(err.Error(), "another key") {
			t.Errorf("opened with another key: %v", err)
		}
		byOther, err := other.Document("x", cert)
		if err != nil || s.Same("x", document, byOther) || other.Same("x", document, byOther) {
			t.Errorf("sealed with another key is the same: %v", err)
		}
		if public := sites.Chain(document); strings.Count(public, "BEGIN CERTIFICATE") != 1 || strings.Contains(public, "sealed") {
			t.Errorf("chain: %s", public)
		}
	}
	// Whatever is changed in a document is noticed.
	document, err := s.Document("x", selfSigned(t, ec, ec.Public()))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(document), `"sealed":"`) + len(`"sealed":"`)
	for i := at; document[i] != '"'; i++ {
		damaged := append([]byte(nil), document...)
		if damaged[i]++; damaged[i] == 'g' {
			damaged[i] = 'h'
		}
		if _, err := s.Certificate("x", damaged); err == nil && i < at+200 {
			t.Errorf("byte %d of the sealed key can be changed", i-at)
		}
	}
	plain, err := sites.NewSealer(&sites.CommonSettings{PlainKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := plain.Document("x", selfSigned(t, ec, ec.Public()))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Current(document) || s.Current(whole) || !plain.Current(whole) || plain.Current(document) || new(sites.Sealer).Current(whole) || other.Current(document) {
		t.Error("what is kept as a sealer keeps it, and what is not")
	}
	half := []byte(strings.Replace(string(whole), `"plain":"`, `"plain":"AAAA`, 1))
	if !plain.Same("x", whole, whole) || plain.Same("x", half, whole) || plain.Opens("x", whole) != nil || s.Opens("y", document) == nil {
		t.Error("a plain key that is damaged is the same")
	}
	for _, text := range []string{"", "secret", strings.Repeat("a", 63), strings.Repeat("ab", 33)} {
		if _, err := sites.NewSealerWith(text); err == nil {
			t.Errorf("key %q", text)
		}
	}
	if _, err := new(sites.Sealer).Document("x", selfSigned(t, ec, ec.Public())); err == nil {
		t.Error("sealed without a key")
	}
}

func mustParse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBoltCertificates: certificates are rows of the same revisions, in the same log and
// under the same keys, and trimmed with it.
func TestBoltCertificates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path).(sites.CertificateTable)
	change := func(name, document string) sites.CertificateChange {
		c := sites.CertificateChange{Name: name}
		if document != "" {
			c.Document = json.RawMessage(document)
		}
		return c
	}
	if _, err := table.Write(sites.Transaction{By: "a", Changes: []sites.Change{put(1, `{}`)}, Certificates: []sites.CertificateChange{change("b", `{"chain":"1"}`), change("a", `{"chain":"2"}`)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Write(sites.Transaction{By: "a", Certificates: []sites.CertificateChange{change("b", ""), change("a", `{"chain":"3","key":{}}`)}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	err := table.Certificates(func(row sites.CertificateRow) error { names = append(names, row.Name); return nil })
	row, there, rowErr := table.Certificate("a")
	if err != nil || rowErr != nil || len(names) != 1 || !there || row.Revision != 2 || string(row.Document) != `{"chain":"3","key":{}}` {
		t.Errorf("rows %v, %+v, %v, %v", names, row, err, rowErr)
	}
	if _, there, err := table.Certificate("b"); there || err != nil {
		t.Errorf("b is there: %v, %v", there, err)
	}
	log, err := table.Log(0, 10)
	if err != nil || len(log) != 2 || len(log[1].Changes) != 3 || len(log[0].Changes) != 2 {
		t.Fatalf("the log is %+v, %v", log, err)
	}
	if c := log[0].WithoutKeys().Changes[0]; c.Certificate != "a" || c.ID != 0 || string(c.Before) != `{"chain":"2"}` || string(c.After) != `{"chain":"3"}` {
		t.Errorf("logged %+v", c)
	}
	if c := log[1].Changes[2]; c.ID != 1 || c.Certificate != "" {
		t.Errorf("logged %+v", c)
	}
	if err := table.Trim(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if log, err = table.Log(0, 10); err != nil || len(log) != 1 {
		t.Errorf("after Trim: %+v, %v", log, err)
	}
}

// TestBoltBeforeCertificates: a file of a version that kept no certificates opens.
func TestBoltBeforeCertificates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	write(t, table, "a", put(1, `{}`))
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("certificate")) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if got := rows(t, again); len(got) != 1 {
		t.Errorf("rows %v", got)
	}
	if _, err := again.Write(sites.Transaction{Certificates: []sites.CertificateChange{{Name: "a", Document: json.RawMessage(`{}`)}}}); err != nil {
		t.Error(err)
	}
}

// TestReadBolt: a file that is written all the time is read as it was at one moment.
func TestReadBolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	big := strings.Repeat("x", 20_000)
	written := func(n int) error {
		document, err := json.Marshal(map[string]any{"chain": big, "n": n})
		if err != nil {
			return err
		}
		_, err = table.Write(sites.Transaction{Certificates: []sites.CertificateChange{{Name: "a", Document: document}, {Name: "b", Document: document}}})
		return err
	}
	if err := written(0); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(time.Millisecond):
			}
			if err := written(n); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 20 {
		read, err := sites.ReadBolt(path)
		if err != nil {
			t.Error(err)
			break
		}
		a, _, errA := read.Certificate("a")
		b, _, errB := read.Certificate("b")
		if errA != nil || errB != nil || string(a.Document) != string(b.Document) || a.Revision != b.Revision {
			t.Errorf("half of a transaction: revision %d and %d, %v, %v", a.Revision, b.Revision, errA, errB)
		}
		if err := read.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, content := range []string{"", "short", strings.Repeat("nothing of the kind ", 1000)} {
		other := filepath.Join(t.TempDir(), "other.db")
		if err := os.WriteFile(other, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sites.ReadBolt(other); !errors.Is(err, sites.ErrDamaged) {
			t.Errorf("%.10q: %v", content, err)
		}
	}
}
