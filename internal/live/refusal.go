package live

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// WriteError is a refusal in the form in which the API tells it.
type WriteError struct {
	Status int
	adminapi.WriteError
}

// Error implements error.
func (e *WriteError) Error() string { return e.Message }

// RefuseWrite makes a refusal; c is the change that it is about, if it is about one.
func RefuseWrite(status int, code string, c *SiteChange, format string, args ...any) *WriteError {
	e := &WriteError{Status: status, WriteError: adminapi.WriteError{Message: fmt.Sprintf(format, args...), Code: code}}
	if c != nil {
		e.ID = c.ID
	}
	return e
}

// isAt tells where the row is now.
func (e *WriteError) isAt(head sites.Head, revision uint64, etag string) {
	head.Revision = revision
	e.Revision, e.ETag = RevisionOf(head), etag
}

// The codes of refusals.
const (
	CodeConflict     = "conflict"
	CodeConfigured   = "site-of-the-configuration"
	CodeOtherSource  = "site-of-another-source"
	CodeNotFound     = "not-found"
	codePrecondition = "precondition-failed"
	codeRequired     = "precondition-required"
	CodeInvalid      = "invalid"
	CodeUnavailable  = "unavailable"
	codeUnknown      = "unknown" // nobody knows whether the change is made
)

// The codes of refusals about certificates.
const (
	codeConfiguredCertificate  = "certificate-of-the-configuration"
	codeOtherSourceCertificate = "certificate-of-another-source"
	codeCertificateInUse       = "certificate-in-use"
)

// Unavailable turns the error of a table into what the API tells.
func Unavailable(err error) error {
	switch {
	case errors.Is(err, sites.ErrRepeat):
		return fmt.Errorf("%w (%w)", RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "the change cannot be kept: %v", err), sites.ErrRepeat)
	case errors.Is(err, sites.ErrUnknown):
		return RefuseWrite(http.StatusGatewayTimeout, codeUnknown, nil, "%v: make the request again", err)
	case errors.Is(err, sites.ErrReadOnly):
		return RefuseWrite(http.StatusMethodNotAllowed, CodeConfigured, nil, "%v", err)
	case errors.Is(err, sites.ErrRejected):
		return RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, nil, "%v", err)
	}
	return RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "the change cannot be kept: %v", err)
}

// RevisionOf names a revision of a source in answers.
func RevisionOf(head sites.Head) string {
	return head.Source + ":" + strconv.FormatUint(head.Revision, 10)
}
