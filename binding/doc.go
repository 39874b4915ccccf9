// Package binding reproduces how IIS and HTTP.sys turn bindings into two
// decisions: which certificate a connection gets, and which site answers a
// request. It is pure: no sockets, no files, no logging. Compile turns sites
// into immutable Tables, and the look-ups on Tables are safe for concurrent use
// and allocate nothing.
//
// Two tables order the rules. In both, the first row that hits decides.
//
// Table D1 chooses the TLS record, which is what "netsh http show sslcert"
// lists, from the local address and the server name (SNI):
//
//	row  needs SNI  record                 condition
//	1    no         IP:port                the local address
//	2    yes        name:port              the exact name
//	3    yes        *.rest:port            the name without its first label
//	4    yes        scoped store name:port (bindings never make one)
//	5    yes        central store :port    a file for the name; else rows 6, 7
//	6    no         [::]:port              IPv6 connections only
//	7    no         0.0.0.0:port           every connection
//	8    -          none                   the handshake is refused
//
// Table D2 chooses the site from the local address, the scheme and the host of
// the request, among the bindings of started sites:
//
//	row  category           binding        condition
//	0    -                  -              the host is invalid: 400
//	1    strong wildcard    +              (IIS bindings never make one)
//	2    explicit           IP:port:host   same host, local address
//	3    explicit           *:port:host    same host
//	4    explicit wildcard  IP:port:*.d    host below d, local address
//	5    explicit wildcard  *:port:*.d     host below d
//	6    IP-bound weak      IP:port:       local address
//	7    weak wildcard      *:port:        every request
//	8    -                  -              no site: 400 or 404
//
// TLS prefers the address over the name, routing prefers the name over the
// address. A longer wildcard suffix goes before a shorter one, and at equal
// suffix row 4 goes before row 5. A binding to [::] counts as bound to an
// address (rows 2, 4 and 6) that every IPv6 connection has; a binding to the
// connection's own address goes first. A binding to a link-local address with a
// zone goes before one without.
//
// The order of table D1 is documented in Microsoft's AD FS troubleshooting
// articles, the categories of table D2 under "UrlPrefix Strings" of the HTTP
// Server API.
package binding
