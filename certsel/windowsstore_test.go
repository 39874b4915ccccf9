package certsel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/winstore"
	"github.com/caddy-iis/caddy-iis/certsel/winstore/winstoretest"
)

// onMachine has the stores of a machine asked until the test ends.
func onMachine(t *testing.T, m winstore.Machine) {
	t.Helper()
	before := openWindowsStores
	openWindowsStores = func() (winstore.Machine, error) { return m, nil }
	t.Cleanup(func() { openWindowsStores = before })
}

// loadWindows loads a certificate of the Windows store until the test ends.
func loadWindows(t *testing.T, w *WindowsStore) *WindowsStore {
	t.Helper()
	if err := loadSource(w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestWindowsStore: a renewal in the store serves, a load finds what came right before
// it, and what was there last stays in use while there is nothing better.
func TestWindowsStore(t *testing.T) {
	m := new(winstoretest.Machine)
	onMachine(t, m)
	old, next := newPair(t, "www.example.com", nil, ecKey(t)), newPair(t, "www.example.com", nil, rsaKey(t))
	put := func(store string, p pair) { m.Put(store, winstoretest.Entry{DER: p.cert.Raw, Key: p.key}) }
	put("My", old)
	t.Setenv("CADDY_IIS_TEST_SUBJECT", "www.example.com")
	w := loadWindows(t, &WindowsStore{Subject: "{env.CADDY_IIS_TEST_SUBJECT}"})
	expect := func(want pair) {
		t.Helper()
		if got := serve(t, w, new(tls.Config)); !got.Equal(want.cert) {
			t.Errorf("%s serves, not %s", certfile.Thumbprint(got.Raw), certfile.Thumbprint(want.cert.Raw))
		}
	}
	expect(old)
	reloaded := make(chan struct{}, 10)
	w.OnReload(func() { reloaded <- struct{}{} })

	// Both are of the same second: the older one goes.
	put("WebHosting", next)
	m.Remove("My", old.cert.Raw)
	select {
	case <-reloaded:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is told of the renewal")
	}
	expect(next)
	if status := w.Status(); status.LastError != nil || status.LastReload.IsZero() {
		t.Errorf("status %+v", status)
	}

	m.Remove("WebHosting", next.cert.Raw)
	second := loadWindows(t, &WindowsStore{Subject: "www.example.com"})
	if second.shared != w.shared {
		t.Error("a second load looks for the same certificate again")
	}
	expect(next)
	if err := second.Status().LastError; err == nil || !strings.Contains(err.Error(), `no certificate for the subject "www.example.com"`) {
		t.Errorf("status: %v", err)
	}
	put("My", old)
	third := loadWindows(t, &WindowsStore{Subject: "www.example.com"})
	expect(old)
	if err := third.Status().LastError; err != nil {
		t.Error(err)
	}
}

// TestWindowsStoreRefused: what cannot be found refuses the load, with a way out, and
// leaves nothing behind.
func TestWindowsStoreRefused(t *testing.T) {
	m := new(winstoretest.Machine)
	onMachine(t, m)
	cert := newPair(t, "www.example.com", nil, ecKey(t))
	m.Put("My", winstoretest.Entry{DER: cert.cert.Raw, Key: cert.key, NoRight: errors.New("access is denied")})
	thumbprint := certfile.Thumbprint(cert.cert.Raw)
	for want, w := range map[string]*WindowsStore{
		"one of thumbprint, subject and friendly_name":       {Thumbprint: thumbprint, Subject: "www.example.com"},
		"by one of thumbprint, subject and friendly_name":    {},
		"40 hexadecimal digits":                              {Thumbprint: "www.example.com"},
		"access is denied":                                   {Thumbprint: strings.ToLower(thumbprint)},
		`friendly name "Shop" is in the store WebHosting of`: {FriendlyName: "Shop", Stores: []string{"WebHosting"}},
		"CADDY_IIS_TEST_NOT_SET":                             {Subject: "{env.CADDY_IIS_TEST_NOT_SET}"},
	} {
		wantError(t, loadSource(w), want)
		if err := w.Cleanup(); err != nil {
			t.Error(err)
		}
	}
	if _, there := windowsCerts.References(windowsStoresKey); there {
		t.Error("the stores are still open")
	}
}

// onStop is a machine that says when nobody wants to be told of changes any more.
type onStop struct {
	winstore.Machine
	stopped func()
}

func (m onStop) Notify(store string, changed func()) (func(), error) {
	stop, err := m.Machine.Notify(store, changed)
	return func() { m.stopped(); stop() }, err
}

// TestWindowsStoreEnds: with the last certificate the stores are closed, which waits for
// looks that are under way: they must not wait for whoever closes.
func TestWindowsStoreEnds(t *testing.T) {
	m := new(winstoretest.Machine)
	cert := newPair(t, "www.example.com", nil, ecKey(t))
	m.Put("My", winstoretest.Entry{DER: cert.cert.Raw, Key: cert.key})
	w, stopped := &WindowsStore{Subject: "www.example.com"}, 0
	onMachine(t, onStop{m, func() {
		stopped++
		if !w.shared.looking.TryLock() {
			t.Error("looks would wait until the stores are closed")
			return
		}
		w.shared.looking.Unlock()
	}})
	if err := loadSource(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Cleanup(); err != nil {
		t.Error(err)
	}
	if stopped != 3 {
		t.Errorf("%d of three stores are closed", stopped)
	}
}

// TestWindowsStoreElsewhere: on other systems the configuration is understood, and
// refused when it is loaded.
func TestWindowsStoreElsewhere(t *testing.T) {
	if _, err := winstore.Open(); (err == nil) != (runtime.GOOS == "windows") {
		t.Errorf("opening the stores of %s: %v", runtime.GOOS, err)
	}
	before := openWindowsStores
	openWindowsStores = func() (winstore.Machine, error) { return nil, winstore.ErrNoStores }
	defer func() { openWindowsStores = before }()
	w := &WindowsStore{Subject: "www.example.com"}
	if err := w.Provision(caddy.Context{}); err != nil {
		t.Error(err)
	}
	if err := w.Load(context.Background()); !errors.Is(err, winstore.ErrNoStores) {
		t.Errorf("loaded: %v", err)
	}
}

// TestWindowsStoreBroken: a store that cannot be read changes nothing of what serves, and
// is logged once.
func TestWindowsStoreBroken(t *testing.T) {
	m := new(winstoretest.Machine)
	onMachine(t, m)
	cert := newPair(t, "www.example.com", nil, ecKey(t))
	m.Put("My", winstoretest.Entry{DER: cert.cert.Raw, Key: cert.key})
	w := loadWindows(t, &WindowsStore{Subject: "www.example.com"})
	m.Break("My", errors.New("the registry is gone"))
	for range 3 {
		_ = w.shared.look(time.Now())
	}
	if status := w.Status(); status.LastError == nil || status.Since.IsZero() || status.Since.After(status.LastAttempt) {
		t.Errorf("status %+v", status)
	}
	if got := w.Current(); len(got) != 1 || !bytes.Equal(got[0].Certificate[0], cert.cert.Raw) {
		t.Errorf("%v serves", got)
	}
	m.Break("My", nil)
	if err := w.shared.look(time.Now()); err != nil || w.Status().LastError != nil {
		t.Error(err, w.Status())
	}
}

func TestWindowsStoreCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"windows_store":                 "by one of thumbprint, subject and friendly_name",
		"windows_store www.example.com": "takes no argument",
		"windows_store {\nstore My\n}":  "by one of",
		"windows_store {\nsubject a\nthumbprint " + strings.Repeat("0a", 20) + "\n}": "by one of",
		"windows_store {\nsubject CN=www.example.com, O=Example\n}":                  "expected: subject",
		"windows_store {\nsubject \"CN=www.example.com, O=Example\"\n}":              "such as subject www.example.com",
		"windows_store {\nsubject cn=\n}":                                            "such as subject www.example.com",
		"windows_store {\nsubject a\nsubject b\n}":                                   "set twice",
		"windows_store {\nfriendly_name My Shop\n}":                                  "in quotes if it has blanks",
		"windows_store {\nthumbprint 12\n}":                                          "40 hexadecimal digits",
		"windows_store {\nsubject a\nstore\n}":                                       "store <names...>",
		"windows_store {\nsubject a {\n}\n}":                                         "takes no block",
		"windows_store {\nsubject a\npassword b\n}":                                  `unknown word "password"`,
	} {
		wantError(t, new(WindowsStore).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}
