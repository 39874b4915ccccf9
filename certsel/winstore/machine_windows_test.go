package winstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

// ofUser are the stores of the user who runs the tests: those of the machine are for
// administrators, and no place for tests.
const ofUser = location(windows.CERT_SYSTEM_STORE_CURRENT_USER)

// testStore makes a store, which is deleted when the test ends.
func testStore(t *testing.T) string {
	t.Helper()
	name := "caddy-iis-test-" + rand.Text()
	closeStore(openTestStore(t, name, 0))
	t.Cleanup(func() { closeStore(openTestStore(t, name, windows.CERT_STORE_DELETE_FLAG)) })
	return name
}

func openTestStore(t *testing.T, name string, flags uint32) windows.Handle {
	t.Helper()
	wide, err := windows.UTF16PtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CertOpenStore(windows.CERT_STORE_PROV_SYSTEM, 0, 0, uint32(ofUser)|flags, uintptr(unsafe.Pointer(wide)))
	if err != nil && flags != windows.CERT_STORE_DELETE_FLAG { // which returns none
		t.Fatal(err)
	}
	return h
}

func closeStore(h windows.Handle) { _ = windows.CertCloseStore(h, 0) }

// imported puts a new certificate with its key into a store, as an import of a PFX file
// does.
func imported(t *testing.T, store string, key crypto.Signer, friendlyName string) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: []string{"www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pkcs12.LegacyDES.Encode(key, cert, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	password, err := windows.UTF16PtrFromString("secret")
	if err != nil {
		t.Fatal(err)
	}
	from, err := windows.PFXImportCertStore(&windows.CryptDataBlob{Size: uint32(len(pfx)), Data: &pfx[0]}, password, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(from)
	found, err := windows.CertEnumCertificatesInStore(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CertFreeCertificateContext(found) }()
	if friendlyName != "" {
		setFriendlyName(t, found, friendlyName)
	}
	to := openTestStore(t, store, 0)
	defer closeStore(to)
	if err := windows.CertAddCertificateContextToStore(to, found, windows.CERT_STORE_ADD_REPLACE_EXISTING, nil); err != nil {
		t.Fatal(err)
	}
	return cert
}

func setFriendlyName(t *testing.T, cert *windows.CertContext, name string) {
	t.Helper()
	wide, err := windows.UTF16FromString(name)
	if err != nil {
		t.Fatal(err)
	}
	blob := windows.CryptDataBlob{Size: uint32(2 * len(wide)), Data: (*byte)(unsafe.Pointer(&wide[0]))}
	set := crypt32.NewProc("CertSetCertificateContextProperty")
	if ok, _, err := set.Call(uintptr(unsafe.Pointer(cert)), certFriendlyNamePropID, 0, uintptr(unsafe.Pointer(&blob))); ok == 0 {
		t.Fatal(err)
	}
}

// TestListWindows: what is put into a store is found there, with its properties.
func TestListWindows(t *testing.T) {
	name := testStore(t)
	if _, err := ofUser.List("caddy-iis-test-" + rand.Text()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store that there is not: %v", err)
	}
	if items, err := ofUser.List(name); err != nil || len(items) != 0 {
		t.Fatal(items, err)
	}
	key := newRSAKey(t)
	for _, friendlyName := range []string{"Büro", ""} {
		cert := imported(t, name, key, friendlyName)
		items, err := ofUser.List(name)
		i := slices.IndexFunc(items, func(item Item) bool { return bytes.Equal(item.DER, cert.Raw) })
		if err != nil || i < 0 || items[i].FriendlyName != friendlyName || !items[i].HasKey || items[i].KeyName == "" {
			t.Fatalf("%q: got %+v, %v", friendlyName, items, err)
		}
	}
}

// TestNotifyWindows: whoever waits for changes of a store is told of each.
func TestNotifyWindows(t *testing.T) {
	name := testStore(t)
	changed := make(chan struct{}, 10)
	stop, err := ofUser.Notify(name, func() { changed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	key := newRSAKey(t)
	for range 2 {
		imported(t, name, key, "")
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is told of the change")
		}
	}
}

// TestNotifyStopWindows: whoever waits no more leaves no handle behind, and touches none
// when he stops again: its number may be that of something else.
func TestNotifyStopWindows(t *testing.T) {
	name := testStore(t)
	for range 10 {
		stop, err := ofUser.Notify(name, func() {})
		if err != nil {
			t.Fatal(err)
		}
		stop()
		events := make([]windows.Handle, 8)
		for i := range events {
			if events[i], err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		for _, event := range events {
			if which, err := windows.WaitForSingleObject(event, 0); which != uint32(windows.WAIT_TIMEOUT) {
				t.Errorf("another event is set or closed: %#x, %v", which, err)
			}
			_ = windows.CloseHandle(event)
		}
	}
	before := openHandles(t)
	for range 100 {
		stop, err := ofUser.Notify(name, func() {})
		if err != nil {
			t.Fatal(err)
		}
		stop()
	}
	if after := openHandles(t); after > before+50 { // the threads of Go have some, too
		t.Errorf("%d handles are open, before it were %d", after, before)
	}
}

// openHandles is how many handles this process has.
func openHandles(t *testing.T) (n uint32) {
	t.Helper()
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetProcessHandleCount")
	if ok, _, err := proc.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&n))); ok == 0 {
		t.Fatal(err)
	}
	return n
}

// TestMachineWindows: the stores of the machine are found.
func TestMachineWindows(t *testing.T) {
	machine, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if items, err := machine.List("Root"); err != nil || len(items) == 0 {
		t.Errorf("%d roots, %v", len(items), err)
	}
}

func newRSAKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestServeWindows: certificates of a store serve, each with its key.
func TestServeWindows(t *testing.T) {
	name := testStore(t)
	testServe(t, name, imported(t, name, newRSAKey(t), ""))
}

func TestServeECDSAWindows(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		name := testStore(t)
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		testServe(t, name, imported(t, name, key, ""))
	}
}

func testServe(t *testing.T, store string, cert *x509.Certificate) {
	t.Helper()
	stores := NewStores(ofUser, Interval)
	defer stores.Close()
	q := Query{Thumbprint: certfile.Thumbprint(cert.Raw), Stores: []string{store}}
	found, err := stores.Find(q, time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	top := uint16(tls.VersionTLS13)
	if found.TLS.SupportedSignatureAlgorithms != nil {
		top = tls.VersionTLS12 // a key of CryptoAPI
	}
	for version := uint16(tls.VersionTLS10); version <= top; version++ {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- tls.Server(far, &tls.Config{MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{*found.TLS}}).HandshakeContext(t.Context())
			_ = far.Close()
		}()
		err := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "www.example.com", MinVersion: version, MaxVersion: version}).HandshakeContext(t.Context())
		_ = near.Close()
		if serverErr := <-done; err != nil {
			t.Errorf("%s: %v, %v", tls.VersionName(version), err, serverErr)
		}
	}
	t.Logf("%T, up to %s", found.TLS.PrivateKey.(*signer).key, tls.VersionName(top))
}
