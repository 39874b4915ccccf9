package iismanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/sites"
)

// certificateForm is the certificate that somebody gives to a source, as far as it is
// shown again: neither key nor password.
type certificateForm struct {
	Name   string
	Source string
	ETag   string // of the certificate that it replaces, as he has seen it; empty: a new one
}

// keptCertificate is a certificate that a source keeps.
func (v *visit) keptCertificate(name string) (adminapi.Certificate, error) {
	if err := sites.CheckCertificateName(name); err != nil {
		return adminapi.Certificate{}, &pageError{http.StatusNotFound, err.Error()}
	}
	found, err := v.client.Certificate(v.ctx(), name)
	if err == nil && found.ETag == "" {
		err = &pageError{http.StatusConflict, fmt.Sprintf("The certificate %s is kept by no source of sites: change it where the configuration has it from.", name)}
	}
	return found, err
}

// etagOfCertificate is the entity tag of a certificate that a source keeps.
func (v *visit) etagOfCertificate(name string) (string, error) {
	found, err := v.keptCertificate(name)
	return found.ETag, err
}

// putCertificate gives a certificate to a source, as caddy iis certificates add and
// replace do.
func (v *visit) putCertificate() error {
	// All of it stays in memory: there is a private key in it.
	if err := v.r.ParseMultipartForm(maxUpload); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return &pageError{http.StatusRequestEntityTooLarge, fmt.Sprintf("The files are too large: %d bytes are allowed.", maxUpload)}
		}
		return &pageError{http.StatusBadRequest, "The form cannot be read: it is one with files (multipart/form-data)."}
	}
	form := certificateForm{Name: strings.TrimSpace(v.r.PostFormValue("name")), Source: v.r.PostFormValue("source"), ETag: v.r.PostFormValue("etag")}
	given, err := v.givenCertificate()
	if err == nil {
		err = sites.CheckCertificateName(form.Name) // it becomes part of a path
	}
	if err != nil {
		return v.showCertificates(form, err)
	}
	what := "add certificate"
	if form.ETag != "" {
		what = "replace certificate"
	}
	err = v.change(what, []zap.Field{zap.String("certificate", form.Name), zap.String("source", form.Source)}, func(ctx context.Context) error {
		if form.ETag != "" {
			return v.client.ReplaceCertificate(ctx, form.Name, form.ETag, given)
		}
		_, err := v.client.PutCertificate(ctx, form.Source, form.Name, given, false)
		return err
	})
	switch {
	case errors.Is(err, errReplaced):
		return v.goTo("certificates", "taken")
	case errors.Is(err, adminapi.ErrChanged):
		if form.ETag, err = v.etagOfCertificate(form.Name); err != nil {
			return err
		}
		return v.showCertificates(form, &pageError{http.StatusConflict, "Somebody else has changed this certificate since you have opened it, and yours was not kept. " +
			"The list shows what there is now; send it once more if it still fits."})
	case err != nil:
		return v.showCertificates(form, err)
	}
	return v.goTo("certificates", "kept")
}

// givenCertificate reads the files of a form.
func (v *visit) givenCertificate() (adminapi.NewCertificate, error) {
	var files []cli.CertificateFile
	for _, header := range v.r.MultipartForm.File["files"] {
		file, err := header.Open()
		if err != nil {
			return adminapi.NewCertificate{}, err
		}
		content, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return adminapi.NewCertificate{}, err
		}
		if header.Filename == "" && len(content) == 0 {
			continue // no file was chosen
		}
		files = append(files, cli.CertificateFile{Name: header.Filename, Content: content})
	}
	if len(files) == 0 {
		return adminapi.NewCertificate{}, &pageError{http.StatusUnprocessableEntity, "Choose the files: certificate, chain and key as PEM, or one PFX file."}
	}
	return cli.CertificateOf(files, v.r.PostFormValue("password"))
}
