package serve

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// Why a handshake is refused, as the label of a metric and in the log.
const (
	refusedNoRecord      = "no_record"      // no row of table D1 has a record
	refusedNameMissing   = "name_missing"   // sni_missing is reject
	refusedNameUnmatched = "name_unmatched" // sni_unmatched is reject
	refusedRejected      = "rejected"       // the record has the word reject
	refusedNoCertificate = "no_certificate" // it is not there yet, or the store has none
	refusedNoQUIC        = "no_quic"        // the record has no HTTP/3
)

var refusedReasons = map[binding.Reason]string{
	binding.ReasonNone:          refusedNoCertificate,
	binding.ReasonNoRecord:      refusedNoRecord,
	binding.ReasonNameMissing:   refusedNameMissing,
	binding.ReasonNameUnmatched: refusedNameUnmatched,
	binding.ReasonRejected:      refusedRejected,
}

// endpointOf names the endpoint that a client came to: the record of its address,
// as netsh has it, else that of all addresses of the port.
func (sn *Snapshot) endpointOf(local netip.AddrPort) string {
	if rec := sn.Tables.AddressRecord(local); rec != nil {
		return rec.Key()
	}
	return anyAddress(local.Port())
}

func anyAddress(port uint16) string {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()
}

// refused counts and logs a handshake that is refused.
func (sn *Snapshot) refused(hello *tls.ClientHelloInfo, conn *front.Conn, match binding.CertificateMatch, reason string) {
	sn.countHandshake(conn.Local.Port(), match, hello.ServerName, resultRefused)
	endpoint := sn.endpointOf(conn.Local)
	if port := conn.Local.Port(); sn.ports[port] != nil {
		counters.refused.WithLabelValues(strconv.Itoa(int(port)), endpoint, reason).Inc()
	}
	if c := sn.logger.Check(zap.DebugLevel, "handshake refused"); c != nil {
		c.Write(
			zap.Stringer("local", conn.Local),
			zap.String("server_name", Printable(hello.ServerName)),
			zap.Stringer("remote", hello.Conn.RemoteAddr()),
			zap.Stringer("rule", match.Rule),
			zap.String("reason", reason))
	}
	sn.sniLog.log(hello, conn, endpoint, "refused", reason)
}

// fellBack counts and logs a handshake that the record of an address serves to a
// client whose server name is missing or nobody's: one whom sni_missing reject
// or sni_unmatched reject would lock out.
func (sn *Snapshot) fellBack(hello *tls.ClientHelloInfo, conn *front.Conn, match binding.CertificateMatch, live *Record) {
	if match.Known || live.Kind != binding.RecordIPPort {
		return
	}
	kind, reason := nameUnmatched, refusedNameUnmatched
	if hello.ServerName == "" {
		kind, reason = nameMissing, refusedNameMissing
	}
	if port := conn.Local.Port(); sn.ports[port] != nil && !live.fallbacks[kind].count() {
		live.fallbacks[kind].inc(counters.fallbacks, strconv.Itoa(int(port)), live.Key(), nameLabels[kind])
	}
	if sn.sniLog != nil {
		sn.sniLog.log(hello, conn, live.Key(), "served", reason)
	}
}

// sniLog writes lines about clients whose server name is missing or nobody's,
// and about those who are refused. Anybody can cause them, so only a sample is
// written; each line tells how many were left out before it.
type sniLog struct {
	logger  *zap.Logger // nil: off
	samples map[string]*sample
}

// A sample has 10 lines at once and then one each second, for each reason:
// scanners that send names of all kinds must not hide clients without any.
const (
	sampleBurst = 10
	sampleEvery = time.Second
)

type sample struct {
	limit   *rate.Limiter
	leftOut atomic.Int64
}

func newSNILog(logger *zap.Logger) *sniLog {
	l := &sniLog{logger: logger, samples: make(map[string]*sample)}
	for _, reason := range []string{
		refusedNoRecord, refusedNameMissing, refusedNameUnmatched, refusedRejected, refusedNoCertificate, refusedNoQUIC,
	} {
		l.samples[reason] = &sample{limit: rate.NewLimiter(rate.Every(sampleEvery), sampleBurst)}
	}
	return l
}

func (l *sniLog) log(hello *tls.ClientHelloInfo, conn *front.Conn, endpoint, result, reason string) {
	if l == nil {
		return
	}
	s, known := l.samples[reason]
	if !known {
		return
	}
	if !s.limit.Allow() {
		s.leftOut.Add(1)
		return
	}
	remote := hello.Conn.RemoteAddr().String()
	if ip, _, err := net.SplitHostPort(remote); err == nil {
		remote = ip
	}
	l.logger.Info("server name",
		zap.String("endpoint", endpoint),
		zap.String("local_ip", conn.Local.Addr().String()),
		zap.String("remote_ip", remote),
		zap.String("server_name", Printable(hello.ServerName)),
		zap.Bool("quic", conn.QUIC),
		zap.String("result", result),
		zap.String("reason", reason),
		zap.Int64("left_out", s.leftOut.Swap(0)))
}

// maxPrintable is how much of a name that a client sends is written to a log.
const maxPrintable = 253

// Printable is a name that a client sent, for a log: of bounded length and in
// printable ASCII, with escapes for everything else.
func Printable(name string) string {
	tail := ""
	if len(name) > maxPrintable {
		name, tail = name[:maxPrintable], "..."
	}
	quoted := strconv.QuoteToASCII(name)
	return quoted[1:len(quoted)-1] + tail
}
