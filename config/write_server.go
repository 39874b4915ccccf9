package config

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// serverFields are words of Caddy's servers option, and where JSON has them.
var serverFields = []caddytext.Field{
	{Word: "keepalive_interval", Path: "keepalive_interval", Kind: caddytext.Duration},
	{Word: "keepalive_idle", Path: "keepalive_idle", Kind: caddytext.Duration},
	{Word: "keepalive_count", Path: "keepalive_count"},
	{Word: "max_header_size", Path: "max_header_bytes", Kind: caddytext.Size},
	{Word: "enable_full_duplex", Path: "enable_full_duplex", Kind: caddytext.Flag},
	{Word: "expected_underscore_headers", Path: "expected_underscore_headers", Kind: caddytext.List},
	{Word: "expected_dot_headers", Path: "expected_dot_headers", Kind: caddytext.List},
	{Word: "protocols", Path: "protocols", Kind: caddytext.List},
	{Word: "client_ip_headers", Path: "client_ip_headers", Kind: caddytext.List},
	{Word: "log_credentials", Path: "logs.should_log_credentials", Kind: caddytext.Flag},
	{Word: "trace", Path: "logs.trace", Kind: caddytext.Flag},
}

var timeoutFields = []caddytext.Field{
	{Word: "read_body", Path: "read_timeout", Kind: caddytext.Duration},
	{Word: "read_header", Path: "read_header_timeout", Kind: caddytext.Duration},
	{Word: "write", Path: "write_timeout", Kind: caddytext.Duration},
	{Word: "idle", Path: "idle_timeout", Kind: caddytext.Duration},
}

// serverLines writes the settings of the servers, as far as the option servers has words
// for them.
func serverLines(server *caddyhttp.Server) []*caddytext.Line {
	if server == nil {
		return nil
	}
	object, err := caddytext.Object(server)
	if err != nil {
		return nil
	}
	l := caddytext.New("servers")
	if timeouts := caddytext.Fields(object, timeoutFields); len(timeouts) > 0 {
		l.Add(&caddytext.Line{Words: []string{"timeouts"}, Block: timeouts})
	}
	if proxies, ok := object["trusted_proxies"].(map[string]any); ok && proxies["source"] == "static" {
		l.Add(caddytext.New(append([]string{"trusted_proxies", "static"}, caddytext.Texts(proxies["ranges"])...)...))
	}
	l.Add(flagLines(map[string]bool{"trusted_proxies_strict": server.TrustedProxiesStrict > 0, "trusted_proxies_unix": server.TrustedProxiesUnix})...)
	return []*caddytext.Line{l.Add(caddytext.Fields(object, serverFields)...)}
}
