package iisimport_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// unusedFields are fields of what was read that change nothing in an import, and why.
var unusedFields = func() map[string]string {
	why := make(map[string]string)
	for reason, fields := range map[string]string{
		"reading has said it, in Findings":                             "Settings.Findings Finding.Severity Finding.Fix Binding.HTTP Binding.Problem Rewrite.Providers Rewrite.CustomTags Rewrite.BeforeCache",
		"it is for reading: Enabled is what holds":                     "Authentication.Explicit",
		"the report lists what was read beside its lines":              "Server.Inputs Input.Name Input.Kind Input.Encoding",
		"a record chooses the certificate, which is known by its hash": "CertificateRecord.Kind CertificateRecord.ApplicationID CertificateRecord.StoreName Binding.StoreName Binding.CertificateHash CentralStore.Ports",
		"HTTP.sys alone has it":                                        "CertificateRecord.RevocationFreshness CertificateRecord.URLRetrievalTimeout CertificateRecord.EnableTokenBinding CertificateRecord.VerifyCachedOnly CertificateRecord.UsageCheck CertificateRecord.LogExtendedEvents CertificateRecord.EnableSessionTicket CertificateRecord.ExtendedPropertyValues",
		"it is of worker processes, which there are none of":           "ApplicationPool.Identity",
	} {
		for field := range strings.FieldsSeq(fields) {
			why[field] = reason
		}
	}
	return why
}()

// fieldFinder changes one field after the other, and looks what an import makes of it.
type fieldFinder struct {
	server *iisconfig.Server
	before string
	used   map[string]bool     // by type and name
	seen   map[string]bool     // all that there are
	words  map[string][]string // texts of fields of a name
}

// imported is all that an import says of the server. What goes wrong is another result, too.
func (f *fieldFinder) imported() (text string) {
	plan := iisimport.Import(f.server, iisimport.Options{FastCGI: "127.0.0.1:9000", Services: true})
	var sb strings.Builder
	sb.Write(plan.Caddyfile())
	sb.Write(plan.Environment)
	for _, s := range plan.Services {
		fmt.Fprintf(&sb, "%+v\n", *s)
	}
	for _, l := range plan.Report.Lines {
		fmt.Fprintln(&sb, l)
	}
	return sb.String()
}

// others are other values than one that a field has.
func (f *fieldFinder) others(name string, v reflect.Value) (out []reflect.Value) {
	add := func(x any) { out = append(out, reflect.ValueOf(x).Convert(v.Type())) }
	switch v.Kind() {
	case reflect.Bool:
		add(!v.Bool())
	case reflect.String:
		for _, s := range slices.Concat(f.words[name], []string{"", v.String() + "x"}) {
			if s != v.String() {
				add(s)
			}
		}
	case reflect.Int, reflect.Int64:
		add(v.Int() + 1)
		add(int64(0))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		add(v.Uint() + 1)
		add(uint64(0))
		add(uint64(iisconfig.AccessSSL))
	case reflect.Slice:
		out = append(out, reflect.Zero(v.Type()), reflect.Append(v.Slice3(0, 0, 0), nonZero(v.Type().Elem())))
	case reflect.Pointer:
		out = append(out, reflect.Zero(v.Type()), nonZero(v.Type()))
	}
	return out
}

// nonZero is a value of a type that is not its zero.
func nonZero(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(nonZero(t.Elem()))
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Struct:
		for i := range t.NumField() {
			if sub := t.Field(i); sub.IsExported() && sub.Type.Kind() != reflect.Slice && sub.Type.Kind() != reflect.Pointer && sub.Type.Kind() != reflect.Struct {
				v.Field(i).Set(nonZero(sub.Type))
			}
		}
	}
	return v
}

// walk visits what can be changed. Where something was read is for the report alone.
func (f *fieldFinder) walk(v reflect.Value, visit func(owner reflect.Type, name string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			f.walk(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.walk(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.IsExported() && field.Type != reflect.TypeFor[iisconfig.Source]() && strings.HasSuffix(v.Type().PkgPath(), "/iisconfig") {
				if field.Type.Kind() != reflect.Struct { // its fields count, and it by them
					visit(v.Type(), field.Name, v.Field(i))
				}
				f.walk(v.Field(i), visit)
			}
		}
	}
}

// TestEachFieldCounts: each field of what iisconfig reads changes what an import writes, or
// what it reports, or is one of those that are known to have no effect. A field that somebody
// adds and nobody uses is found.
func TestEachFieldCounts(t *testing.T) {
	f := &fieldFinder{used: make(map[string]bool), seen: make(map[string]bool), words: map[string][]string{"Mode": {"Detailed"}, "DefaultResponseMode": {"Redirect"}, "PreCondition": {"classicMode"}, "CacheMode": {"UseExpires"}, "PipelineMode": {"Classic"}, "RuntimeVersion": {"v2.0"}, "HostingModel": {"InProcess"}}}
	var servers []*iisconfig.Server
	for _, text := range fieldSamples {
		server := fieldServer(t, text)
		servers = append(servers, server)
		f.walk(reflect.ValueOf(server), func(_ reflect.Type, name string, v reflect.Value) {
			if v.Kind() == reflect.String && !slices.Contains(f.words[name], v.String()) {
				f.words[name] = append(f.words[name], v.String())
			}
		})
	}
	for _, server := range servers {
		f.server = server
		f.before = f.imported()
		f.walk(reflect.ValueOf(server), func(owner reflect.Type, name string, v reflect.Value) {
			key := owner.Name() + "." + name
			again := f.seen[key]
			f.seen[key] = true
			if f.used[key] || again && unusedFields[key] != "" {
				return
			}
			was := reflect.New(v.Type()).Elem()
			was.Set(v)
			for _, other := range f.others(name, v) {
				v.Set(other)
				if f.used[key] = f.imported() != f.before; f.used[key] {
					break
				}
			}
			v.Set(was)
		})
	}
	for key := range f.seen {
		if !f.used[key] && unusedFields[key] == "" {
			t.Errorf("%s changes nothing in an import, and the report does not name it: use it, or say in unusedFields why not", key)
		}
	}
	for key := range unusedFields {
		if f.used[key] || !f.seen[key] {
			t.Errorf("unusedFields has %s, which counts, or is none", key)
		}
	}
}

// fieldSamples are servers in which fields count.
var fieldSamples = []string{
	fieldHost(fieldSections, fieldHandlers), fieldHost(fieldSections, fieldCore), fieldMetabase,
	strings.Replace(fieldHost(fieldFew, ""), `period="Daily"`, `period="MaxSize" truncateSize="2000000"`, 1),
	strings.Replace(fieldHost("", ""), "</configuration>", "<system.web /></configuration>", 1),
}

const (
	fieldSections = `<defaultDocument><files><add value="a.htm" /></files></defaultDocument><directoryBrowse enabled="true" showFlags="Date" />
<httpRedirect enabled="true" destination="http://a.test/" exactDestination="true" childOnly="true" httpResponseStatus="Permanent"><add wildcard="*x" destination="/y" /></httpRedirect>
<httpErrors errorMode="Custom" existingResponse="Auto" defaultPath="d.htm" defaultResponseMode="File"><error statusCode="404" subStatusCode="3" prefixLanguageFilePath="C:\e" path="a.htm" /><error statusCode="500" path="/b.htm" responseMode="Redirect" /><error statusCode="401" path="C:\e\c.htm" responseMode="File" /></httpErrors>
<staticContent><mimeMap fileExtension=".zz" mimeType="text/x" /><clientCache cacheControlMode="UseMaxAge" cacheControlMaxAge="1.00:00:00" httpExpires="Tue, 01 Jan 2030 00:00:00 GMT" cacheControlCustom="public" /></staticContent>
<httpProtocol allowKeepAlive="false"><customHeaders><add name="X-A" value="1" /></customHeaders><redirectHeaders><add name="X-B" value="2" /></redirectHeaders></httpProtocol>
<urlCompression doStaticCompression="false" doDynamicCompression="true" /><webSocket enabled="false" /><serverRuntime maxRequestEntityAllowed="9" appConcurrentRequestLimit="9" />
<proxy enabled="true" preserveHostHeader="true" xForwardedForHeaderName="X-F" xForwardedByHeaderName="X-G" timeout="00:01:00" httpVersion="Http11" />
<security><isapiCgiRestriction notListedIsapisAllowed="true" notListedCgisAllowed="true"><add path="C:\i.dll" allowed="true" /><add path="%windir%\Microsoft.NET\Framework64\v4.0.30319\webengine4.dll" allowed="false" /></isapiCgiRestriction><access sslFlags="SslNegotiateCert" /><authentication><anonymousAuthentication enabled="false" /><basicAuthentication enabled="true" realm="r" /><windowsAuthentication enabled="true"><providers><add value="NTLM" /></providers></windowsAuthentication></authentication>
<authorization><clear /><add accessType="Allow" users="a" roles="b" verbs="GET" /><add accessType="Deny" users="?" /></authorization>
<ipSecurity allowUnlisted="false" denyAction="NotFound" enableProxyMode="true" enableReverseDns="true"><add ipAddress="10.0.0.0" subnetMask="255.0.0.0" allowed="true" /></ipSecurity>
<dynamicIpSecurity denyAction="NotFound" enableProxyMode="true"><denyByConcurrentRequests enabled="true" /><denyByRequestRate enabled="true" /></dynamicIpSecurity>
<requestFiltering removeServerHeader="true" allowDoubleEscaping="true"><hiddenSegments><add segment="s" /></hiddenSegments><fileExtensions><add fileExtension=".no" allowed="false" /><add fileExtension=".ok" /></fileExtensions><verbs><add verb="GET" /><add verb="PUT" allowed="false" /></verbs>
<denyUrlSequences><add sequence="u" /></denyUrlSequences><alwaysAllowedUrls><add url="/ok" /></alwaysAllowedUrls><denyQueryStringSequences><add sequence="q" /></denyQueryStringSequences><alwaysAllowedQueryStrings><add queryString="p" /></alwaysAllowedQueryStrings>
<requestLimits maxUrl="9"><headerLimits><add header="X-L" sizeLimit="9" /></headerLimits></requestLimits><filteringRules><filteringRule name="f" scanUrl="true"><scanHeaders><add requestHeader="X-S" /></scanHeaders><appliesTo><add fileExtension=".htm" /></appliesTo><denyStrings><add string="evil" /></denyStrings></filteringRule></filteringRules></requestFiltering></security>
<rewrite><allowedServerVariables><add name="V" /></allowedServerVariables><rewriteMaps><rewriteMap name="m" defaultValue="d"><add key="k" value="v" /></rewriteMap></rewriteMaps>
<globalRules><rule name="g"><match url="^g$" /><action type="Redirect" url="/g2" /></rule></globalRules>
<rules><rule name="r" stopProcessing="true"><match url="^r$" /><conditions logicalGrouping="MatchAny" trackAllCaptures="true"><add input="{QUERY_STRING}" pattern="a=(.*)" /><add input="{m:{R:0}}" pattern="v" negate="true" /></conditions><serverVariables><set name="V" value="1" /></serverVariables><action type="Rewrite" url="http://farm/{R:0}" logRewrittenUrl="true" /></rule>
<rule name="s"><match url="^s$" /><action type="Rewrite" url="https://farm/{R:0}" /></rule><rule name="c"><match url="^c$" /><action type="CustomResponse" statusCode="403" subStatusCode="3" statusReason="why" statusDescription="because" /></rule><rule name="t"><match url="^t$" /><action type="Redirect" url="/x" redirectType="Found" /></rule></rules>
<outboundRules><rule name="o" preCondition="p"><match serverVariable="RESPONSE_X" pattern="(.*)" /><action type="Rewrite" value="b" /></rule><rule name="body"><match filterByTags="A, CustomTags" customTags="tags" pattern="x" /><action type="Rewrite" value="y" /></rule><preConditions><preCondition name="p"><add input="{RESPONSE_Y}" pattern="z" /></preCondition></preConditions></outboundRules></rewrite>`
	fieldHandlers = `<handlers accessPolicy="Read, Script"><add name="php" path="*.php" verb="GET" modules="FastCgiModule" scriptProcessor="C:\php.exe|-x" resourceType="File" requireAccess="Script" />
<add name="isapi" path="*.isapi" verb="*" modules="IsapiModule" scriptProcessor="C:\i.dll" /><add name="other" path="*.other" verb="*" modules="IsapiModule" scriptProcessor="C:\o.dll" /><add name="cgi" path="*.cgix" verb="*" modules="CgiModule" scriptProcessor="C:\c.exe" />
<add name="net" path="*.net" verb="*" type="T" modules="IsapiModule" preCondition="integratedMode" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule,DirectoryListingModule" resourceType="Either" requireAccess="Read" /></handlers>`
	fieldCore = `<handlers><add name="core" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers>
<aspNetCore processPath="dotnet" arguments=".\a.dll" hostingModel="OutOfProcess" stdoutLogEnabled="true" stdoutLogFile="l" requestTimeout="00:03:00" startupTimeLimit="30" shutdownTimeLimit="20" rapidFailsPerMinute="3"><environmentVariables><environmentVariable name="E" value="1" /></environmentVariables></aspNetCore>`
	fieldFew = `<handlers><clear /><add name="images" path="*.png" verb="*" modules="StaticFileModule" preCondition="bitness64" resourceType="File" requireAccess="Read" /></handlers>
<staticContent><clientCache cacheControlMode="UseExpires" httpExpires="Tue, 01 Jan 2030 00:00:00 GMT" /></staticContent>`
	fieldMetabase = `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsFilter Location="/LM/W3SVC/Filters/urlscan" FilterPath="C:\urlscan.dll" />
<IIsWebService Location="/LM/W3SVC" HttpRedirect="*;*.old;http://a.test/x" /><IIsWebServer Location="/LM/W3SVC/1" ServerBindings=":80:" ServerComment="S" ServerState="4" /><IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\w" AccessFlags="AccessRead" /></MBProperty></configuration>`
)

// fieldHost is a server of IIS 10 whose only site has all settings from the server.
func fieldHost(sections, handlers string) string {
	return `<configuration><system.applicationHost><applicationPools><add name="P" managedRuntimeVersion="v4.0" managedPipelineMode="Integrated" /></applicationPools><sites><site name="S" id="1">
<application path="/" applicationPool="P" enabledProtocols="http"><virtualDirectory path="/" physicalPath="/srv/w" userName="u" /></application><application path="/app" applicationPool="P"><virtualDirectory path="/" physicalPath="/srv/app" /></application>
<application path="/tcp" applicationPool="P" enabledProtocols="net.tcp"><virtualDirectory path="/" physicalPath="/srv/tcp" /></application><bindings><binding protocol="http" bindingInformation="*:80:a.test" /><binding protocol="https" bindingInformation="*:443:a.test" sslFlags="1" /><binding protocol="https" bindingInformation="*:444:b.test" sslFlags="2" /></bindings>
<hsts enabled="true" max-age="9" includeSubDomains="true" preload="true" redirectHttpToHttps="true" /><logFile directory="C:\logs" logFormat="W3C" period="Daily" /></site></sites></system.applicationHost>
<webFarms><webFarm name="farm"><server address="10.0.0.1"><applicationRequestRouting httpPort="81" httpsPort="444" weight="9" /></server><server address="10.0.0.2" /><applicationRequestRouting><loadBalancing algorithm="WeightedRoundRobin" /><healthCheck url="http://farm/ok" interval="00:00:09" timeout="00:00:08" statusCodeMatch="200" responseMatch="yes" /></applicationRequestRouting></webFarm></webFarms>
<system.webServer><fastCgi><application fullPath="C:\php.exe" arguments="-x"><environmentVariables><environmentVariable name="F" value="1" /></environmentVariables></application></fastCgi>` + sections + handlers + `</system.webServer></configuration>`
}

// fieldServer reads a sample. What the whole server says is of the site, as if its web.config
// said it: settings of a place alone are not fields that could be changed here.
func fieldServer(t *testing.T, text string) *iisconfig.Server {
	t.Helper()
	files := []iisconfig.File{
		{Name: "applicationHost.config", Data: []byte(text)},
		{Name: "urlscan.ini", Data: []byte("[Options]\nUseAllowVerbs=1\n[AllowVerbs]\nGET\n")},
		{Name: "sslcert.txt", Data: []byte("SSL Certificate bindings:\n-------------------------\n\n    Hostname:port                : a.test:443\n    Certificate Hash             : 0123456789abcdef0123456789abcdef01234567\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n")},
		{Name: "ccs.reg", Data: []byte("Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\IIS\\CentralCertProvider]\n\"Enabled\"=dword:00000001\n\"CertStoreLocation\"=\"C:\\\\certs\"\n\"UserName\"=\"u\"\n\"PollingInterval\"=dword:0000012c\n")},
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var setScope func(v reflect.Value)
	setScope = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				setScope(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				setScope(v.Index(i))
			}
		case reflect.Struct:
			if s, ok := reflect.TypeAssert[*iisconfig.Source](v.Addr()); ok {
				s.Scope = "S"
				return
			}
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					setScope(v.Field(i))
				}
			}
		}
	}
	setScope(reflect.ValueOf(server.Settings))
	site := server.Sites[0]
	site.Configured = append(site.Configured, iisconfig.ConfiguredPath{Path: "/", Sections: []iisconfig.Section{{Name: "system.webServer/handlers", Source: iisconfig.Source{File: "w/web.config", Line: 1, Scope: "S"}}}})
	return server
}
