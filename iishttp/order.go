package iishttp

import "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

// directiveOrder gives the directives the order in which IIS asks its modules.
// It is in one place because each is put behind those that stand there already.
var directiveOrder = []struct{ directive, before string }{
	{"iis_url", "redir"},
	{"iis_filter", "redir"},
	{"iis_ip_security", "redir"},
	{"iis_dynamic_ip_security", "redir"},
	{"iis_rewrite", "redir"},
	// These two see who the user is, so they come after basic_auth and
	// forward_auth.
	{"iis_authorization", "request_header"},
	{"iis_redirect", "request_header"},
	// What guards or shapes requests to a reverse_proxy does it here as well.
	{"iis_proxy", "reverse_proxy"},
	{"iis_content_types", "reverse_proxy"},
}

func init() {
	for _, d := range directiveOrder {
		httpcaddyfile.RegisterDirectiveOrder(d.directive, httpcaddyfile.Before, d.before)
	}
}
