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
	var written Written
	body, err := json.Marshal(given)
	if err != nil {
		return written, err
	}
	match, none := "", "*"
	if replace {
		match, none = "*", ""
	}
	err = c.write(ctx, http.MethodPut, certificatePath(source, name), body, &written, "If-Match", match, "If-None-Match", none, "Idempotency-Key", rand.Text())
	switch {
	case !hasStatus(err, http.StatusPreconditionFailed):
		return written, err
	case replace:
		return written, fmt.Errorf("there is no certificate %s: add it", name)
	}
	return written, fmt.Errorf("there is a certificate %s already: replace it, or choose another name", name)
}

// DeleteCertificate removes a certificate from its source.
func (c *Client) DeleteCertificate(ctx context.Context, source, name string) error {
	return c.write(ctx, http.MethodDelete, certificatePath(source, name), nil, nil, "If-Match", "*", "Idempotency-Key", rand.Text())
}
