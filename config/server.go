package config

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// CheckServer names the fields of the server settings that bindings,
// sites and certificates decide.
func CheckServer(s *caddyhttp.Server) error {
	for _, f := range []struct {
		set       bool
		name, fix string
	}{
		{len(s.Listen) > 0 || s.ListenProtocols != nil, "listen", "bindings decide it, and the listen option of iis narrows it"},
		{s.Routes != nil || s.NamedRoutes != nil, "routes", "routes belong to sites or to defaults"},
		{s.Errors != nil, "errors", "error routes belong to sites or to defaults"},
		{s.TLSConnPolicies != nil, "tls_connection_policies", "bindings and endpoints have tls settings"},
		{s.AutoHTTPS != nil, "automatic_https", "certificates are configured under certificates"},
		{s.StrictSNIHost != nil, "strict_sni_host", "requests are routed by Host, as in IIS"},
		{s.Metrics != nil, "metrics", "it is deprecated in Caddy as well"},
		{s.PacketConnWrappersRaw != nil, "packet_conn_wrappers", "UDP sockets outlive configurations here, and wrappers do not"},
	} {
		if f.set {
			return fmt.Errorf("server: %s has no place here: %s", f.name, f.fix)
		}
	}
	if s.Logs != nil && (s.Logs.DefaultLoggerName != "" || s.Logs.LoggerNames != nil || s.Logs.SkipHosts != nil || s.Logs.SkipUnmappedHosts) {
		return errors.New("server: logs accepts should_log_credentials and trace only: access_log of a site enables its log")
	}
	return nil
}

// TrustsProxies reports whether there are proxies that are believed what they
// say of their clients.
func (a *App) TrustsProxies() bool {
	return a.Server != nil && len(a.Server.TrustedProxiesRaw) > 0
}
