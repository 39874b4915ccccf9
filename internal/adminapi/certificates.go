package adminapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

func certificatePath(source, name string) string {
	path := Base + "certificates/" + url.PathEscape(name)
	if source != "" {
		path += "?source=" + url.QueryEscape(source)
	}
	return path
}

// PutCertificate gives a certificate to a source: a new one, or in place of one that is
// there.
func (c *Client) PutCertificate(ctx context.Context, source, name string, given NewCertificate, replace bool) (Written, error) {
	match := ""
	if replace {
		match = "*"
	}
	written, err := c.putCertificate(ctx, source, name, given, match)
	switch {
	case !hasStatus(err, http.StatusPreconditionFailed):
		return written, err
	case replace:
		return written, fmt.Errorf("there is no certificate %s: add it", name)
	}
	return written, fmt.Errorf("there is a certificate %s already: replace it, or choose another name", name)
}

// ReplaceCertificate puts a certificate in place of one that somebody has seen with this
// entity tag: if it is another one now, the error is ErrChanged and nothing is changed.
func (c *Client) ReplaceCertificate(ctx context.Context, name, etag string, given NewCertificate) error {
	_, err := c.putCertificate(ctx, "", name, given, etag)
	if hasStatus(err, http.StatusPreconditionFailed) {
		return ErrChanged
	}
	return err
}

// putCertificate puts a certificate if one that matches is there; if none is, with an
// empty match.
func (c *Client) putCertificate(ctx context.Context, source, name string, given NewCertificate, match string) (written Written, err error) {
	body, err := json.Marshal(given)
	if err != nil {
		return written, err
	}
	none := ""
	if match == "" {
		none = "*"
	}
	err = c.write(ctx, http.MethodPut, certificatePath(source, name), body, &written, "If-Match", match, "If-None-Match", none, "Idempotency-Key", rand.Text())
	return written, err
}

// Certificate returns one certificate.
func (c *Client) Certificate(ctx context.Context, name string) (Certificate, error) {
	var found Certificate
	return found, c.GetJSON(ctx, certificatePath("", name), nil, &found)
}

// DeleteCertificate removes a certificate from its source.
func (c *Client) DeleteCertificate(ctx context.Context, source, name string) error {
	return c.deleteCertificate(ctx, certificatePath(source, name), "*")
}

// RemoveCertificate removes a certificate that somebody has seen with this entity tag: if
// it is another one now, the error is ErrChanged and nothing is changed.
func (c *Client) RemoveCertificate(ctx context.Context, name, etag string) error {
	return c.deleteCertificate(ctx, certificatePath("", name), etag)
}

// TryRemoveCertificate returns the error that RemoveCertificate would have, and changes
// nothing.
func (c *Client) TryRemoveCertificate(ctx context.Context, name, etag string) error {
	return c.deleteCertificate(ctx, certificatePath("", name)+"?dry_run=1", etag)
}

// deleteCertificate removes a certificate if the one that is there matches.
func (c *Client) deleteCertificate(ctx context.Context, path, match string) error {
	err := c.write(ctx, http.MethodDelete, path, nil, nil, "If-Match", match, "Idempotency-Key", rand.Text())
	if match != "*" && hasStatus(err, http.StatusPreconditionFailed) {
		return ErrChanged
	}
	return err
}
