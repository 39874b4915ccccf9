package iismanager

import (
	"net/http"
	"net/url"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// The sizes of these lists.
const (
	certificatesPerPage = 50
	endpointsPerPage    = 100
)

// codeNameMismatch is the finding about a host that its certificate does not cover.
const codeNameMismatch = "certificate-name-mismatch"

// certificates shows the certificates, as IIS's list of server certificates.
func (v *visit) certificates() error {
	var list adminapi.Page[adminapi.Certificate]
	if err := v.get("certificates", pageOf(v.r.URL.Query().Get("after"), certificatesPerPage), &list); err != nil {
		return err
	}
	var findings adminapi.Page[adminapi.Finding]
	if err := v.get("check", url.Values{"limit": {"1000"}}, &findings); err != nil {
		return err
	}
	var uncovered []adminapi.Finding
	for _, f := range findings.Items {
		if f.Code == codeNameMismatch {
			uncovered = append(uncovered, f)
		}
	}
	v.show(http.StatusOK, "certificates.html", &view{Title: "Certificates", Section: "certificates", Data: struct {
		adminapi.Page[adminapi.Certificate]
		Uncovered []adminapi.Finding
		More      int
	}{list, uncovered[:min(len(uncovered), 100)], max(0, len(uncovered)-100)}})
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
