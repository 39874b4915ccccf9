package policies

import (
	"crypto/tls"
	"errors"
)

// ErrNoQUIC refuses a handshake over QUIC.
var ErrNoQUIC = HandshakeError{errors.New("HTTP/3 is disabled for this binding"), ErrNoApplicationProtocol}

// HandshakeError is the error of a refused handshake, with the alert that clients get over
// QUIC. Over TCP the connection is reset.
type HandshakeError struct {
	Err   error
	Alert tls.AlertError
}

// The alerts of RFC 6066 section 3 and RFC 7301 section 3.2.
const (
	ErrUnrecognizedName      tls.AlertError = 112
	ErrNoApplicationProtocol tls.AlertError = 120
)

// Error implements error.
func (r HandshakeError) Error() string { return r.Err.Error() }

// Unwrap lets crypto/tls find the alert.
func (r HandshakeError) Unwrap() []error { return []error{r.Err, r.Alert} }
