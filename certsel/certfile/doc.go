// Package certfile decodes certificates with their private keys out of the
// files that administrators have: PFX (PKCS #12) as Windows exports it, and
// PEM with plain or encrypted keys.
//
// The certificate that comes out is ready for crypto/tls: its leaf is the one
// that the private key belongs to, its chain is in order, and Leaf is parsed.
//
// Files are taken to be hostile. Their size is bounded, so is the work that
// key derivation may take, which a file chooses itself, and neither is spent
// before it is checked. Errors say what is wrong with a file and what to do
// about it; they never hold passwords or key material.
package certfile
