package certsel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// staplers holds the one stapler of the process, while a certificate needs it.
var staplers = caddy.NewUsagePool()

const staplerKey = "ocsp"

// stapler keeps OCSP staples (RFC 6961 section 1) of certificates from files
// fresh, with a certmagic cache of its own that asks responders in the
// background. A responder that is down or hangs delays nobody: certificates
// serve without staple until it answers.
type stapler struct {
	cache *certmagic.Cache
	magic *certmagic.Config
	stop  chan struct{}

	mu      sync.Mutex
	entries map[*stapled]struct{}
	uses    map[[sha256.Size]byte]int // entries by their chain, which the cache has once
}

// stapled is a certificate in the stapler.
type stapled struct {
	cert   *tls.Certificate
	chain  [sha256.Size]byte
	hash   string // in the cache, once it is there
	update func(*tls.Certificate)
}

func newStapler() (caddy.Destructor, error) {
	s := &stapler{entries: make(map[*stapled]struct{}), uses: make(map[[sha256.Size]byte]int), stop: make(chan struct{})}
	s.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.magic, nil },
		Logger:           certLog(),
	})
	// Caddy sets the default storage to that of the configuration.
	s.magic = certmagic.New(s.cache, certmagic.Config{Storage: certmagic.Default.Storage, Logger: certLog()})
	go s.refreshRegularly()
	return s, nil
}

// Destruct ends the maintenance.
func (s *stapler) Destruct() error {
	close(s.stop)
	s.cache.Stop()
	return nil
}

// staple has a certificate stapled if its issuer offers it. update gets copies
// with a staple as these come. The function that it returns ends it.
func staple(cert *tls.Certificate, update func(*tls.Certificate)) (end func()) {
	if len(cert.Leaf.OCSPServer) == 0 || len(cert.Certificate) < 2 {
		return nil // nobody to ask, or no issuer to ask about
	}
	val, _, err := staplers.LoadOrNew(staplerKey, newStapler)
	if err != nil {
		certLog().Error("starting OCSP stapling", zap.Error(err))
		return nil
	}
	s := val.(*stapler)
	entry := &stapled{cert: cert, chain: sha256.Sum256(slices.Concat(cert.Certificate...)), update: update}
	s.mu.Lock()
	s.entries[entry] = struct{}{}
	s.uses[entry.chain]++
	s.mu.Unlock()
	go s.add(entry)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.entries, entry)
		if s.uses[entry.chain]--; s.uses[entry.chain] == 0 {
			delete(s.uses, entry.chain)
		}
		s.forget(entry)
		s.mu.Unlock()
		_, _ = staplers.Delete(staplerKey)
	})
}

// forget takes the certificate of an entry that has ended out of the cache, unless
// another entry has the same one. The caller holds s.mu.
func (s *stapler) forget(entry *stapled) {
	if entry.hash != "" && s.uses[entry.chain] == 0 {
		s.cache.Remove([]string{entry.hash})
	}
}

// add puts a certificate into the cache, for which certmagic asks the
// responder: it may take long.
func (s *stapler) add(entry *stapled) {
	hash, err := s.magic.CacheUnmanagedTLSCertificate(context.Background(), *entry.cert, nil)
	if err != nil {
		certLog().Warn("OCSP stapling", zap.Strings("subjects", entry.cert.Leaf.DNSNames), zap.Error(err))
		return
	}
	s.mu.Lock()
	_, wanted := s.entries[entry]
	entry.hash = hash
	if !wanted {
		s.forget(entry)
	}
	s.mu.Unlock()
	if !wanted {
		return
	}
	s.refresh(entry)
}

// refresh hands out a staple that is new.
func (s *stapler) refresh(entry *stapled) {
	s.mu.Lock()
	cert, hash := entry.cert, entry.hash
	s.mu.Unlock()
	name := cert.Leaf.Subject.CommonName
	if len(cert.Leaf.DNSNames) > 0 {
		name = cert.Leaf.DNSNames[0]
	}
	for _, cached := range s.cache.AllMatchingCertificates(name) {
		if cached.Hash() != hash {
			continue
		}
		fresh := cached.Certificate
		if len(fresh.OCSPStaple) == 0 || bytes.Equal(fresh.OCSPStaple, cert.OCSPStaple) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, wanted := s.entries[entry]; wanted && entry.cert == cert {
			entry.cert = &fresh
			entry.update(&fresh)
		}
		return
	}
}

func (s *stapler) refreshRegularly() {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		var ready []*stapled
		for entry := range s.entries {
			if entry.hash != "" {
				ready = append(ready, entry)
			}
		}
		s.mu.Unlock()
		for _, entry := range ready {
			s.refresh(entry)
		}
	}
}
