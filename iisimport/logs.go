package iisimport

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iislog"
)

// logFields are the words of logExtFileFlags, in lower case, with their fields.
var logFields = map[string]string{
	"date": "date", "time": "time", "sitename": "s-sitename", "computername": "s-computername", "serverip": "s-ip", "method": "cs-method",
	"uristem": "cs-uri-stem", "uriquery": "cs-uri-query", "serverport": "s-port", "username": "cs-username", "clientip": "c-ip",
	"protocolversion": "cs-version", "useragent": "cs(User-Agent)", "cookie": "cs(Cookie)", "referer": "cs(Referer)", "host": "cs-host",
	"httpstatus": "sc-status", "httpsubstatus": "sc-substatus", "win32status": "sc-win32-status", "bytessent": "sc-bytes",
	"bytesrecv": "cs-bytes", "timetaken": "time-taken",
}

// logs translates how sites are logged. What most of them have stands in iis, and the
// others say what they have.
func (b *builder) logs() {
	own := make(map[*Site]*Directive)
	counts := make(map[string]int)
	var most *Directive
	for _, s := range b.plan.Sites {
		d := b.log(s)
		if d == nil {
			continue
		}
		own[s] = d
		if d.Words[1] == "off" {
			continue
		}
		text := plainText([]*Directive{d})
		if counts[text]++; most == nil || counts[text] > counts[plainText([]*Directive{most})] {
			most = d
		}
	}
	if most == nil {
		return
	}
	b.plan.logs = most
	for _, s := range b.plan.Sites {
		d := own[s]
		if d == nil || plainText([]*Directive{d}) == plainText([]*Directive{most}) {
			continue
		}
		if plainText(d.Block) == plainText(most.Block) {
			d = directive(d.Words...) // the rest is what stands in iis
		}
		s.access = append(s.access, d)
	}
}

// log translates the log of a site, nil if nothing tells of one. It says all that the
// log has.
func (b *builder) log(s *Site) *Directive {
	l := s.source.LogFile
	if l == nil {
		return nil
	}
	rep, what := b.plan.Report, "logFile"
	off := directive("w3c_log", "off")
	switch {
	case !l.Enabled:
		rep.translated(l.Source, what, "no log: w3c_log off, if others have one")
		return off
	case l.Format != "" && !strings.EqualFold(l.Format, "W3C"):
		rep.decide(l.Source, what+" "+l.Format, "write w3c_log, or log and Caddy's global option log",
			"only the W3C format is written: the site has no log")
		return off
	}
	l.Directory = logDirectory(l)
	folder := b.plan.opts.folder(l.Directory)
	if !expressible(literal(folder)) {
		rep.decide(l.Source, what, "write w3c_log with another folder", "the site has no log: the folder %s has no form in a Caddyfile", folder)
		return off
	}
	w := &siteWriter{b: b, site: s}
	fields := b.logFields(l)
	kids := []*Directive{directive(append([]string{"fields"}, fields...)...)}
	kids = append(kids, b.customLogFields(l, fields)...)
	period := b.logPeriod(l)
	kids = append(kids, directive("period", period.String()))
	if period == iislog.None && l.TruncateSize > 0 {
		kids = append(kids, directive("max_size", strconv.FormatInt(l.TruncateSize, 10)))
	}
	if l.LocalTime {
		kids = append(kids, directive("local_time"))
	}
	word := w.folderWord(l.Directory, l.Source)
	if word == off.Words[1] {
		word = "./" + word
	}
	d := block(kids, "w3c_log", word)
	b.plan.Report.writes(folder)
	rep.translated(l.Source, what, "w3c_log %s", d.Words[1])
	return d
}

// logDirectory is the folder of a log, or the default of IIS.
func logDirectory(l *iisconfig.LogFile) string {
	return cmp.Or(l.Directory, `%SystemDrive%\inetpub\logs\LogFiles`)
}

// logPeriod returns when a new file begins.
func (b *builder) logPeriod(l *iisconfig.LogFile) iislog.Period {
	if strings.EqualFold(l.Period, "MaxSize") {
		return iislog.None
	}
	period, err := iislog.ParsePeriod(strings.ToLower(l.Period))
	if err != nil || period == iislog.None {
		b.plan.Report.decide(l.Source, "logFile period "+l.Period, "", "no such period is known: a file is for a day")
		return iislog.Daily
	}
	return period
}

// logFields returns the fields of a log, in the order of IIS.
func (b *builder) logFields(l *iisconfig.LogFile) []string {
	if l.Flags == "" {
		return iislog.DefaultFields()
	}
	chosen := make(map[string]bool)
	for word := range strings.SplitSeq(l.Flags, ",") {
		word = strings.TrimSpace(word)
		name := logFields[strings.ToLower(word)]
		if name == "" {
			b.plan.Report.decide(l.Source, "logExtFileFlags "+word, "", "no such field is known")
		}
		chosen[name] = true
	}
	var list []string
	for _, name := range iislog.FieldNames() {
		if chosen[name] {
			list = append(list, name)
		}
	}
	if list == nil {
		return iislog.DefaultFields()
	}
	return list
}

// customLogFields translates those fields that are headers and have a name of their own.
func (b *builder) customLogFields(l *iisconfig.LogFile, fields []string) (list []*Directive) {
	seen := make(map[string]bool)
	for _, f := range l.CustomFields {
		source := map[string]string{"requestheader": iislog.RequestHeader, "responseheader": iislog.ResponseHeader}[strings.ToLower(f.SourceType)]
		name := strings.ReplaceAll(f.Name, " ", "_")
		_, err := iislog.NewFormat(fields, []iislog.CustomField{{Name: name, Source: source, Header: f.SourceName}})
		if err != nil || seen[name] || !expressible(name) || !expressible(f.SourceName) {
			b.plan.Report.decide(l.Source, "custom field "+f.Name, "",
				"left out: a log has headers of requests and of responses, each under a name of its own in ASCII, not %s %s", f.SourceType, f.SourceName)
			continue
		}
		seen[name] = true
		list = append(list, directive("field", name, source, f.SourceName))
	}
	return list
}
