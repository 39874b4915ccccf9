package iisimport_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// imported imports one file, with logs of drive D below /var/log.
func imported(t *testing.T, name, data string) (caddyfile, report string) {
	t.Helper()
	server, err := iisconfig.Read([]iisconfig.File{{Name: name, Data: []byte(data)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `D:\logs`, To: "/var/log/w3c"}}})
	adapt(t, plan.Caddyfile())
	var sb strings.Builder
	if err := plan.Report.WriteText(&sb); err != nil {
		t.Fatal(err)
	}
	return string(plan.Caddyfile()), sb.String()
}

// TestLogs: the log of most sites stands in iis, and sites with another one, or
// none, say so.
func TestLogs(t *testing.T) {
	site := func(id, log string) string {
		return `<site name="s` + id + `" id="` + id + `"><application path="/"><virtualDirectory path="/" physicalPath="C:\x" /></application>` +
			`<bindings><binding protocol="http" bindingInformation="*:80:s` + id + `.test" /></bindings>` + log + `</site>`
	}
	caddyfile, report := imported(t, "applicationHost.config", `<configuration><system.applicationHost><sites>`+
		site("1", "")+site("2", `<logFile />`)+site("3", `<logFile enabled="false" />`)+
		site("4", `<logFile directory="%IIS_LOGS%\four" period="MaxSize" truncateSize="1000000" localTimeRollover="true" logExtFileFlags="Time, Date, HttpStatus, Nothing"><customFields>
			<add logFieldName="Original IP" sourceName="X-Forwarded-For" sourceType="RequestHeader" /><add logFieldName="up" sourceName="UP" sourceType="ServerVariable" /></customFields></logFile>`)+
		site("5", `<logFile logFormat="NCSA" />`)+
		`<siteDefaults><logFile logFormat="W3C" directory="D:\logs" period="Hourly" /></siteDefaults></sites></system.applicationHost></configuration>`)
	flat := strings.Join(strings.Fields(caddyfile), " ")
	for text, times := range map[string]int{
		"iis { w3c_log /var/log/w3c { fields date time s-ip cs-method": 1,
		"period hourly }": 1,
		"w3c_log off":     2,
		"w3c_log {env.IIS_LOGS}/four { fields date time sc-status field Original_IP request_header X-Forwarded-For period none max_size 1000000 local_time }": 1,
		"w3c_log": 4,
	} {
		if n := strings.Count(flat, text); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", text, n, times, caddyfile)
		}
	}
	for _, text := range []string{"logFile: w3c_log /var/log/w3c", "logFile NCSA: only the W3C format", "custom field up: left out", "logExtFileFlags Nothing: no such field"} {
		if !strings.Contains(report, text) {
			t.Errorf("the report does not say %q:\n%s", text, report)
		}
	}
}

// TestOddLogs: what is odd in a log makes no Caddyfile that cannot be read, and
// what IIS takes where nothing is said is said.
func TestOddLogs(t *testing.T) {
	const header = `<customFields><add logFieldName="cs-host" sourceName="X-Host" sourceType="RequestHeader" /></customFields>`
	for _, c := range []struct{ log, caddyfile, report string }{
		{`<logFile period="Yearly" />`, "period daily", "period Yearly: no such period"},
		{`<logFile period="None" />`, "period daily", "period None: no such period"},
		{`<logFile period="MaxSize" />`, "period none max_size 20971520", ""},
		{`<logFile period="MaxSize" truncateSize="4294967295" />`, "period none }", ""},
		{`<logFile period="maxsize" truncateSize="x" />`, "period none max_size 20971520", "bad-value"},
		{`<logFile logExtFileFlags="Host">` + header + `</logFile>`, "fields cs-host period daily", "custom field cs-host: left out"},
		{`<logFile logExtFileFlags="Date">` + header + `</logFile>`, "fields date field cs-host request_header X-Host", ""},
		{
			`<logFile logExtFileFlags="Date"><customFields><add logFieldName="cs(Referer)" sourceName="Referer" sourceType="RequestHeader" /></customFields></logFile>`,
			"field cs(Referer) request_header Referer", "",
		},
		{`<logFile directory="off" />`, "w3c_log ./off {", ""},
		{`<logFile directory="\\server\logs$\x" />`, `w3c_log "//server/logs$/x" {`, `folder \\server\logs$\x`},
		{`<logFile directory="{$HOME}\{env.KEY}" />`, "", `the site has no log: the folder {$HOME}/{env.KEY} has no form`},
		{`<logFile directory="{env.KEY}" />`, "w3c_log `\\{env.KEY\\}` {", ""},
		{`<logFile logExtFileFlags="" directory="" />`, "w3c_log C:/inetpub/logs/LogFiles { fields date time s-ip cs-method", ""},
	} {
		caddyfile, report := imported(t, "applicationHost.config", `<configuration><system.applicationHost><log centralLogFileMode="CentralW3C" /><sites>`+
			`<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\x" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings>`+c.log+`</site></sites></system.applicationHost></configuration>`)
		if flat := strings.Join(strings.Fields(caddyfile), " "); !strings.Contains(flat, c.caddyfile) {
			t.Errorf("%s: %q is missing:\n%s", c.log, c.caddyfile, caddyfile)
		}
		for _, text := range []string{c.report, "here each site has its own"} {
			if !strings.Contains(report, text) {
				t.Errorf("%s: the report does not say %q:\n%s", c.log, text, report)
			}
		}
	}
}

// TestLogsOfIIS6: properties of the service hold for its sites.
func TestLogsOfIIS6(t *testing.T) {
	caddyfile, _ := imported(t, "MetaBase.xml", `<configuration><MBProperty>
<IIsWebService Location="/LM/W3SVC" LogFileDirectory="D:\logs" LogFilePeriod="1" LogType="1" LogExtFileFlags="LogExtFileDate | LogExtFileTime | LogExtFileHttpSubStatus" />
<IIsWebServer Location="/LM/W3SVC/1" ServerBindings=":80:" ServerComment="One" />
<IIsWebServer Location="/LM/W3SVC/2" ServerBindings=":80:two.test" LogFilePeriod="4" LogExtFileFlags="4194303" />
<IIsWebServer Location="/LM/W3SVC/3" ServerBindings=":80:three.test" LogType="0" />
</MBProperty></configuration>`)
	flat := strings.Join(strings.Fields(caddyfile), " ")
	for _, text := range []string{
		"w3c_log /var/log/w3c { fields date time sc-substatus period daily }",
		"w3c_log /var/log/w3c { fields date time s-sitename s-computername s-ip",
		"period hourly }", "w3c_log off",
	} {
		if !strings.Contains(flat, text) {
			t.Errorf("%q is missing:\n%s", text, caddyfile)
		}
	}
}
