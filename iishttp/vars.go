package iishttp

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// SubStatusVar is the variable of a request that holds the status with IIS's
// sub-status, such as 404.8, once a handler here has refused the request. Error routes
// read it as {http.vars.iis_sub_status}; access logs have a field of this name.
const SubStatusVar = "iis_sub_status"

// ScriptVar is the variable of a request that iis_content_types has passed on, for the matcher
// of what answers it: vars iis_script true, if its path is one of scripts, or vars iis_script
// <name>, if an entry of handler has it.
const ScriptVar = "iis_script"

// proxyTargetVar is the variable of a request that holds where a rule of
// iis_rewrite has sent it: an absolute URL on another server. The request's own
// URL stays what it was before, so that what guards a local path still does.
const proxyTargetVar = "iis_proxy_target"

// originalURLVar is the variable of a request that holds path and query before the first
// rewrite by iis_rewrite: the value of X-Original-URL.
const originalURLVar = "iis_original_url"

// clientHostVar is the variable of a request that holds the Host of the client, once a
// rule of iis_rewrite has set another.
const clientHostVar = "iis_client_host"

// SetSubStatus tells error routes and access logs the sub-status of an answer.
func SetSubStatus(r *http.Request, status, sub int) (code string) {
	code = fmt.Sprintf("%d.%d", status, sub)
	caddyhttp.SetVar(r.Context(), SubStatusVar, code)
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.String(SubStatusVar, code))
	}
	return code
}

// refuse ends a request with a status and IIS's sub-status. The reason is for
// the log. It must hold no value of a header; texts of the client are quoted
// and shortened by quote.
func refuse(r *http.Request, status, sub int, why string) error {
	code := SetSubStatus(r, status, sub)
	return caddyhttp.Error(status, fmt.Errorf("%s: %s", code, why))
}

// maxQuoted bounds what a reason tells of a client's text, in bytes.
const maxQuoted = 200

// quote makes a text of a client fit for a reason.
func quote(text string) string {
	if len(text) > maxQuoted {
		return fmt.Sprintf("%q...", text[:maxQuoted])
	}
	return fmt.Sprintf("%q", text)
}

// SubStatus returns the sub-status that the value of SubStatusVar has for a
// response; 0 if it is about another status, since something else has answered.
func SubStatus(code string, status int) int {
	of, sub, _ := strings.Cut(code, ".")
	if of != strconv.Itoa(status) {
		return 0
	}
	n, err := strconv.Atoi(sub)
	if err != nil {
		return 0
	}
	return n
}
