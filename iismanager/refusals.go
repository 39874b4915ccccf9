package iismanager

import (
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// The reasons why a request is refused with 403, as the log has them.
const (
	reasonUnknown   = "not authenticated"
	reasonHost      = "foreign host"
	reasonProxied   = "passed on by a proxy"
	reasonCrossSite = "cross-site"
	reasonReadOnly  = "read_only"
	reasonToken     = "wrong or used token" // of caddy iis manager
)

// refusalsPerMinute is how many lines a minute the log has about one reason. Who floods
// the page fills no disk, and does not hide what is refused for another reason.
const refusalsPerMinute = 20

// maxLoggedText bounds what the log has of each text that a client chooses, in bytes.
const maxLoggedText = 200

// refusals writes to the log what was refused.
type refusals struct {
	logger *zap.Logger

	mu   sync.Mutex
	seen map[string]*refused // by reason: there are some
}

// refused counts the refusals for one reason.
type refused struct {
	since   time.Time // the beginning of the minute
	written int       // in it
	leftOut int       // since the last line
}

// note writes the line about a request that was refused, unless there are enough of them.
// The next one tells how many were left out. It has neither query nor headers of the
// request: they may hold secrets.
func (l *refusals) note(r *http.Request, who visitor, reason string) {
	leftOut, ok := l.allow(reason, time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("reason", reason), zap.String("remote", r.RemoteAddr), zap.String("method", cut(r.Method)),
		zap.String("host", cut(r.Host)), zap.String("path", cut(r.URL.Path)),
	}
	if client, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		fields = append(fields, zap.String("client_ip", client))
	}
	if who.Name != "" {
		fields = append(fields, zap.String("user", who.Name), zap.String("known_by", who.How))
	}
	if leftOut > 0 {
		fields = append(fields, zap.Int("left_out", leftOut))
	}
	l.logger.Warn("the manager page has refused a request", fields...)
}

// allow reports whether a line may be written, and how many were left out before it.
func (l *refusals) allow(reason string, now time.Time) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.seen[reason]
	if of == nil {
		of = new(refused)
		if l.seen == nil {
			l.seen = make(map[string]*refused)
		}
		l.seen[reason] = of
	}
	if now.Sub(of.since) >= time.Minute {
		of.since, of.written = now, 0
	}
	if of.written == refusalsPerMinute {
		of.leftOut++
		return 0, false
	}
	of.written++
	leftOut, of.leftOut = of.leftOut, 0
	return leftOut, true
}

// cut bounds a text for the log.
func cut(text string) string { return text[:min(len(text), maxLoggedText)] }

// why tells why a claim is not admitted: what would have made it local, but for one thing,
// has that for its reason.
func (p policy) why(c claim) string {
	switch here := !p.authHeader && c.remote.IsLoopback() && c.local.IsLoopback(); {
	case here && (c.forwarded || c.trusted):
		return reasonProxied
	case here && !loopbackHost(c.host):
		return reasonHost
	}
	return reasonUnknown
}
