package iisconfig

import "testing"

// TestNamesOfOuterFiles: a name that a web.config declares is the application's in the files below
// it, too, whatever the order in which they are given; what is IIS's own nobody declares.
func TestNamesOfOuterFiles(t *testing.T) {
	const (
		declares = `<configuration><configSections><section name="AppSettings" type="X"/><sectionGroup name="system.webserver"/></configSections></configuration>`
		uses     = `<configuration><AppSettings/></configuration>`
		group    = `<configuration><system.webserver/></configuration>`
	)
	for _, c := range []struct {
		outer, inner string
		fault        bool
	}{
		{declares, uses, false},
		{`<configuration/>`, uses, true},
		{declares, group, true},
	} {
		server := hosted(t, "", "", map[string]string{"a": c.outer, "a/in": c.inner, "b": uses})
		if got := faultCodes(server.SiteByName("A").At("/in/x")); (got != nil) != c.fault {
			t.Errorf("%s: %v", c.inner, got)
		}
		if got := faultCodes(server.SiteByName("B").At("/")); got == nil {
			t.Error("what one site declares is another one's")
		}
	}
	if got := faultCodes(hosted(t, "", "", map[string]string{"a": uses, "a/in": declares}).SiteByName("A").At("/")); got == nil {
		t.Error("what a file below declares is that of the one above")
	}
}
