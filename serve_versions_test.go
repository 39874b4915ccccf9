package caddyiis_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestOldVersionsAreCapped: legacy_tls together with protocols, which names the
// lowest and the highest version.
func TestOldVersionsAreCapped(t *testing.T) {
	certFile, keyFile := ts.RSAPEM(t, "rsa", "any.test")
	all := []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}
	for _, c := range []struct {
		options string
		want    []uint16
	}{
		{"", all[2:]},
		{"protocols tls1.2 tls1.2", all[2:3]},
		{"legacy_tls", all},
		{"legacy_tls\nprotocols tls1.0", all},
		{"legacy_tls\nprotocols tls1.0 tls1.2", all[:3]},
		{"legacy_tls\nprotocols tls1.1 tls1.2", all[1:3]},
		{"legacy_tls\nprotocols tls1.0 tls1.1", all[:2]},
		{"legacy_tls\nprotocols tls1.0 tls1.0", all[:1]},
		{"legacy_tls\nprotocols tls1.1 tls1.3", all[1:]},
		{"legacy_tls\nprotocols tls1.0 tls1.2\ndisable_legacy_tls", all[2:3]},
	} {
		t.Run(c.options, func(t *testing.T) {
			port := ts.FreePort(t)
			startIIS(t, fmt.Sprintf("certificate rsa %q %q\nsite 1 {\nbinding https *:%d: {\ncertificate rsa\n%s\n}\nrespond served\n}", certFile, keyFile, port, c.options))
			has := make(map[uint16]bool)
			for _, version := range c.want {
				has[version] = true
			}
			addr := at("127.0.0.1", port)
			for _, version := range all {
				answer, err := ts.Do(ts.Request{Addr: addr, SNI: "any.test", TLS: &tls.Config{
					InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
				}})
				if (err == nil) != has[version] || err == nil && answer.State.Version != version {
					t.Errorf("%s: %v, %v", tls.VersionName(version), answer, err)
				}
				// HTTP/3 goes with TLS 1.3.
				if err == nil && (answer.Header.Get("Alt-Svc") != "") != has[tls.VersionTLS13] {
					t.Errorf("%s: Alt-Svc %q", tls.VersionName(version), answer.Header.Get("Alt-Svc"))
				}
			}
			if _, err := ts.Do(ts.Request{Addr: addr, SNI: "any.test", Proto: "h3"}); (err == nil) != has[tls.VersionTLS13] {
				t.Errorf("HTTP/3: %v", err)
			}
			// A client that offers HTTP/2 gets it where its version can have it.
			for _, top := range []uint16{tls.VersionTLS11, tls.VersionTLS12} {
				config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: top, NextProtos: []string{"h2", "http/1.1"}}
				if state, err := ts.Connect(ts.Request{Addr: addr, SNI: "any.test", TLS: config}); err == nil && !has[tls.VersionTLS12] && state.NegotiatedProtocol == "h2" {
					t.Errorf("HTTP/2 with %s", tls.VersionName(state.Version))
				}
			}
		})
	}
}

// TestVersionsThatContradict: the error says what to do.
func TestVersionsThatContradict(t *testing.T) {
	s := ts.Start(t, "{\n}\n")
	for _, c := range []struct{ options, reason string }{
		{"protocols tls1.0 tls1.2", "unless legacy_tls is on"},
		{"legacy_tls\nprotocols tls1.2", "remove legacy_tls, or begin with tls1.0 or tls1.1, as in protocols tls1.0 tls1.2"},
		{"legacy_tls\nprotocols tls1.3 tls1.3", "remove legacy_tls"},
		{"legacy_tls\nprotocols tls1.1 tls1.0", "the lowest version is above the highest"},
		{"legacy_tls\nprotocols tls1.0 tls1.1\ndisable_legacy_tls", "disable_legacy_tls"},
		{"legacy_tls\nprotocols ssl3.0", "ssl3.0"},
	} {
		config := iisConfig(certificates(t, "D") + fmt.Sprintf("site 1 {\nbinding https *:%d: {\ncertificate D\n%s\n}\n}", ts.FreePort(t), c.options))
		refusedLoad(t, s, c.options, config, c.reason)
	}
}
