package certsel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// autoNames is how many names are visited once in the test of memory.
var autoNames = flag.Int("auto.names", 20_000, "names in storage, each visited once, in the test of memory")

// maxVisited bounds what visits to names in storage cost in memory.
const maxVisited = 150 << 20

// TestVisitedMemory: of names in storage that are visited once each, as many are in
// memory as may be, and no more.
func TestVisitedMemory(t *testing.T) {
	names := *autoNames
	if raceDetector() {
		names = min(names, 3000) // all takes ten times as long
	}
	hosts := make([]string, names)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("customer-%d.example.com", i)
	}
	for _, capacity := range []int{100, defaultAutoCapacity} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			a := newAuto(t, capacity, selfSigned{time.Hour}, hosts...)
			a.managed.magic.Storage = leafsOf(t, hosts)
			before, resident := heap(), residentSize(t)
			hello := &tls.ClientHelloInfo{}
			start := time.Now()
			for _, host := range hosts {
				f := a.fly(host, BoundByHost, hello)
				<-f.done
				if f.slot.cert.Load() == nil {
					t.Fatalf("%s has no certificate", host)
				}
			}
			took := time.Since(start)
			after := heap()
			stats := a.Stats()
			kept := min(capacity, len(hosts))
			if stats.Memory != kept || stats.Reads != uint64(len(hosts)) || stats.Orders != 0 || len(a.flights) != 0 {
				t.Errorf("%+v, %d under way", stats, len(a.flights))
			}
			a.managed.group.mu.Lock()
			if slots := len(a.managed.group.slots); slots != kept {
				t.Errorf("%d slots", slots)
			}
			a.managed.group.mu.Unlock()
			grown, grownSize := after-before, residentSize(t)-resident
			t.Logf("%d names visited in %v: heap %+.1f MB, resident size %+.1f MB", len(hosts), took, float64(grown)/(1<<20), float64(grownSize)/(1<<20))
			if grown > maxVisited || grownSize > maxVisited && !raceDetector() {
				t.Errorf("it has grown by %d bytes, of the heap %d", grownSize, grown)
			}
			if capacity == 100 && grown > 10<<20 {
				t.Errorf("the heap has grown by %d bytes for 100 certificates", grown)
			}
		})
	}
}

func heap() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// raceDetector reports whether memory is several times what it is otherwise.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// residentSize is that of this process, 0 where nobody tells.
func residentSize(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(raw), &total, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// leafs is a storage with a certificate for each host, in memory: what is measured is
// not the file system. They share a key, on which nothing depends.
type leafs struct {
	certmagic.Storage
	files map[string][]byte
}

// Load implements certmagic.Storage.
func (l leafs) Load(_ context.Context, key string) ([]byte, error) {
	file, ok := l.files[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(file), nil
}

func leafsOf(t *testing.T, hosts []string) leafs {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	storage := leafs{files: make(map[string][]byte, 3*len(hosts))}
	for i, host := range hosts {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), DNSNames: []string{host},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		storage.files[certmagic.StorageKeys.SiteCert("self", host)] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		storage.files[certmagic.StorageKeys.SitePrivateKey("self", host)] = keyPEM
		storage.files[certmagic.StorageKeys.SiteMeta("self", host)] = []byte(`{"sans":["` + host + `"]}`)
	}
	return storage
}
