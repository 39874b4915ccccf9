// Package certsel holds the certificates that bindings and endpoints name:
// where they come from, and which of several one handshake gets.
//
// A certificate is configured once under a name and used by any number of
// bindings. What stands behind the name is a source, a module in the
// namespace iis.certificates: a PEM pair (pem) or certificates that Caddy
// obtains and renews (managed). A source is asked only when table D1 has
// already decided, by local address, port and server name, that its name
// applies; so a certificate never appears on an endpoint that does not name
// it, whatever its subjects are.
package certsel
