package iisconfig_test

import (
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
