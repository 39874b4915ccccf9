package iismanager

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// The sizes of these lists.
const (
	certificatesPerPage = 50
	endpointsPerPage    = 100
	maxUncovered        = 100 // hosts that their certificate does not cover
)

// codeNameMismatch is the finding about a host that its certificate does not cover.
const codeNameMismatch = "certificate-name-mismatch"

// certificateList is the list of server certificates.
type certificateList struct {
	adminapi.Page[adminapi.Certificate]
	Uncovered []adminapi.Finding // hosts that their certificate does not cover
	More      int                // of them
	Takers    []string           // the sources that take certificates
	Form      certificateForm
}

// certificates shows the certificates, as IIS's list of server certificates.
func (v *visit) certificates() error {
	form := certificateForm{}
	if form.Name = v.r.URL.Query().Get("replace"); form.Name != "" {
		var err error
		if form.ETag, err = v.etagOfCertificate(form.Name); err != nil {
			return err
		}
	}
	return v.showCertificates(form, nil)
}

// showCertificates shows them, with a form and the reason why it was not obeyed.
func (v *visit) showCertificates(form certificateForm, failure error) error {
	list := certificateList{Form: form}
	if err := v.get("certificates", pageOf(v.r.URL.Query().Get("after"), certificatesPerPage), &list.Page); err != nil {
		return errors.Join(failure, err)
	}
	var findings adminapi.Page[adminapi.Finding]
	if err := v.get("check", url.Values{"limit": {strconv.Itoa(adminapi.MaxLimit)}}, &findings); err != nil {
		return errors.Join(failure, err)
	}
	for _, f := range findings.Items {
		if f.Code == codeNameMismatch {
			list.Uncovered = append(list.Uncovered, f)
		}
	}
	list.More = max(0, len(list.Uncovered)-maxUncovered)
	list.Uncovered = list.Uncovered[:len(list.Uncovered)-list.More]
	sources, err := v.client.WritableSources(v.ctx())
	if err != nil {
		return errors.Join(failure, err)
	}
	for _, source := range sources {
		if source.TakesCertificates {
			list.Takers = append(list.Takers, source.Name)
		}
	}
	page := &view{Title: "Certificates", Section: "certificates", Data: list}
	status := http.StatusOK
	if failure != nil {
		status, page.Failure = statusFor(failure), messageOf(failure)
	}
	v.show(status, "certificates.html", page)
	return nil
}

// endpoints shows the addresses and ports.
func (v *visit) endpoints() error {
	var list adminapi.Page[adminapi.Endpoint]
	if err := v.get("endpoints", pageOf(v.r.URL.Query().Get("after"), endpointsPerPage), &list); err != nil {
		return err
	}
	v.show(http.StatusOK, "endpoints.html", &view{Title: "Endpoints", Section: "endpoints", Data: list})
	return nil
}

// explain tells what a client would get.
func (v *visit) explain() error {
	q := v.r.URL.Query()
	asked := adminapi.Question{Local: q.Get("local"), SNI: q.Get("sni"), Host: q.Get("host"), Scheme: q.Get("scheme")}
	shown := struct {
		Asked  adminapi.Question
		Answer *adminapi.Explanation
	}{Asked: asked}
	page := &view{Title: "Explain", Section: "explain"}
	status := http.StatusOK
	if asked != (adminapi.Question{}) {
		answer, err := v.client.Explain(v.ctx(), asked)
		if err != nil {
			status, page.Failure = statusOf(err), err.Error()
		} else {
			shown.Answer = &answer
		}
	}
	page.Data = shown
	v.show(status, "explain.html", page)
	return nil
}
