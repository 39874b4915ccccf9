package certsel

import (
	"context"
	"sync"
	"testing"
)

// TestChangesAtTheSameTime: a configuration load and the watcher may find a
// changed file at the same time, also while the certificate is released.
func TestChangesAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	pairs := []pair{newPair(t, "a.test", nil, ecKey(t)), newPair(t, "b.test", nil, ecKey(t))}
	file := writeFile(t, dir, "both.pem", pairs[0].certPEM(), pairs[0].keyPEM(t))
	source := &PEM{Files: []PEMFiles{{Certificate: file}}}
	if err := loadSource(source); err != nil {
		t.Fatal(err)
	}
	cert := source.certs[0]
	for i := range 20 {
		next := pairs[i%2]
		writeFile(t, dir, "both.pem", next.certPEM(), next.keyPEM(t))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = cert.changed(context.Background()) })
		}
		wg.Wait()
		if got := source.Current()[0].Leaf.DNSNames[0]; got != next.cert.DNSNames[0] {
			t.Fatalf("%s serves, want %s", got, next.cert.DNSNames[0])
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = cert.changed(context.Background()) })
	wg.Go(func() { _ = source.Cleanup() })
	wg.Wait()
	if source.Current()[0] == nil {
		t.Error("a released certificate does not serve a handshake under way")
	}
}
