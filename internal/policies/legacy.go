package policies

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// oldProtocols are the words for the versions of TLS that Caddy has no more
// (RFC 8996), and that legacy_tls turns on.
var oldProtocols = map[string]uint16{"tls1.0": tls.VersionTLS10, "tls1.1": tls.VersionTLS11}

// oldVersions are the versions that legacy_tls allows.
type oldVersions struct {
	lowest  uint16
	highest uint16 // 0: not one of the old versions
}

// checkVersions refuses versions that contradict legacy_tls, or need it.
func checkVersions(settings *caddytls.ConnectionPolicy, legacy bool) error {
	if settings == nil {
		return nil
	}
	lowest, highest := oldProtocols[settings.ProtocolMin], oldProtocols[settings.ProtocolMax]
	switch {
	case !legacy && lowest != 0:
		return fmt.Errorf("protocols: %s is off unless legacy_tls is on as well", settings.ProtocolMin)
	case !legacy && highest != 0:
		return fmt.Errorf("protocols: %s is off unless legacy_tls is on as well", settings.ProtocolMax)
	case !legacy:
		return nil
	case caddytls.SupportedProtocols[settings.ProtocolMin] != 0:
		return fmt.Errorf("legacy_tls turns TLS 1.0 and 1.1 on, which are below the lowest version in protocols, %s: "+
			"remove legacy_tls, or begin with tls1.0 or tls1.1, as in protocols tls1.0 tls1.2", settings.ProtocolMin)
	case highest != 0 && highest < lowest:
		return errors.New("protocols: the lowest version is above the highest")
	}
	return nil
}

// takeOldVersions takes the old versions out of a connection policy, which
// Caddy would refuse.
func takeOldVersions(cp *caddytls.ConnectionPolicy) oldVersions {
	old := oldVersions{lowest: tls.VersionTLS10}
	if lowest, ok := oldProtocols[cp.ProtocolMin]; ok {
		old.lowest, cp.ProtocolMin = lowest, ""
	}
	if highest, ok := oldProtocols[cp.ProtocolMax]; ok {
		old.highest, cp.ProtocolMax = highest, ""
	}
	return old
}

// allowLegacy turns on TLS 1.0 and 1.1 with the cipher suites that devices of
// their time know and Go still has: AES and 3DES with RSA key exchange, and
// AES-CBC with ECDHE. RC4, which Go has too, stays off; DES and export suites
// are not to be had.
func allowLegacy(config *tls.Config, old oldVersions) {
	config.MinVersion = old.lowest
	if old.highest != 0 {
		config.MaxVersion = old.highest
		// HTTP/2 needs TLS 1.2 (RFC 9113 section 9.2).
		config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(p string) bool { return p == "h2" })
	}
	for _, suite := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	} {
		if !slices.Contains(config.CipherSuites, suite) {
			config.CipherSuites = append(config.CipherSuites, suite)
		}
	}
}
