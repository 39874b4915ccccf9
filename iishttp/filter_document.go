package iishttp

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// filterVar has the Filter that a request has passed.
const filterVar = "iis.filter"

// filterDocument tests a default document with the filter that its folder has passed:
// IIS answers with it by a request of its own, which is filtered as well.
func filterDocument(r *http.Request, path string) error {
	f, ok := caddyhttp.GetVar(r.Context(), filterVar).(*Filter)
	if !ok || isErrorPage(r) {
		return nil
	}
	u := *r.URL
	u.Path, u.RawPath = path, ""
	var v urlView
	if err := v.read(r, &u); err != nil {
		return err
	}
	if err := f.testPath(r, &v); err != nil {
		return err
	}
	return f.testTexts(r, &v)
}
