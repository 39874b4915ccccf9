package directives

import (
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// proxyFields are the words of reverse_proxy.
var proxyFields = []caddytext.Field{
	{Word: "lb_retries", Path: "load_balancing.retries"},
	{Word: "lb_try_duration", Path: "load_balancing.try_duration", Kind: caddytext.Duration},
	{Word: "lb_try_interval", Path: "load_balancing.try_interval", Kind: caddytext.Duration},
	{Word: "health_uri", Path: "health_checks.active.uri"},
	{Word: "health_upstream", Path: "health_checks.active.upstream"},
	{Word: "health_port", Path: "health_checks.active.port"},
	{Word: "health_method", Path: "health_checks.active.method"},
	{Word: "health_request_body", Path: "health_checks.active.body"},
	{Word: "health_interval", Path: "health_checks.active.interval", Kind: caddytext.Duration},
	{Word: "health_timeout", Path: "health_checks.active.timeout", Kind: caddytext.Duration},
	{Word: "health_status", Path: "health_checks.active.expect_status"},
	{Word: "health_body", Path: "health_checks.active.expect_body"},
	{Word: "health_follow_redirects", Path: "health_checks.active.follow_redirects", Kind: caddytext.Flag},
	{Word: "health_passes", Path: "health_checks.active.passes"},
	{Word: "health_fails", Path: "health_checks.active.fails"},
	{Word: "fail_duration", Path: "health_checks.passive.fail_duration", Kind: caddytext.Duration},
	{Word: "max_fails", Path: "health_checks.passive.max_fails"},
	{Word: "unhealthy_request_count", Path: "health_checks.passive.unhealthy_request_count"},
	{Word: "unhealthy_status", Path: "health_checks.passive.unhealthy_status", Kind: caddytext.List},
	{Word: "unhealthy_latency", Path: "health_checks.passive.unhealthy_latency", Kind: caddytext.Duration},
	{Word: "flush_interval", Path: "flush_interval", Kind: caddytext.Duration},
	{Word: "request_buffers", Path: "request_buffers", Kind: caddytext.Size},
	{Word: "response_buffers", Path: "response_buffers", Kind: caddytext.Size},
	{Word: "stream_buffer_size", Path: "stream_buffer_size", Kind: caddytext.Size},
	{Word: "stream_timeout", Path: "stream_timeout", Kind: caddytext.Duration},
	{Word: "stream_close_delay", Path: "stream_close_delay", Kind: caddytext.Duration},
	{Word: "proxy_status_name", Path: "proxy_status_name"},
	{Word: "trusted_proxies", Path: "trusted_proxies", Kind: caddytext.List},
	{Word: "method", Path: "rewrite.method"},
	{Word: "rewrite", Path: "rewrite.uri"},
	{Word: "verbose_logs", Path: "verbose_logs", Kind: caddytext.Flag},
}

// transportFields are the words of the transports http and fastcgi.
var transportFields = []caddytext.Field{
	{Word: "root", Path: "root"},
	{Word: "split", Path: "split_path", Kind: caddytext.List},
	{Word: "env", Path: "env", Kind: caddytext.Pairs},
	{Word: "resolve_root_symlink", Path: "resolve_root_symlink", Kind: caddytext.Flag},
	{Word: "capture_stderr", Path: "capture_stderr", Kind: caddytext.Flag},
	{Word: "dial_timeout", Path: "dial_timeout", Kind: caddytext.Duration},
	{Word: "read_timeout", Path: "read_timeout", Kind: caddytext.Duration},
	{Word: "write_timeout", Path: "write_timeout", Kind: caddytext.Duration},
	{Word: "dial_fallback_delay", Path: "dial_fallback_delay", Kind: caddytext.Duration},
	{Word: "response_header_timeout", Path: "response_header_timeout", Kind: caddytext.Duration},
	{Word: "expect_continue_timeout", Path: "expect_continue_timeout", Kind: caddytext.Duration},
	{Word: "read_buffer", Path: "read_buffer_size", Kind: caddytext.Size},
	{Word: "write_buffer", Path: "write_buffer_size", Kind: caddytext.Size},
	{Word: "max_response_header", Path: "max_response_header_size", Kind: caddytext.Size},
	{Word: "proxy_protocol", Path: "proxy_protocol"},
	{Word: "local_address", Path: "local_address"},
	{Word: "resolvers", Path: "resolver.addresses", Kind: caddytext.List},
	{Word: "versions", Path: "versions", Kind: caddytext.List},
	{Word: "max_conns_per_host", Path: "max_conns_per_host"},
	{Word: "keepalive", Path: "keep_alive.idle_timeout", Kind: caddytext.Duration},
	{Word: "keepalive_interval", Path: "keep_alive.probe_interval", Kind: caddytext.Duration},
	{Word: "keepalive_idle_conns", Path: "keep_alive.max_idle_conns"},
	{Word: "keepalive_idle_conns_per_host", Path: "keep_alive.max_idle_conns_per_host"},
	{Word: "tls_insecure_skip_verify", Path: "tls.insecure_skip_verify", Kind: caddytext.Flag},
	{Word: "tls_server_name", Path: "tls.server_name"},
	{Word: "tls_timeout", Path: "tls.handshake_timeout", Kind: caddytext.Duration},
	{Word: "tls_renegotiation", Path: "tls.renegotiation"},
	{Word: "tls_except_ports", Path: "tls.except_ports", Kind: caddytext.List},
	{Word: "tls_curves", Path: "tls.curves", Kind: caddytext.List},
}

func reverseProxy(w *Writer, h object) []*line {
	l := caddytext.New("reverse_proxy")
	upstreams, _ := h["upstreams"].([]any)
	for _, item := range upstreams {
		upstream, _ := item.(object)
		l.Words = append(l.Words, text(upstream, "dial"))
	}
	if policy, ok := caddytext.At(h, "load_balancing.selection_policy"); ok {
		o, _ := policy.(object)
		l.Add(caddytext.New(append([]string{"lb_policy", text(o, "policy")}, policyWords(o)...)...))
	}
	l.Add(caddytext.Fields(h, proxyFields)...)
	if checked, ok := caddytext.At(h, "health_checks.active.headers"); ok {
		fields, _ := checked.(object)
		inner := caddytext.New("health_headers")
		for _, name := range names(fields) {
			inner.Add(caddytext.New(append([]string{name}, caddytext.Texts(fields[name])...)...))
		}
		l.Add(inner)
	}
	for _, side := range []struct{ path, word string }{{"headers.request", "header_up"}, {"headers.response", "header_down"}} {
		operations, _ := caddytext.At(h, side.path)
		o, _ := operations.(object)
		for _, operation := range headerOperations(o, "") {
			l.Add(operation.Behind(side.word))
		}
	}
	transport, _ := h["transport"].(object)
	lines := proxyTransport(l, transport)
	if responses, ok := h["handle_response"].([]any); ok {
		for _, l := range lines {
			w.responses(l, responses)
		}
	}
	return lines
}

// ownProxy writes iis_proxy, which takes the words of reverse_proxy behind the server that
// it stands for, and decides about Host.
func ownProxy(w *Writer, h object) (lines []*line) {
	proxy, _ := h["proxy"].(object)
	if proxy["handler"] != "reverse_proxy" {
		return nil
	}
	for _, l := range reverseProxy(w, proxy) {
		origin := &line{Words: []string{"iis_proxy", text(h, "origin")}, Block: l.Block}
		if is(h["keep_location"], true) {
			origin.Block = append([]*line{caddytext.New("keep_location")}, l.Block...)
		}
		servers := origin.Behind()
		servers.Block = append([]*line{caddytext.New(append([]string{"to"}, l.Words[1:]...)...)}, origin.Block...)
		for _, l := range []*line{origin, servers} {
			lines = append(lines, hostWords(l)...)
		}
	}
	return lines
}

// hostWords are the words of an iis_proxy without the header Host that it gives to servers
// by itself, first without the word for the other Host that it may give.
func hostWords(l *line) []*line {
	plain, preserving := l.Behind(), l.Behind()
	plain.Block = slices.DeleteFunc(slices.Clone(l.Block), func(l *line) bool {
		return len(l.Words) == 3 && l.Words[0] == "header_up" && l.Words[1] == "Host"
	})
	preserving.Block = append([]*line{caddytext.New("preserve_host")}, plain.Block...)
	return []*line{plain, preserving, l}
}

// proxyTransport adds a transport to a reverse_proxy. The scheme https:// has one as well.
func proxyTransport(l *line, transport object) []*line {
	if transport == nil {
		return []*line{l}
	}
	inner := caddytext.New("transport", text(transport, "protocol"))
	inner.Block = caddytext.Fields(transport, transportFields)
	if tls, ok := transport["tls"].(object); ok && len(tls) == 0 {
		inner.Add(caddytext.New("tls"))
	}
	if automate := text(transport, "tls.client_certificate_automate"); automate != "" {
		inner.Add(caddytext.New("tls_client_auth", automate))
	}
	if file := text(transport, "tls.client_certificate_file"); file != "" {
		inner.Add(caddytext.New("tls_client_auth", file, text(transport, "tls.client_certificate_key_file")))
	}
	if enabled, ok := caddytext.At(transport, "keep_alive.enabled"); ok && is(enabled, false) {
		inner.Add(caddytext.New("keepalive", "off"))
	}
	if is(transport["compression"], false) {
		inner.Add(caddytext.New("compression", "off"))
	}
	if pool, ok := caddytext.At(transport, "tls.ca"); ok {
		o, _ := pool.(object)
		inner.Add(TrustPool("tls_trust_pool", o))
	}
	whole := l.Behind()
	whole.Block = append(slices.Clip(l.Block), inner)
	lines := []*line{whole}
	if _, tls := transport["tls"]; tls { // as of upstreams https://
		schemed := l.Behind()
		for i := 1; i < len(schemed.Words); i++ {
			schemed.Words[i] = "https://" + schemed.Words[i]
		}
		lines = append([]*line{schemed}, lines...)
	}
	return lines
}

// TrustPool writes where authorities come from.
func TrustPool(word string, config map[string]any) *caddytext.Line {
	l := caddytext.New(word, text(config, "provider"))
	if files := caddytext.Texts(config["pem_files"]); config["pem_files"] != nil {
		l.Words = append(l.Words, files...)
	}
	return l.Add(caddytext.Fields(config, []caddytext.Field{{Word: "trust_der", Path: "trusted_ca_certs", Kind: caddytext.Repeated}})...)
}

// policyWords are the arguments of the policies that take some.
func policyWords(policy object) []string {
	switch text(policy, "policy") {
	case "header", "query":
		return words(text(policy, "field"), text(policy, "key"))
	case "cookie":
		return words(text(policy, "name"), text(policy, "secret"))
	case "random_choose":
		return words(text(policy, "choose"))
	case "weighted_round_robin":
		return caddytext.Texts(policy["weights"])
	}
	return nil
}

// responses writes the handlers of responses. Their matchers have names in the block.
func (w *Writer) responses(l *line, responses []any) {
	for _, item := range responses {
		response, _ := item.(object)
		own := caddytext.New("handle_response")
		if match, ok := response["match"].(object); ok {
			name := w.matchers.response()
			l.Add(responseMatcher(name, match)...)
			own.Words = append(own.Words, name)
		}
		if status := text(response, "status_code"); status != "" {
			own.Words[0] = "replace_status"
			own.Words = append(own.Words, status)
			l.Add(own)
			continue
		}
		routes, _ := response["routes"].([]any)
		l.Add(w.blocks(routes, own.Words...)[0])
	}
}
