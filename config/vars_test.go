package config

import "testing"

// TestWithin: paths are below a folder as the system has it that they are for, on any system.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		folder, path string
		want         bool
	}{
		{"/srv/sites", "/srv/sites", true},
		{"/srv/sites", "/srv/sites/a/", true},
		{"/srv/sites", "/srv/sitesa", false},
		{"/srv/sites", "/SRV/sites/a", false},
		{"/srv/sites", `/srv/sites/a\..\..`, false},
		{"/srv/sites", `C:\srv\sites`, false},
		{"/srv/sites", "srv/sites/a", false},
		{"/srv/sites/", "/srv//sites/./a", true},
		{"/srv/sites", `/srv\sites/a`, false},
		{"/", "/srv", true},
		{"/", "//nas/sites", false},
		{"/", `/\nas\sites`, false},
		{"/nas/sites", "//nas/sites/shop", false},
		{"//nas/sites", "//nas/sites/shop", true},
		{"//nas/sites", "/nas/sites/shop", false},
		{`C:\inetpub`, `c:/Inetpub\shop`, true},
		{`C:\inetpub`, `C:\inetpub2`, false},
		{`C:\inetpub`, `D:\inetpub\shop`, false},
		{`C:\inetpub`, `C:\inetpub\..\windows`, false},
		{`C:\inetpub`, `C:\inetpub/../../etc`, false},
		{`C:\inetpub`, `C:inetpub\shop`, false},
		{`C:\inetpub`, `inetpub\shop`, false},
		{`C:\inetpub`, `/C:/inetpub/shop`, false},
		{`\\nas\sites`, `\\NAS\Sites\shop`, true},
		{`\\nas\sites`, `\nas\sites\shop`, false},
		{`\\nas\sites`, `\\another\sites\shop`, false},
		{`\\nas\sites`, `/etc`, false},
	} {
		if got := within(c.folder, c.path); got != c.want {
			t.Errorf("%s in %s: %v", c.path, c.folder, got)
		}
	}
}
