package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func init() {
	caddy.RegisterModule(new(AskedStore))
}

// The defaults and bounds of AskedStore.
const (
	defaultAskedKeep    = 5 * time.Minute
	defaultAskedTimeout = 5 * time.Second
	defaultAskedEntries = 10_000
	askedMissTTL        = 30 * time.Second // of a name that the manager has nothing for
	askedErrorTTL       = 5 * time.Second
	askedAtOnce         = 64 // questions
	askedSamples        = 16 // entries that are looked at to find one to forget
	askedPatience       = 4  // a question takes at most so many times as long as a handshake waits
)

// AskedStore has the certificates of one of Caddy's certificate managers, such as
// tailscale or http. The manager is asked once for a server name and an endpoint (local
// address and port), however many clients wait for the answer, and anew for each other
// endpoint: what it says of one is never used at another. Clients that can verify ECDSA
// and those that cannot are asked for apart.
type AskedStore struct {
	// The manager.
	ManagerRaw json.RawMessage `json:"manager" caddy:"namespace=tls.get_certificate inline_key=via"`

	// How long an answer is used; after that the manager is asked again while the
	// answer before serves. Default: 5m.
	Keep caddy.Duration `json:"keep,omitempty"`

	// How long a handshake waits for an answer; a question ends after four times as
	// long. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many answers are held in memory. Default: 10,000.
	Entries int `json:"entries,omitempty"`

	manager  certmagic.Manager
	logger   *zap.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	newNames *rate.Limiter
	atOnce   chan struct{}

	mu      sync.RWMutex
	answers map[askedKey]*askedAnswer
	err     error
	since   time.Time
}

// askedKey is what an answer is for.
type askedKey struct {
	name  string // in lower case
	local netip.AddrPort
	ecdsa bool
}

// askedAnswer is what the manager has said, or will say. Its fields are guarded by the
// store's lock.
type askedAnswer struct {
	cert   *tls.Certificate
	until  time.Time     // when to ask again
	asking chan struct{} // closed when there is an answer; nil: nobody asks
}

// CaddyModule returns the Caddy module information.
func (*AskedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.stores.get_certificate", New: func() caddy.Module { return new(AskedStore) }}
}

// Provision loads the manager.
func (a *AskedStore) Provision(ctx caddy.Context) error {
	if a.ManagerRaw == nil {
		return errors.New("name a manager, such as get_certificate tailscale")
	}
	if a.Keep < 0 || a.Timeout < 0 || a.Entries < 0 {
		return errors.New("keep, timeout and entries cannot be negative")
	}
	mod, err := ctx.LoadModule(a, "ManagerRaw")
	if err != nil {
		return err
	}
	a.manager = mod.(certmagic.Manager)
	a.logger = ctx.Logger()
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.Keep = cmp.Or(a.Keep, caddy.Duration(defaultAskedKeep))
	a.Timeout = cmp.Or(a.Timeout, caddy.Duration(defaultAskedTimeout))
	a.Entries = cmp.Or(a.Entries, defaultAskedEntries)
	a.newNames = rate.NewLimiter(centralstore.DefaultRate, centralstore.DefaultBurst)
	a.atOnce = make(chan struct{}, askedAtOnce)
	a.answers = make(map[askedKey]*askedAnswer)
	return nil
}

// Cleanup ends questions.
func (a *AskedStore) Cleanup() error {
	if a.cancel != nil {
		a.cancel()
	}
	return nil
}

// Select implements Source. The first client that asks for a name at an endpoint waits
// for the manager's answer, for a bounded time.
func (a *AskedStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	key, now := askedKeyOf(hello), time.Now()
	a.mu.RLock()
	answer := a.answers[key]
	var cert *tls.Certificate
	fresh := answer != nil && now.Before(answer.until)
	if answer != nil {
		cert = answer.cert
	}
	a.mu.RUnlock()
	if fresh || hello.Context() == nil { // nobody has sent it: somebody asks what would be
		return cert
	}
	asking := a.ask(key, hello, now)
	if cert != nil || asking == nil {
		return cert
	}
	return a.wait(key, asking, hello)
}

func askedKeyOf(hello *tls.ClientHelloInfo) askedKey {
	key := askedKey{name: strings.ToLower(hello.ServerName)}
	if hello.Conn != nil {
		if addr, ok := hello.Conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
			key.local = addr.AddrPort()
		}
	}
	for _, scheme := range hello.SignatureSchemes {
		switch scheme {
		case tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512:
			key.ecdsa = true
		}
	}
	return key
}

// ask has the manager asked unless it is asked already, and returns what is closed when
// there is an answer; nil if it cannot be asked at the moment.
func (a *AskedStore) ask(key askedKey, hello *tls.ClientHelloInfo, now time.Time) <-chan struct{} {
	if key.name != "" && len(centralstore.FileNames(key.name)) == 0 {
		return nil // it is no host name
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := a.answers[key]
	switch {
	case answer != nil && answer.asking != nil:
		return answer.asking
	case answer != nil && now.Before(answer.until):
		done := make(chan struct{}) // somebody else was faster
		close(done)
		return done
	case answer == nil && !a.newNames.AllowN(now, 1):
		return nil
	}
	select {
	case a.atOnce <- struct{}{}:
	default:
		return nil
	}
	if answer == nil {
		a.evict()
		answer = new(askedAnswer)
		a.answers[key] = answer
	}
	answer.asking = make(chan struct{})
	like := *hello // the handshake may be over before there is an answer
	go a.question(answer, &like)
	return answer.asking
}

// question asks the manager and notes what it says.
func (a *AskedStore) question(answer *askedAnswer, hello *tls.ClientHelloInfo) {
	cert, err := a.get(hello)
	<-a.atOnce
	if a.ctx.Err() != nil && err != nil {
		err = a.ctx.Err() // the configuration has ended
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil:
		answer.until = now.Add(askedErrorTTL) // what it has said before serves on
	case cert == nil:
		answer.cert, answer.until = nil, now.Add(min(askedMissTTL, time.Duration(a.Keep)))
	default:
		answer.cert, answer.until = cert, now.Add(time.Duration(a.Keep))
	}
	close(answer.asking)
	answer.asking = nil
	a.note(hello.ServerName, err, now)
}

// note remembers and logs how the manager answers. The lock is held.
func (a *AskedStore) note(name string, err error, now time.Time) {
	switch {
	case err == nil:
		if a.err != nil {
			a.logger.Info("the certificate manager answers again")
		}
		a.err, a.since = nil, time.Time{}
	case errors.Is(err, context.Canceled):
	default:
		if a.err == nil || a.err.Error() != inWords(err).Error() {
			a.logger.Warn("the certificate manager has failed; what it has said before serves on", zap.String("server_name", name), zap.Error(inWords(err)))
		}
		if a.err == nil {
			a.since = now
		}
		a.err = inWords(err)
	}
}

// get asks the manager, for a bounded time: one that does not answer any more would
// soon be asked nothing else. A plugin that panics must not end the server.
func (a *AskedStore) get(hello *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
	defer func() {
		if r := recover(); r != nil {
			cert, err = nil, fmt.Errorf("the manager has failed: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(a.ctx, askedPatience*time.Duration(a.Timeout))
	defer cancel()
	cert, err = a.manager.GetCertificate(ctx, hello)
	if err != nil || cert == nil {
		return nil, err
	}
	if cert.Leaf != nil {
		return cert, nil
	}
	if len(cert.Certificate) == 0 {
		return nil, errors.New("the manager's answer holds no certificate")
	}
	own := *cert
	if own.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
		return nil, fmt.Errorf("the manager's certificate: %w", err)
	}
	return &own, nil
}

// wait waits for an answer, until the time-out or the end of the handshake.
func (a *AskedStore) wait(key askedKey, asking <-chan struct{}, hello *tls.ClientHelloInfo) *tls.Certificate {
	timer := time.NewTimer(time.Duration(a.Timeout))
	defer timer.Stop()
	select {
	case <-asking:
	case <-timer.C:
		return nil
	case <-hello.Context().Done():
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if answer := a.answers[key]; answer != nil {
		return answer.cert
	}
	return nil
}

// evict makes room for an answer: of some, the one that is the next to be asked for
// again goes, rather one without certificate. The lock is held.
func (a *AskedStore) evict() {
	for len(a.answers) >= a.Entries {
		var oldest askedKey
		var first *askedAnswer
		n := 0
		for key, answer := range a.answers { // begins anywhere
			if first == nil || (answer.cert == nil) != (first.cert == nil) && answer.cert == nil ||
				(answer.cert == nil) == (first.cert == nil) && answer.until.Before(first.until) {
				oldest, first = key, answer
			}
			if n++; n == askedSamples {
				break
			}
		}
		delete(a.answers, oldest)
	}
}

// Current implements Source: the certificates that are in memory.
func (a *AskedStore) Current() []*tls.Certificate {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var certs []*tls.Certificate
	for _, answer := range a.answers {
		if answer.cert != nil {
			certs = append(certs, answer.cert)
		}
	}
	return certs
}

// Check implements Store, from memory: the manager is asked for clients only.
func (a *AskedStore) Check(_ context.Context, host string) (centralstore.Checked, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for key, answer := range a.answers {
		if answer.cert != nil && strings.EqualFold(key.name, host) {
			return centralstore.Checked{File: "the answer for " + host, Certificate: answer.cert}, nil
		}
	}
	return centralstore.Checked{}, errors.ErrUnsupported
}

// OnReload implements Reloader. Answers are looked at when somebody asks for findings.
func (a *AskedStore) OnReload(func()) {}

// Status implements Reloader.
func (a *AskedStore) Status() files.Status {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return files.Status{LastError: a.err, Since: a.since}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	get_certificate <manager> [...]
//	get_certificate {
//		manager <manager> [...]
//		keep    <duration>
//		timeout <duration>
//		entries <number>
//	}
func (a *AskedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	here := atToken(d.Token())
	if d.NextArg() {
		return a.unmarshalManager(d)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "manager":
			if a.ManagerRaw != nil {
				return d.Errf("manager is set twice: a store has one")
			}
			if !d.NextArg() {
				return d.Errf("expected: manager <manager> ..., such as manager tailscale")
			}
			err = a.unmarshalManager(d)
		case "keep":
			err = parseStoreDuration(d, &a.Keep)
		case "timeout":
			err = parseStoreDuration(d, &a.Timeout)
		case "entries":
			err = parseStoreNumber(d, &a.Entries)
		default:
			err = d.Errf("unknown word %q in get_certificate: expected manager, keep, timeout or entries", word)
		}
		if err != nil {
			return err
		}
	}
	if a.ManagerRaw == nil {
		return here.Errf("expected: get_certificate <manager> ..., such as get_certificate tailscale")
	}
	return nil
}

func (a *AskedStore) unmarshalManager(d *caddyfile.Dispenser) error {
	const namespace = "tls.get_certificate."
	name := d.Val()
	mod, err := caddyfile.UnmarshalModule(d, namespace+name)
	if err != nil {
		return err
	}
	a.ManagerRaw = caddyconfig.JSONModuleObject(mod, "via", name, nil)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*AskedStore)(nil)
	_ caddy.CleanerUpper    = (*AskedStore)(nil)
	_ caddyfile.Unmarshaler = (*AskedStore)(nil)
	_ Store                 = (*AskedStore)(nil)
	_ Reloader              = (*AskedStore)(nil)
)
