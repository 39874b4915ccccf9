package iismanager

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// functions are those that templates call.
var functions = template.FuncMap{
	"left":  func(t time.Time) string { return left(time.Until(t)) },
	"ended": func(t time.Time) bool { return !time.Now().Before(t) },
	"soon":  func(t time.Time) bool { return time.Until(t) < soonEnds },
	"date":  func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"join":  func(list []string) string { return strings.Join(list, ", ") },
	"parts": partsOf,
	"first": func(n int, list []string) []string { return list[:min(n, len(list))] },
	"rest":  func(n int, list []string) int { return max(0, len(list)-n) },
	"link":  linkOf,
	"sni":   func(flags uint16) bool { return binding.Flags(flags)&binding.FlagSNI != 0 },
	"dict": func(pairs ...any) map[string]any {
		m := make(map[string]any)
		for i := 0; i+1 < len(pairs); i += 2 {
			m[fmt.Sprint(pairs[i])] = pairs[i+1]
		}
		return m
	},
}

// soonEnds is from when on the end of a certificate is marked. Whether it is remarkable
// is a finding.
const soonEnds = 30 * 24 * time.Hour

// left tells how long something still lasts.
func left(d time.Duration) string {
	switch days := int(d.Hours() / 24); {
	case d <= 0:
		return "ended"
	case d < time.Hour:
		return "less than an hour"
	case days == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case days == 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", days)
	}
}

// address is what a binding consists of, as IIS's dialog shows it.
type address struct {
	IP, Port, Host string
}

// partsOf takes IP:port:host apart.
func partsOf(info string) address {
	rest := info
	var a address
	if strings.HasPrefix(rest, "[") {
		end := strings.Index(rest, "]")
		if end < 0 {
			return address{Host: info}
		}
		a.IP, rest = rest[:end+1], strings.TrimPrefix(rest[end+1:], ":")
	} else {
		a.IP, rest, _ = strings.Cut(rest, ":")
	}
	a.Port, a.Host, _ = strings.Cut(rest, ":")
	if a.IP == "" {
		a.IP = "*"
	}
	return a
}

// linkOf is where a browser finds a binding, empty if nobody knows a name for it.
func linkOf(b adminapi.Binding) string {
	a := partsOf(b.Binding)
	host := a.Host
	if strings.HasPrefix(host, "*") {
		return ""
	}
	if host == "" {
		if host = a.IP; host == "*" {
			return ""
		}
	}
	if a.Port == map[string]string{"http": "80", "https": "443"}[b.Protocol] {
		return b.Protocol + "://" + host + "/"
	}
	return b.Protocol + "://" + host + ":" + a.Port + "/"
}
