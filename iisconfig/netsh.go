package iisconfig

import (
	"bufio"
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

var (
	// The label ends at the last colon with white space beside it, or at the last
	// full-width one: "IP:port : 0.0.0.0:443", "Name: MY", "名称：MY".
	reSeparator = regexp.MustCompile(`^(.*)(?:\s:|:\s|:$|：)\s*(.*)$`)
	reGUID      = regexp.MustCompile(`^\{[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}$`)
	reHash      = regexp.MustCompile(`^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
	reKey       = regexp.MustCompile(`^(?:\S+:)?\d{1,5}$`)
)

// netshLine is one line "label : value" of the output.
type netshLine struct {
	label, value string
	number       int
	indent       int
}

// netsh reads the output of "netsh http show sslcert". Labels are in the display
// language of Windows, so that records are told by their shape: a key, then a hash
// and an application id. The fields after that are known by their English label, or
// by their place, which has been the same since Windows Server 2008.
func (b *builder) netsh(name string, text []byte) {
	lines := b.netshLines(name, text)
	var starts []int
	for i := 0; i+2 < len(lines); i++ {
		if reKey.MatchString(lines[i].value) && (reHash.MatchString(lines[i+1].value) || isNull(lines[i+1].value)) &&
			reGUID.MatchString(lines[i+2].value) {
			starts = append(starts, i)
		}
	}
	next := 0
	for n, start := range starts {
		b.netshStray(name, lines[next:start])
		end := len(lines)
		if n+1 < len(starts) {
			end = starts[n+1]
		}
		b.netshRecord(name, lines[start:end])
		next = end
	}
	b.netshStray(name, lines[next:])
	if starts == nil {
		b.rep.info(CodeCertificate, Source{File: name}, "the output has no certificate record")
	}
}

func (b *builder) netshLines(name string, text []byte) []netshLine {
	var out []netshLine
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, b.opts.MaxToken)
	number := 0
	for sc.Scan() {
		number++
		raw := sc.Text()
		line := strings.TrimSpace(raw)
		if line == "" || strings.Trim(line, "-=") == "" {
			continue
		}
		m := reSeparator.FindStringSubmatch(line)
		if m == nil || strings.Contains(line, ">") && strings.Contains(strings.ToLower(line), "netsh") {
			continue // the heading, or the command itself
		}
		out = append(out, netshLine{
			label: strings.TrimSpace(m[1]), value: strings.TrimSpace(m[2]), number: number,
			indent: len(raw) - len(strings.TrimLeft(raw, " \t")),
		})
	}
	if sc.Err() != nil {
		b.rep.error(CodeMalformed, Source{File: name, Line: number + 1}, "", "a line of more than %d bytes; the rest is left out", b.opts.MaxToken)
	}
	return out
}

// netshStray reports lines outside of records. The heading has no value.
func (b *builder) netshStray(name string, lines []netshLine) {
	for _, l := range lines {
		if l.value != "" {
			b.rep.warn(CodeUnknown, Source{File: name, Line: l.number}, "", "the line %q belongs to no certificate record", shorten(l.label+": "+l.value))
		}
	}
}

func isNull(s string) bool { return s == "(null)" || s == "<null>" }

func notNull(s string) string {
	if isNull(s) {
		return ""
	}
	return s
}

func (b *builder) netshRecord(name string, lines []netshLine) {
	src := Source{File: name, Line: lines[0].number}
	rec := &CertificateRecord{
		Hash: strings.ToLower(notNull(lines[1].value)), ApplicationID: strings.ToLower(lines[2].value), Source: src,
	}
	if !rec.setKey(lines[0]) {
		b.rep.warn(CodeBadValue, src, "", "the key %q of a certificate record is not understood", shorten(lines[0].value))
		return
	}
	b.netshFields(name, rec, lines[3:])
	if rec.Kind == RecordCentralStore {
		b.centralStorePort(rec)
	} else if rec.Hash == "" && rec.Kind != RecordScopedCentralStore {
		b.rep.warn(CodeCertificate, src, "find out which certificate it had", "the record %s has no certificate", rec.Key)
	}
	b.server.Certificates = append(b.server.Certificates, rec)
}

// setKey reads the key. The label tells the kind where it is English; else the shape
// does: an address, a name, or a port alone for the central store, which the preview of
// Windows Server 2012 showed as "*:443".
func (r *CertificateRecord) setKey(l netshLine) bool {
	key, label := strings.ToLower(l.value), strings.ToLower(l.label)
	store := strings.HasPrefix(label, "central certificate store") || strings.HasPrefix(label, "ccs")
	host, port, found := cutLast(key)
	if !found {
		host, port = "", key
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return false
	}
	if host == "" || host == "*" {
		r.Kind, r.Key = RecordCentralStore, strconv.FormatUint(n, 10)
		return true
	}
	if addr, p, err := binding.ParseEndpoint(key); err == nil && !store {
		r.Kind, r.Key = RecordIPPort, ipKey(addr, p)
		return true
	}
	r.Kind, r.Key = RecordHostnamePort, key
	if store || strings.Contains(label, "scoped") {
		r.Kind = RecordScopedCentralStore
	}
	return true
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// ipKey is the key of an address and port as netsh prints it.
func ipKey(addr netip.Addr, port uint16) string {
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(addr, port).String()
}
