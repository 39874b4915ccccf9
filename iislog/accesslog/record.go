package accesslog

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-iis/caddy-iis/iishttp"
	"github.com/caddy-iis/caddy-iis/iislog"
)

// isAccess reports whether a logger is that of access logs: of Caddy's HTTP app, or of the
// sites of the app iis.
func isAccess(logger string) bool {
	for _, name := range []string{"http.log.access", "iis.log.access"} {
		if rest, ok := strings.CutPrefix(logger, name); ok && (rest == "" || rest[0] == '.') {
			return true
		}
	}
	return false
}

// record reads the fields of an access log.
func (e *Encoder) record(entry zapcore.Entry) *iislog.Record {
	all := e.MapObjectEncoder.Fields
	request, _ := all["request"].(map[string]any)
	r := &iislog.Record{
		Time: entry.Time, Computer: e.computer, User: text(all["user_id"]),
		Method: text(request["method"]), Client: text(request["client_ip"]), Version: text(request["proto"]), Host: text(request["host"]),
		Status: number(all["status"]), Sent: int64(number(all["size"])), Received: int64(number(all["bytes_read"])),
	}
	r.Stem, r.Query = target(text(request["uri"]))
	if r.Client == "" {
		r.Client = text(request["remote_ip"])
	}
	if r.Status == 0 && entry.Message == "NOP" {
		r.Status = http.StatusOK // what net/http makes of no answer at all
	}
	r.Taken, _ = all["duration"].(time.Duration)
	if all["write_error"] != nil {
		r.Win32 = iislog.Win32NameDeleted
	}
	sent, _ := request["headers"].(map[string]any)
	for _, name := range e.format.RequestHeaders() {
		if name == "Host" {
			r.Request = append(r.Request, r.Host) // net/http takes it out
			continue
		}
		r.Request = append(r.Request, text(sent[name]))
	}
	answered, _ := all["resp_headers"].(map[string]any)
	for _, name := range e.format.ResponseHeaders() {
		r.Response = append(r.Response, text(answered[name]))
	}
	r.SubStatus = iishttp.SubStatus(text(all[iishttp.SubStatusVar]), r.Status)
	if site, ok := all["site"].(uint32); ok { // of the app iis
		r.Site = site
	}
	appended(all, r)
	return r
}

// appended takes what log_append has added of what an access log does not have.
func appended(all map[string]any, r *iislog.Record) {
	if v, ok := all["s-sitename"]; ok {
		id, _ := strconv.ParseUint(strings.TrimPrefix(text(v), "W3SVC"), 10, 32)
		r.Site = uint32(id)
	}
	if v, ok := all["s-computername"]; ok {
		r.Computer = text(v)
	}
	address, _ := netip.ParseAddr(text(all["s-ip"]))
	r.Server = netip.AddrPortFrom(address.WithZone(""), uint16(min(max(0, number(all["s-port"])), 1<<16-1)))
	if v, ok := all["sc-substatus"]; ok {
		r.SubStatus = number(v)
	}
	if v, ok := all["sc-win32-status"]; ok {
		r.Win32 = number(v)
	}
}

// target splits what a client has asked for. What is no URL is a path.
func target(uri string) (stem, query string) {
	if u, err := url.ParseRequestURI(uri); err == nil {
		return u.Path, u.RawQuery
	}
	stem, query, _ = strings.Cut(uri, "?")
	return stem, query
}

// text is a value of the log as a text; values of a header are joined.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = text(v[i])
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}

// number is a value of the log as a number, 0 if it is none.
func number(v any) int {
	switch v := v.(type) {
	case int:
		return v
	case int64:
		return int(v)
	}
	n, err := strconv.Atoi(text(v))
	if err != nil {
		return 0
	}
	return n
}
