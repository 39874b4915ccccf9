package iislog_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // not every machine has zones

	"github.com/caddy-iis/caddy-iis/iislog"
)

var example = iislog.Record{
	Time: time.Date(2026, 3, 9, 23, 59, 8, 0, time.FixedZone("", -3600)), Site: 1, Computer: "WEB01",
	Server: netip.MustParseAddrPort("10.0.0.5:443"), Method: "GET", Stem: "/a b/ä.aspx", Query: "id=1&x=%20", Client: "192.0.2.7",
	Version: "HTTP/1.1", Host: "www.example.com", Request: []string{"Mozilla/5.0 (Windows NT 10.0)", ""},
	Status: 404, SubStatus: 8, Sent: 1245, Received: 300, Taken: 15*time.Millisecond + 900*time.Microsecond,
}

// TestDefault: the file of a site without settings is that of IIS 10.
func TestDefault(t *testing.T) {
	f, err := iislog.NewFormat(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := string(f.AppendLine(f.AppendHeader(nil, example.Time), &example))
	want := "#Software: caddy-iis\r\n#Version: 1.0\r\n#Date: 2026-03-10 00:59:08\r\n" +
		"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\r\n" +
		"2026-03-10 00:59:08 10.0.0.5 GET /a+b/ä.aspx id=1&x=%20 443 - 192.0.2.7 Mozilla/5.0+(Windows+NT+10.0) - 404 8 0 15\r\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if f.Custom() || f.CountsReceived() || f.CountsSent() {
		t.Error("the fields of IIS are none of these")
	}
}

func TestCustomFields(t *testing.T) {
	f, err := iislog.NewFormat([]string{"cs-bytes", "s-computername"}, []iislog.CustomField{
		{Name: "Original-IP", Source: iislog.RequestHeader, Header: "x-forwarded-for"},
		{Name: "Type", Source: iislog.ResponseHeader, Header: "content-type"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.FieldsLine(); got != "#Fields: cs-bytes s-computername Original-IP Type" {
		t.Errorf("got %q", got)
	}
	if !f.Custom() || !f.CountsReceived() || f.CountsSent() || f.RequestHeaders()[0] != "X-Forwarded-For" || f.ResponseHeaders()[0] != "Content-Type" {
		t.Errorf("got %+v", f)
	}
	got := string(f.AppendLine(nil, &iislog.Record{Received: 7, Computer: "A", Request: []string{"192.0.2.1, 10.0.0.1"}, Response: []string{"text/html"}}))
	if got != "7 A 192.0.2.1,+10.0.0.1 text/html\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestBadFields(t *testing.T) {
	for _, c := range []struct {
		fields []string
		custom []iislog.CustomField
		want   string
	}{
		{[]string{}, nil, "there are no fields"},
		{[]string{"dates"}, nil, `unknown field "dates": expected one of date, time,`},
		{[]string{"Date"}, nil, "unknown field"},
		{[]string{"cs()"}, nil, `"" is no name of a header`},
		{[]string{"cs(a b)"}, nil, "is no name of a header"},
		{[]string{"rs(Date)"}, nil, "unknown field"},
		{[]string{"cs(Date"}, nil, "unknown field"},
		{[]string{"date", "date"}, nil, "twice"},
		{nil, []iislog.CustomField{{Name: "a b", Source: iislog.RequestHeader, Header: "A"}}, "without blanks"},
		{nil, []iislog.CustomField{{Name: "", Source: iislog.RequestHeader, Header: "A"}}, "without blanks"},
		{nil, []iislog.CustomField{{Name: "a\r\n#", Source: iislog.RequestHeader, Header: "A"}}, "without blanks"},
		{nil, []iislog.CustomField{{Name: "A", Source: "ServerVariable", Header: "A"}}, "unknown source"},
		{nil, []iislog.CustomField{{Name: "date", Source: iislog.RequestHeader, Header: "A"}}, "twice"},
	} {
		if _, err := iislog.NewFormat(c.fields, c.custom); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %v: got %v, want %q", c.fields, c.custom, err, c.want)
		}
	}
}

func TestFileNames(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 30, 5, 7, time.UTC) }
	for _, c := range []struct {
		period string
		at     time.Time
		custom bool
		want   string
	}{
		{"", at(27, 6), false, "u_ex261127.log"},
		{"daily", at(27, 6), true, "u_ex261127_x.log"},
		{"hourly", at(27, 6), false, "u_ex26112706.log"},
		{"weekly", at(1, 0), false, "u_ex261101.log"}, // a Sunday
		{"weekly", at(7, 23), false, "u_ex261101.log"},
		{"weekly", at(8, 0), false, "u_ex261102.log"},
		{"weekly", at(30, 0), false, "u_ex261105.log"},
		{"weekly", time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC), false, "u_ex260806.log"}, // August begins with a Saturday
		{"monthly", at(27, 6), false, "u_ex2611.log"},
		{"none", at(27, 6), false, "u_extend1.log"},
		{"none", at(27, 6), true, "u_extend1_x.log"},
	} {
		p, err := iislog.ParsePeriod(c.period)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.FileName(c.at, 0, c.custom); got != c.want {
			t.Errorf("%s at %v: got %s, want %s", p, c.at, got, c.want)
		}
	}
	if _, err := iislog.ParsePeriod("yearly"); err == nil || !strings.Contains(err.Error(), "daily, hourly, weekly, monthly, none") {
		t.Errorf("got %v", err)
	}
	if got := iislog.Folder(4294967295); got != "W3SVC4294967295" {
		t.Errorf("got %s", got)
	}
}

// TestSpan: within the span of a time the name of the file is the same, and it
// is another one just before and just behind it.
func TestSpan(t *testing.T) {
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 5*3600+45*60), time.FixedZone("", -9*3600-30*60)} {
		for _, word := range iislog.PeriodWords()[:4] {
			p, _ := iislog.ParsePeriod(word)
			for at := time.Date(2026, 1, 1, 0, 0, 0, 1, zone); at.Year() < 2028; at = at.Add(7*time.Hour + 13*time.Minute) {
				name := p.FileName(at, 0, false)
				from, to := p.Span(at)
				if at.Before(from) || !at.Before(to) {
					t.Fatalf("%s, %v: it is not within %v to %v", p, at, from, to)
				}
				if p.FileName(from, 0, false) != name || p.FileName(to.Add(-1), 0, false) != name {
					t.Fatalf("%s, %v: %v to %v is not all in %s", p, at, from, to, name)
				}
				if p.FileName(from.Add(-1), 0, false) == name || p.FileName(to, 0, false) == name {
					t.Fatalf("%s, %v: %v to %v is not all of %s", p, at, from, to, name)
				}
			}
		}
	}
	if from, to := iislog.None.Span(example.Time); !from.IsZero() || !to.IsZero() {
		t.Error("without a period there is no span")
	}
}

// TestSpanClockChanges: a day begins and ends where the date does, also where
// clocks are changed at midnight, so that there is none, or two of them.
func TestSpanClockChanges(t *testing.T) {
	for _, c := range []struct {
		zone string
		near time.Time // of the change
	}{
		{"Africa/Cairo", time.Date(2026, 4, 23, 22, 0, 0, 0, time.UTC)},       // from 0:00 to 1:00
		{"Africa/Cairo", time.Date(2026, 10, 29, 21, 0, 0, 0, time.UTC)},      // from 24:00 to 23:00
		{"America/Havana", time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC)},       // from 0:00 to 1:00
		{"America/Havana", time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)},      // from 1:00 to 0:00, the first of a month
		{"Asia/Beirut", time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC)},        // from 0:00 to 1:00, a Sunday
		{"Europe/Berlin", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},       // in the night
		{"Australia/Lord_Howe", time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC)}, // by half an hour
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []iislog.Period{iislog.Daily, iislog.Weekly, iislog.Monthly} {
			for at := c.near.Add(-26 * time.Hour).In(zone); at.Before(c.near.Add(26 * time.Hour)); at = at.Add(10 * time.Minute) {
				name := p.FileName(at, 0, false)
				from, to := p.Span(at)
				if at.Before(from) || !at.Before(to) {
					t.Fatalf("%s, %v: it is not within %v to %v", p, at, from, to)
				}
				if p.FileName(from, 0, false) != name || p.FileName(to.Add(-1), 0, false) != name ||
					p.FileName(from.Add(-1), 0, false) == name || p.FileName(to, 0, false) == name {
					t.Fatalf("%s, %v: %v to %v is not %s", p, at, from, to, name)
				}
			}
		}
	}
}

func BenchmarkAppendLine(b *testing.B) {
	f, err := iislog.NewFormat(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = f.AppendLine(buf[:0], &example)
	}
}

// TestAppendLineAllocatesNothing holds that bar.
func TestAppendLineAllocatesNothing(t *testing.T) {
	f, err := iislog.NewFormat(iislog.FieldNames(), nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := f.AppendLine(nil, &example)
	if n := testing.AllocsPerRun(100, func() { buf = f.AppendLine(buf[:0], &example) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
