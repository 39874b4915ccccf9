package front

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogs(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	m, port := newManager(t), freePort(t)
	s := newState("a", secure(netip.Addr{}, port))
	s.Logger = zap.New(core)
	s.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	install(t, m, s)
	for i, c := range []*http.Client{client1(t), client2(t), client3(t)} {
		if _, _, err := fetch(c, url("https", loopback, port)); err == nil {
			t.Error("panic was answered")
		}
		eventually(t, "the panic is logged", func() bool { return logs.FilterLevelExact(zapcore.ErrorLevel).Len() > i })
	}
	for _, entry := range logs.FilterLevelExact(zapcore.ErrorLevel).All() {
		if !strings.Contains(entry.Message, ": panic serving 127.0.0.1:") ||
			!strings.Contains(entry.Message, "on purpose\n") || !strings.Contains(entry.Message, "main_test.go") {
			t.Errorf("logged: %s", entry.Message)
		}
	}
	if _, _, err := fetch(client1(t), url("http", loopback, port)); err != nil {
		t.Error(err) // answered with 400 by net/http
	}
	eventually(t, "the failed handshake is logged", func() bool {
		return logs.FilterMessageSnippet("client sent an HTTP request to an HTTPS server").FilterLevelExact(zapcore.DebugLevel).Len() > 0
	})

	// without a logger
	replace(t, m, s, &State{Endpoints: s.Endpoints, TLS: s.TLS, Handler: s.Handler})
	if _, _, err := fetch(client3(t), url("https", loopback, port)); err == nil {
		t.Error("panic was answered")
	}
}

func TestEncryptedClientHelloHook(t *testing.T) {
	m, port := newManager(t), freePort(t)
	s := newState("a", secure(loopback, port))
	var asked atomic.Bool
	s.EncryptedClientHelloKeys = func(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
		asked.Store(true)
		return nil, nil
	}
	install(t, m, s)
	config := clientTLS("http/1.1")
	config.ServerName = "test.example"
	// a well-formed list with a key that the server does not know
	config.EncryptedClientHelloConfigList = echConfigList()
	tr := &http.Transport{TLSClientConfig: config}
	_, _, err := fetch(&http.Client{Transport: tr}, url("https", loopback, port))
	if err == nil || !asked.Load() {
		t.Errorf("asked: %v, error: %v", asked.Load(), err)
	}
}

// echConfigList is an ECHConfigList with one configuration for X25519,
// HKDF-SHA256 and AES-128-GCM.
func echConfigList() []byte {
	var b bytes.Buffer
	contents := append([]byte{1, 0, 0x20, 0, 32}, bytes.Repeat([]byte{9}, 32)...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 64, 12)
	contents = append(contents, "test.example"...)
	contents = append(contents, 0, 0)
	config := append([]byte{0xfe, 0x0d, 0, byte(len(contents))}, contents...)
	b.Write([]byte{0, byte(len(config))})
	b.Write(config)
	return b.Bytes()
}
