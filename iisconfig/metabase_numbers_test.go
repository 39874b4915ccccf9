package iisconfig_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// numbered are properties that a node may have as a Custom element with their number only, which
// iiscnfg.h of the Windows SDK has: MD_AUTHORIZATION is IIS_MD_FILE_PROP_BASE, 6000, and so on.
var numbered = []struct {
	id          int
	name, value string
}{
	{1015, "ServerComment", "a site"},                  // MD_SERVER_COMMENT
	{1016, "ServerState", "4"},                         // MD_SERVER_STATE
	{1017, "ServerAutoStart", "0"},                     // MD_SERVER_AUTOSTART
	{1023, "ServerBindings", ":81:"},                   // MD_SERVER_BINDINGS
	{2021, "SecureBindings", ":444:"},                  // MD_SECURE_BINDINGS
	{2168, "WebSvcExtRestrictionList", `1,C:\a.dll`},   // MD_WEB_SVC_EXT_RESTRICTION_LIST
	{3001, "Path", `C:\b`},                             // MD_VR_PATH
	{3002, "UNCUserName", "someone"},                   // MD_VR_USERNAME
	{4000, "LogType", "0"},                             // MD_LOG_TYPE
	{4001, "LogFileDirectory", `D:\logs`},              // MD_LOGFILE_DIRECTORY
	{4003, "LogFilePeriod", "4"},                       // MD_LOGFILE_PERIOD
	{4013, "LogExtFileFlags", "3"},                     // MD_LOGEXT_FIELD_MASK
	{6000, "AuthFlags", "2"},                           // MD_AUTHORIZATION
	{6004, "HttpCustomHeaders", "X-A: b"},              // MD_HTTP_CUSTOM
	{6005, "DirBrowseFlags", "3221225472"},             // MD_DIRECTORY_BROWSING
	{6006, "DefaultDoc", "a.htm"},                      // MD_DEFAULT_LOAD_FILE
	{6008, "HttpErrors", "404,*,URL,/a.htm"},           // MD_CUSTOM_ERROR
	{6011, "HttpRedirect", "http://b.test, PERMANENT"}, // MD_HTTP_REDIRECT
	{6014, "ScriptMaps", `.a,C:\a.dll,5,GET`},          // MD_SCRIPT_MAPS
	{6015, "MimeMap", ".a,text/a"},                     // MD_MIME_MAP
	{6016, "AccessFlags", "4"},                         // MD_ACCESS_PERM
	{6019, "IPSecurity", "18000080"},                   // MD_IP_SEC
	{6030, "AccessSSLFlags", "8"},                      // MD_SSL_ACCESS_PERM
	{6048, "AzEnable", "1"},                            // MD_ENABLE_URL_AUTHORIZATION
	{9101, "AppPoolId", "pool"},                        // MD_APP_APPPOOL_ID
}

// metabaseWith reads a server with one property, as an attribute or an element of the site's node
// and of that of its root.
func metabaseWith(t *testing.T, attribute, element string) string {
	t.Helper()
	for _, beside := range []string{`Path="C:\z"`, `LogFileDirectory="E:\logs"`} {
		if name, _, _ := strings.Cut(beside, "="); !strings.Contains(attribute+element, name) {
			attribute += " " + beside
		}
	}
	data := fmt.Sprintf(`<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty>`+
		`<IIsWebServer Location="/LM/W3SVC/1" %[1]s>%[2]s</IIsWebServer><IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" %[1]s>%[2]s</IIsWebVirtualDir>`+
		`</MBProperty></configuration>`, attribute, element)
	server, err := iisconfig.Read([]iisconfig.File{{Name: "MetaBase.xml", Data: []byte(data)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(struct {
		Site  *iisconfig.Site
		At    *iisconfig.Settings
		Found []iisconfig.Finding
	}{server.Sites[0], server.Sites[0].At("/x"), server.Findings})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestPropertiesByNumber: a property that the schema of IIS 6 does not have at a node is an element
// there, with its number. It means what it means under its name.
func TestPropertiesByNumber(t *testing.T) {
	none := metabaseWith(t, "", "")
	for _, p := range numbered {
		byName := metabaseWith(t, fmt.Sprintf(`%s="%s"`, p.name, p.value), "")
		byNumber := metabaseWith(t, "", fmt.Sprintf(`<Custom Name="UnknownName_%[1]d" ID="%[1]d" Value="%[2]s" Type="DWORD" UserType="IIS_MD_UT_FILE" Attributes="INHERIT" /><!-- %[3]s -->`, p.id, p.value, p.name))
		if byNumber != byName {
			t.Errorf("%d is not %s:\n%s\n%s", p.id, p.name, byNumber, byName)
		}
		if byName == none {
			t.Errorf("%s means nothing", p.name)
		}
	}
}

// TestProtectingNumbers: what protects a place does so by its number.
func TestProtectingNumbers(t *testing.T) {
	for custom, want := range map[string]string{
		`ID="6000" Value="4"`:          "Read, Script; None; windows on",
		`ID="6000" Value="0x51"`:       "Read, Script; None; anonymous on, digest on, passport on",
		`ID="6016" Value="0x5202"`:     "Write, Script, NoRemoteRead, NoRemoteScript; None; anonymous on",
		`ID="6016" Value="0x2415"`:     "Read, Execute, Source, NoRemoteWrite, NoRemoteExecute; None; anonymous on",
		`ID="6019" Value="18000080"`:   "Read, Script; None; anonymous on; IPSecurity, which restricts who may come to addresses, is in a form that",
		`ID="6030" Value="0x128"`:      "Read, Script; Ssl, SslNegotiateCert, Ssl128; anonymous on",
		`ID="6030" Value="192"`:        "Read, Script; SslRequireCert, SslMapCert; anonymous on",
		`ID="6048" Value="1"`:          "Read, Script; None; anonymous on; the property AzEnable",
		`ID="6048" Value="0"`:          "Read, Script; None; anonymous on",
		`Name="AuthFlags" Value="2"`:   "Read, Script; None; basic on",
		`Name="AzEnable" Value="TRUE"`: "Read, Script; None; anonymous on; the property AzEnable",
		`ID="6031" Value="64"`:         "Read, Script; None; anonymous on", // MD_AUTHORIZATION_PERSISTENCE
	} {
		data := `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsWebServer Location="/LM/W3SVC/1" ServerBindings=":80:" />` +
			`<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\a" AccessFlags="513" AccessSSLFlags="0" AuthFlags="1" />` +
			`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/p"><Custom ` + custom + ` /></IIsWebDirectory></MBProperty></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "MetaBase.xml", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := bits(server.Sites[0].At("/p/x"))
		for _, off := range []string{"anonymous off", "basic off"} {
			got = strings.ReplaceAll(strings.ReplaceAll(got, off+", ", ""), ", "+off, "")
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", custom, got, want)
		}
	}
}
