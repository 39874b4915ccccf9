package caddyiis_test

import (
	"fmt"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestRequireSSLExceptChallenges: tokens reach the site over http where its
// administrator says so, and nothing else does.
func TestRequireSSLExceptChallenges(t *testing.T) {
	plain, secure := ts.FreePort(t), ts.FreePort(t)
	site := func(id int, host, words string) string {
		return fmt.Sprintf("site %d S {\nserver_bindings :%d:%s\nsecure_bindings :%d:%[3]s\ncertificate c.test\n%[5]s\nrespond \"site\"\n}\n", id, plain, host, secure, words)
	}
	s := startIIS(t, certificates(t, "c.test")+
		site(1, "on.test", "require_ssl except_acme_challenges")+
		site(2, "redirect.test", "require_ssl redirect except_acme_challenges")+
		site(3, "never.test", "require_ssl")+
		site(4, "offline.test", "require_ssl except_acme_challenges\noffline"))
	const token = "/.well-known/acme-challenge/abc-DEF_123"
	for _, c := range []struct {
		host, path string
		status     int
	}{
		{"on.test", token, 200},
		{"redirect.test", token, 200},
		{"never.test", token, 403},
		{"offline.test", token, 503},
		{"on.test", "/", 403},
		{"on.test", "/.well-known/acme-challenge/", 403},
		{"on.test", "/.well-known/acme-challenge/../secret", 403},
		{"on.test", "/.well-known/acme-challenge/%2e%2e%2fsecret", 403},
		{"on.test", "/.well-known/acme-challenge/a/b", 403},
		{"on.test", "/.well-known/acme-challenge/a%2db", 403},
		{"on.test", "/.well-known/acme-challenge/a.b", 403},
		{"on.test", "//.well-known/acme-challenge/abc", 403},
		{"on.test", "/.WELL-KNOWN/acme-challenge/abc", 403},
		{"redirect.test", "/x" + token, 301},
	} {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", plain), Host: c.host, Plain: true, Path: c.path})
		if err != nil || answer.Status != c.status {
			t.Errorf("%s%s: got %v, %v; want %d", c.host, c.path, answer, err, c.status)
		}
	}
	refusedLoad(t, s, "without require_ssl", iisConfig(certificates(t, "c.test")+fmt.Sprintf("site 1 A {\nserver_bindings :%d:a.test\nrespond a\n}\n", plain)+
		"site 2 B {\n"+fmt.Sprintf("server_bindings :%d:b.test\n", plain)+"require_ssl nonsense\n}\n"), "unknown word")
}
