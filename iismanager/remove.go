package iismanager

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// removal is the page that asks whether a certificate is to be removed.
type removal struct {
	Certificate adminapi.Certificate
	Refused     string   // why it is not removed
	Sites       []uint32 // that use it, some of them
}

// askRemoval asks whether a certificate that a source keeps is to be removed, and tells
// what is in the way of it.
func (v *visit) askRemoval() error {
	found, err := v.keptCertificate(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	why := v.client.TryRemoveCertificate(v.ctx(), found.Name, found.ETag)
	if errors.Is(why, adminapi.ErrChanged) {
		why = nil // the answer to the form will tell
	}
	return v.showRemoval(http.StatusOK, found, why, "")
}

// showRemoval shows the question, with the reason why the answer is no.
func (v *visit) showRemoval(status int, found adminapi.Certificate, why error, failure string) error {
	asked := removal{Certificate: found}
	if said, ok := errors.AsType[*adminapi.Error](why); ok {
		asked.Sites = said.Refused.Sites
	}
	if why != nil {
		asked.Refused = messageOf(why)
	}
	v.show(status, "remove.html", &view{Title: "Remove the certificate " + found.Name, Section: "certificates", Failure: failure, Data: asked})
	return nil
}

// removeCertificate removes a certificate from its source, as caddy iis certificates
// remove does.
func (v *visit) removeCertificate() error {
	found, err := v.keptCertificate(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	etag := v.r.PostFormValue("etag")
	if etag == "" {
		return &pageError{http.StatusBadRequest, "The form does not say which certificate it is about."}
	}
	err = v.change("remove certificate", []zap.Field{zap.String("certificate", found.Name), zap.String("source", found.KeptIn)}, func(ctx context.Context) error {
		return v.client.RemoveCertificate(ctx, found.Name, etag)
	})
	switch {
	case errors.Is(err, errReplaced):
		return v.goTo("certificates", "taken")
	case errors.Is(err, adminapi.ErrChanged):
		if found, err = v.keptCertificate(found.Name); err != nil {
			return err
		}
		return v.showRemoval(http.StatusConflict, found, nil, "Somebody else has changed this certificate since you have opened it, and it was not removed. "+
			"What you see is what there is now.")
	case err != nil:
		return v.showRemoval(statusOf(err), found, err, "")
	}
	return v.goTo("certificates", "gone")
}
