package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// sharedConfig has bindings and ordinary site blocks on the same two ports.
func sharedConfig(httpPort, httpsPort int, option, iis, sites string) string {
	return fmt.Sprintf(`{
		http_port %[1]d
		https_port %[2]d
		%[3]s
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 Main {
				server_bindings :%[1]d:www.contoso.test
				secure_bindings :%[2]d:www.contoso.test
				certificate wildcard
				respond "iis {iis.site.id}"
			}
			%[4]s
		}
	}
	ordinary.test {
		tls internal
		respond "ordinary"
	}
	%[5]s
	`, httpPort, httpsPort, option, iis, sites)
}

func TestSharedPort(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, sharedConfig(httpPort, httpsPort, "", "", `
		*.wild.test {
			tls internal
			respond "wild"
		}`))
	plain, secure := fmt.Sprintf("127.0.0.1:%d", httpPort), fmt.Sprintf("127.0.0.1:%d", httpsPort)
	waitFor(t, "the certificates of the ordinary sites", func() bool {
		for _, name := range []string{"ordinary.test", "a.wild.test"} {
			if cert, err := ts.Handshake(secure, name); err != nil || cert.VerifyHostname(name) != nil {
				return false
			}
		}
		return true
	})
	check := func(t *testing.T) {
		t.Helper()
		for _, proto := range []string{"h1", "h2", "h3"} {
			for _, c := range []struct{ sni, host, subject, body string }{
				{"www.contoso.test", "", "*.contoso.test", "iis 1"},
				{"ordinary.test", "", "ordinary.test", "ordinary"},
				{"a.wild.test", "", "*.wild.test", "wild"},
				{"", "www.contoso.test", "*.contoso.test", "iis 1"},
				{"", "ordinary.test", "*.contoso.test", "ordinary"},
				{"unknown.test", "", "*.contoso.test", "Invalid Hostname"},
				{"ordinary.test", "www.contoso.test", "ordinary.test", "iis 1"},
				{"www.contoso.test", "ordinary.test", "*.contoso.test", "ordinary"},
			} {
				answer, err := ts.Do(ts.Request{Addr: secure, SNI: c.sni, Host: c.host, Proto: proto})
				if err != nil {
					t.Errorf("%s %+v: %v", proto, c, err)
					continue
				}
				if answer.Subject() != c.subject || !strings.Contains(answer.Body, c.body) {
					t.Errorf("%s %+v: got certificate %s, %d %q", proto, c, answer.Subject(), answer.Status, answer.Body)
				}
				if altSvc := answer.Header.Get("Alt-Svc"); (altSvc == "") != (proto == "h3") {
					t.Errorf("%s %+v: Alt-Svc %q", proto, c, altSvc)
				}
			}
		}
		answer, err := ts.Do(ts.Request{Addr: plain, Plain: true, Host: "www.contoso.test"})
		if err != nil || answer.Body != "iis 1" {
			t.Errorf("the iis site on http: %+v, %v", answer, err)
		}
		answer, err = ts.Do(ts.Request{Addr: plain, Plain: true, Host: "ordinary.test"})
		if err != nil || answer.Status != 308 || !strings.HasPrefix(answer.Header.Get("Location"), "https://ordinary.test") {
			t.Errorf("the redirect of the ordinary site: %+v, %v", answer, err)
		}
		answer, err = ts.Do(ts.Request{Addr: plain, Plain: true, Host: "nobody.test"})
		if err != nil || answer.Status != 400 {
			t.Errorf("an unknown host on http: %+v, %v", answer, err)
		}
	}
	check(t)
	// The apps of a configuration are loaded in random order.
	for i := range 50 {
		err := s.Load(sharedConfig(httpPort, httpsPort, "", fmt.Sprintf("site %d Other {\nserver_bindings :%d:other.test\n}", i+2, httpPort), `
		*.wild.test {
			tls internal
			respond "wild"
		}`))
		if err != nil {
			t.Fatalf("load %d: %v", i, err)
		}
		if i%10 == 0 {
			check(t)
		}
	}
	check(t)
}

func TestSharedPortRefusals(t *testing.T) {
	httpPort, httpsPort, otherPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, "{\n}\nhttp://127.0.0.1:"+fmt.Sprint(ts.FreePort(t)))
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"host claimed by both": {
			sharedConfig(httpPort, httpsPort, "", "", "www.contoso.test {\ntls internal\n}"),
			[]string{"www.contoso.test", `site 1 "Main"`, fmt.Sprintf("*:%d:www.contoso.test", httpsPort), `http server "srv0"`},
		},
		"listener wrappers": {
			sharedConfig(httpPort, httpsPort, "servers {\nlistener_wrappers {\nproxy_protocol\ntls\n}\n}", "", ""),
			[]string{"listener_wrappers", "servers option of iis"},
		},
		"handlers of an ordinary site that hook into connections": {
			sharedConfig(httpPort, httpsPort, "", "", "hooked.test {\ntls internal\ntest_hook\n}"),
			[]string{"handlers that register for its connections", "another port"},
		},
		"handlers of a site that hook into connections": {
			sharedConfig(httpPort, httpsPort, "", fmt.Sprintf("site 2 {\nserver_bindings :%d:hooked.test\ntest_hook\n}", httpPort), ""),
			[]string{"a handler of a site registers for the connections"},
		},
		"settings differ": {
			sharedConfig(httpPort, httpsPort, "servers {\ntimeouts {\nidle 7s\n}\n}", "servers {\ntimeouts {\nidle 8s\n}\n}", ""),
			[]string{`site 1 "Main"`, "http server", "different settings"},
		},
		"http and https": {
			sharedConfig(httpPort, httpsPort, "", fmt.Sprintf("site 2 Plain {\nserver_bindings :%d:plain.test\n}", otherPort),
				fmt.Sprintf("secure.test:%d {\nbind 127.0.0.2\ntls internal\n}", otherPort)),
			[]string{"share an address", `site 2 "Plain"`, "127.0.0.2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Load(c.config)
			if err == nil {
				t.Fatal("not refused")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not mention %q: %v", want, err)
				}
			}
		})
	}
}

// TestSharedPortStaysPrivate: an ordinary site at one address is not to be had
// at another, for TLS and for requests, though the front accepts for both.
func TestSharedPortStaysPrivate(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, sharedConfig(httpPort, httpsPort, "auto_https disable_redirects", "", `
		private.test {
			bind 127.0.0.2
			tls internal
			respond "private"
		}`))
	at := func(ip string) string { return fmt.Sprintf("%s:%d", ip, httpsPort) }
	waitFor(t, "the certificate of the private site", func() bool {
		cert, err := ts.Handshake(at("127.0.0.2"), "private.test")
		return err == nil && cert.VerifyHostname("private.test") == nil
	})
	for _, proto := range []string{"h1", "h2", "h3"} {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.2"), SNI: "private.test", Proto: proto})
		if err != nil || answer.Body != "private" || answer.Subject() != "private.test" {
			t.Errorf("%s: the private site at its address: %+v, %v", proto, answer, err)
		}
		answer, err = ts.Do(ts.Request{Addr: at("127.0.0.1"), SNI: "private.test", Proto: proto})
		if err != nil || answer.Status != 400 || answer.Subject() != "*.contoso.test" {
			t.Errorf("%s: the private site at another address: %+v, %v", proto, answer, err)
		}
		answer, err = ts.Do(ts.Request{Addr: at("127.0.0.1"), SNI: "www.contoso.test", Host: "private.test", Proto: proto})
		if err != nil || answer.Status != 400 {
			t.Errorf("%s: the private site's host at another address: %+v, %v", proto, answer, err)
		}
	}
}

// TestSharedPortAccessLog: each request of an ordinary site is logged once.
func TestSharedPortAccessLog(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, strings.Replace(sharedConfig(httpPort, httpsPort, "", "", ""), `respond "ordinary"`, "respond \"ordinary\"\nlog", 1))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	waitFor(t, "the certificate", func() bool {
		cert, err := ts.Handshake(addr, "ordinary.test")
		return err == nil && cert.VerifyHostname("ordinary.test") == nil
	})
	for _, proto := range []string{"h1", "h2", "h3"} {
		if answer, err := ts.Do(ts.Request{Addr: addr, SNI: "ordinary.test", Path: "/once", Proto: proto}); err != nil || answer.Body != "ordinary" {
			t.Fatalf("%s: %+v, %v", proto, answer, err)
		}
	}
	waitFor(t, "three log lines", func() bool { return len(ts.Logs.Lines("handled request", "/once")) == 3 })
}
