package iisconfig_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// TestAccessOfIIS6: AccessFlags in words and in a number are the same policy.
func TestAccessOfIIS6(t *testing.T) {
	for flags, want := range map[string]string{
		"AccessRead | AccessScript":       "Read, Script",
		"AccessRead | AccessNoRemoteRead": "Read, NoRemoteRead",
		"29697":                           "Read, NoRemoteWrite, NoRemoteRead, NoRemoteExecute, NoRemoteScript",
	} {
		data := `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsWebServer Location="/LM/W3SVC/1" ServerBindings=":80:" />` +
			`<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\a" AccessFlags="` + flags + `" /></MBProperty></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "MetaBase.xml", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if h := server.Sites[0].At("/").Handlers; h == nil || h.AccessPolicy != want {
			t.Errorf("%s: got %+v, want %s", flags, h, want)
		}
	}
}

// TestBitsOfIIS6: what adsutil GET prints of a place is one bit of its flags, which counts
// beside those that it inherits, and before flags of the same place. A name of that kind that
// nobody knows closes the place.
func TestBitsOfIIS6(t *testing.T) {
	for line, want := range map[string]string{
		"AuthAnonymous                   : (BOOLEAN) False": "Read, Script; None; anonymous off, basic off",
		"AuthAnonymous                   : (BOOLEAN) True":  "Read, Script; None; anonymous on, basic off",
		"AuthBasic                       : (BOOLEAN) True":  "Read, Script; None; anonymous on, basic on",
		"AuthNTLM : (BOOLEAN) True":                         "Read, Script; None; anonymous on, basic off, windows on",
		"AuthMD5 : (BOOLEAN) True":                          "Read, Script; None; anonymous on, basic off, digest on",
		"AuthPassport : (BOOLEAN) True":                     "Read, Script; None; anonymous on, basic off, passport on",
		"AccessRead                      : (BOOLEAN) False": "Script; None; anonymous on, basic off",
		"AccessScript                    : (BOOLEAN) FALSE": "Read; None; anonymous on, basic off",
		"AccessRead : (BOOLEAN) Falsch":                     "Script; None; anonymous on, basic off", // of a German Windows
		"AccessWrite : (BOOLEAN) True":                      "Read, Script, Write; None; anonymous on, basic off",
		"AccessExecute : (BOOLEAN) True":                    "Read, Script, Execute; None; anonymous on, basic off",
		"AccessSource : (BOOLEAN) True":                     "Read, Script, Source; None; anonymous on, basic off",
		"AccessNoRemoteRead : (BOOLEAN) True":               "Read, Script, NoRemoteRead; None; anonymous on, basic off",
		"AccessNoRemoteRead : (BOOLEAN) Wahr":               "Read, Script, NoRemoteRead; None; anonymous on, basic off",
		"AccessSSL : (BOOLEAN) True":                        "Read, Script; Ssl; anonymous on, basic off",
		"AccessSSL : (BOOLEAN) Wahr":                        "Read, Script; Ssl; anonymous on, basic off",
		"AccessSSL128 : (BOOLEAN) True":                     "Read, Script; Ssl128; anonymous on, basic off",
		"AccessSSLNegotiateCert : (BOOLEAN) True":           "Read, Script; SslNegotiateCert; anonymous on, basic off",
		"AccessSSLRequireCert            : (BOOLEAN) True":  "Read, Script; SslRequireCert; anonymous on, basic off",
		"AccessSSLMapCert : (BOOLEAN) True":                 "Read, Script; SslMapCert; anonymous on, basic off",
		"AuthOdd : (BOOLEAN) True":                          "Read, Script; None; anonymous on, basic off; the property AuthOdd",
		"AccessOdd : (BOOLEAN) True":                        "Read, Script; None; anonymous on, basic off; the property AccessOdd",
		"AuthPersistence : (INTEGER) 0":                     "Read, Script; None; anonymous on, basic off",
		"AuthAdvNotifyDisable : (BOOLEAN) True":             "Read, Script; None; anonymous on, basic off",
		"AccessNoPhysicalDir : (BOOLEAN) False":             "Read, Script; None; anonymous on, basic off",
		"AccessRead : (BOOLEAN) False\nAccessFlags : (INTEGER) 1\nAccessSSL : (BOOLEAN) True\nAccessSSLFlags : (INTEGER) 0\nAuthAnonymous : (BOOLEAN) False\nAuthFlags : (INTEGER) 3": "None; Ssl; anonymous off, basic on",
	} {
		name, _, _ := strings.Cut(line, " ")
		data := "C:\\>cscript adsutil.vbs ENUM W3SVC/1\nKeyType : (STRING) \"IIsWebServer\"\nServerComment : (STRING) \"a\"\nServerBindings : (LIST) (1 Items)\n  \":80:\"\n\n" +
			"C:\\>cscript adsutil.vbs ENUM W3SVC/1/ROOT\nKeyType : (STRING) \"IIsWebVirtualDir\"\nPath : (STRING) \"C:\\a\"\n" +
			"AccessFlags : (INTEGER) 513\nAccessSSLFlags : (INTEGER) 0\nAuthFlags : (INTEGER) 1\n\n" +
			"C:\\>cscript adsutil.vbs GET W3SVC/1/ROOT/private/" + name + "\n" + line + "\n"
		server, err := iisconfig.Read([]iisconfig.File{{Name: "site.txt", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := bits(server.Sites[0].At("/private/x")); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
		if got := bits(server.Sites[0].At("/")); got != "Read, Script; None; anonymous on, basic off" {
			t.Errorf("%s: the place above has %s", line, got)
		}
	}
}

// bits are the flags that a place has, and what nobody knows of it.
func bits(s *iisconfig.Settings) string {
	var auth []string
	for _, a := range s.Authentication {
		switch {
		case a.Enabled:
			auth = append(auth, a.Method+" on")
		case a.Method == "anonymous" || a.Method == "basic":
			auth = append(auth, a.Method+" off")
		}
	}
	out := s.Handlers.AccessPolicy + "; " + s.Access.SSLFlags.String() + "; " + strings.Join(auth, ", ")
	for _, u := range s.Unknown {
		out += "; " + u.What
	}
	return out
}
