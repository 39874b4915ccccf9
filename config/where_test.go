package config

import "testing"

const somewhere = `{
	iis {
		sites_from bolt a.db
		sites_from bolt b.db {
			name second
		}
		sites_from postgres {
			name second
		}
		endpoint 0.0.0.0:8443 {
			certificate main
		}
		endpoint [::1]:8443 {
			certificate main
		}
		site 1 Shop {
			server_bindings :8080:a.test *:8081:
			secure_bindings :8080:a.test
			binding https *:8443:b.test {
				sni
				certificate shop
			}
			certificate main
			server_bindings :8080:a.test
		}
		site 2 {
			template page
		}
	}
}
`

// TestLinesOf: the line is that of what a message is about, as exactly as the message says.
func TestLinesOf(t *testing.T) {
	lines := LinesOf("Caddyfile", []byte(somewhere))
	for message, want := range map[string]string{
		// sources by kind and by name
		`sites_from bolt: x`:   "Caddyfile:3",
		`sites_from second: x`: "Caddyfile:4",
		`sites_from: two sources are called "second": give one of them another name`: "Caddyfile:7",
		`sites_from: bolt and second are the same table: remove one of them`:         "Caddyfile:7",
		`sites_from: x`: "Caddyfile:3",
		// endpoints in whatever form
		`endpoint *:8443: x`:          "Caddyfile:10",
		`endpoint 0.0.0.0:8443: x`:    "Caddyfile:10",
		`endpoint [::1]:8443 rejects`: "Caddyfile:13",
		// bindings by protocol
		`site 1 "Shop", http binding *:8080:a.test is also a binding`:          "Caddyfile:17",
		`site 1 "Shop", https binding *:8080:a.test and site 1 "Shop", http b`: "Caddyfile:18",
		`site 1 "Shop", http binding *:8081: and x`:                            "Caddyfile:17",
		`site 1 "Shop", http binding *:8080:a.test is there twice in the same`: "Caddyfile:24",
		// what is named before where it is named
		`site 1 "Shop": binding *:8443:b.test: certificate "shop" is not configured`: "Caddyfile:21",
		`site 1 "Shop": binding *:8080:a.test: certificate "main" is not configured`: "Caddyfile:23",
		`site 1 "Shop": binding *:8443:b.test: no`:                                   "Caddyfile:19",
		`site 2: template "page" is not configured`:                                  "Caddyfile:27",
		`site 2: x`:  "Caddyfile:26",
		`site 3: x`:  "",
		`something`:  "",
		`defaults: `: "",
	} {
		if got := lines.Of(message); got != want {
			t.Errorf("%s: at %q, want %q", message, got, want)
		}
	}
}
