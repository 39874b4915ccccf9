package config

// routeModules are the modules of which it is known what they let whoever writes a row
// do, by their ids, and what they take. What reads files, asks other servers, begins
// anything of its own or takes much of the machine is bounded or not here:
//
//   - vars and matchers of variables: they reach what Caddy keeps for a request, such as
//     the names of its loggers
//   - expression: it calls every matcher
//   - templates, and pages of file_server of one's own: they read any file
//   - authentication: whoever chooses the cost of a hash chooses how long each request takes
//   - health checks, dynamic upstreams and retries: they go on without a request, or for as
//     long as who writes them says
//   - buffers of requests and answers: as large as who writes them says
//   - map, replacements in headers and URIs, and what changes a request by what was changed
//     before: a text that doubles itself thirty times is larger than the machine
//   - etag_file_extensions: it reads the whole of any file
var routeModules = make(map[string]shape)

// routesShape is a list of routes. It is a variable, since routes have routes.
var routesShape = list(func(c *routeCheck, at string, value any) error { return routeFields.check(c, at, value) })

var routeFields fields

// The fields of header operations, of matchers of answers and of rewrites are those of
// several modules.
var (
	matcherSets  = list(modules("http.matchers"))
	headerOps    = fields{"add": steady, "set": steady, "delete": free}
	answerOps    = fields{"add": free, "set": free, "delete": free, "require": free, "deferred": free}
	headerShape  = fields{"request": headerOps.shape(), "response": answerOps.shape()}.shape()
	rewrites     = fields{"method": fixed, "uri": once, "strip_path_prefix": fixed, "strip_path_suffix": fixed}.shape()
	patternShape = fields{"name": free, "pattern": pattern}.shape()
	ranges       = fields{"ranges": free}.shape()
)

func init() {
	routeFields = fields{
		"group": free, "match": matcherSets, "handle": list(guest("http.handlers", "handler")), "terminal": free,
	}
	for kind, list := range map[string]map[string]shape{
		"http.matchers.":                         matcherModules(),
		"http.handlers.":                         handlerModules(),
		"http.encoders.":                         {"gzip": fields{"level": free}.shape(), "zstd": fields{"level": free, "checksum": free}.shape()},
		"http.precompressed.":                    {"gzip": fields{}.shape(), "br": fields{}.shape(), "zstd": fields{}.shape()},
		"http.reverse_proxy.transport.":          {"http": transportShape},
		"http.reverse_proxy.selection_policies.": selectionPolicies(),
	} {
		for name, takes := range list {
			routeModules[kind+name] = takes
		}
	}
}

func matcherModules() map[string]shape {
	return map[string]shape{
		"path": free, "host": free, "method": free, "query": free, "header": free, "protocol": free,
		"path_regexp":   patternShape,
		"header_regexp": named(patternShape),
		"remote_ip":     ranges,
		"client_ip":     ranges,
		"not":           matcherSets,
		"file":          fields{"root!": folder, "try_files": noGlobs, "try_policy": free, "split_path": free}.shape(),
	}
}

func handlerModules() map[string]shape {
	return map[string]shape{
		"static_response": fields{"status_code": free, "headers": free, "body": free, "close": free, "abort": free}.shape(),
		"error":           fields{"error": free, "status_code": free}.shape(),
		"headers":         headerShape,
		"rewrite":         rewrites,
		"subroute":        fields{"routes": routesShape, "errors": fields{"routes": routesShape}.shape()}.shape(),
		"request_body":    fields{"max_size": free}.shape(),
		"encode":          fields{"encodings": modules("http.encoders"), "prefer": free, "minimum_length": free, "match": free}.shape(),
		"file_server": fields{
			"root!": folder, "hide": free, "index_names": free, "canonical_uris": free, "status_code": free, "pass_thru": free,
			"browse":        fields{"reveal_symlinks": free, "sort": free, "file_limit": free}.shape(),
			"precompressed": modules("http.precompressed"), "precompressed_order": free,
		}.shape(),
		"reverse_proxy": fields{
			"upstreams!":     list(fields{"dial!": upstream, "max_requests": free}.shape()),
			"transport":      guest("http.reverse_proxy.transport", "protocol"),
			"load_balancing": fields{"selection_policy": guest("http.reverse_proxy.selection_policies", "policy")}.shape(),
			"flush_interval": free, "trusted_proxies": free, "headers": headerShape, "rewrite": rewrites, "stream_timeout": free,
		}.shape(),
	}
}

// transportShape is what HTTP to an upstream takes: no files, no other servers on the way.
var transportShape = fields{
	"tls":         fields{"insecure_skip_verify": free, "handshake_timeout": free, "server_name": free, "except_ports": free}.shape(),
	"compression": free, "max_conns_per_host": free, "dial_timeout": free, "dial_fallback_delay": free, "response_header_timeout": free,
	"expect_continue_timeout": free, "read_timeout": free, "write_timeout": free, "proxy_protocol": free,
}.shape()

func selectionPolicies() map[string]shape {
	fallback := guest("http.reverse_proxy.selection_policies", "policy")
	return map[string]shape{
		"first": fields{}.shape(), "random": fields{}.shape(), "round_robin": fields{}.shape(), "least_conn": fields{}.shape(),
		"ip_hash": fields{}.shape(), "client_ip_hash": fields{}.shape(), "uri_hash": fields{}.shape(),
		"random_choose": fields{"choose": free}.shape(),
		"header":        fields{"field": free, "fallback": fallback}.shape(),
		"query":         fields{"key": free, "fallback": fallback}.shape(),
	}
}
