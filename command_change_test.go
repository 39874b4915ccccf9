package caddyiis_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestSetLosesNothing: two writers change one site 200 times, while clients
// request. No request fails, no change is lost, and each is in force when its
// command has returned.
func TestSetLosesNothing(t *testing.T) {
	const changes = 100 // of each writer
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	httpsAddr := fmt.Sprintf("127.0.0.1:%d", httpsPort)

	l := &load{stop: make(chan struct{})}
	for _, proto := range []string{"h1", "h2", "h3"} {
		startLoad(ts.Request{Addr: httpsAddr, SNI: "www.contoso.test", Proto: proto}, 2, true, "main", l)
	}
	startLoad(ts.Request{Addr: httpsAddr, SNI: "www.contoso.test"}, 2, false, "main", l)
	startLoad(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", httpPort), Plain: true, Host: "www.contoso.test"}, 2, false, "main", l)

	run := func(want string, args ...string) bool {
		var out, errOut bytes.Buffer
		if code := caddyiis.RunCommand(&out, &errOut, append(args, "--address", s.AdminAddr())...); code != 0 || out.String() != want {
			t.Errorf("caddy iis %v: exit code %d, %q, %q; want %q", args, code, out.String(), errOut.String(), want)
			return false
		}
		return true
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range changes {
			host := fmt.Sprintf("set%d.contoso.test", i)
			info := fmt.Sprintf(":%d:%s", httpsPort, host)
			if !run(fmt.Sprintf("%-32s: (LIST) %q \n", "SecureBindings", info), "set", "/w3svc/2/SecureBindings", info) {
				return
			}
			if answer, err := ts.Do(ts.Request{Addr: httpsAddr, SNI: host}); err != nil || answer.Body != "changing" {
				t.Errorf("set %d is not in force: %v, %v", i, answer, err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := range changes {
			info := fmt.Sprintf("*:%d:add%d.contoso.test", httpPort, i)
			if !run(fmt.Sprintf("site 2 \"Changing\": added http %s\n", info), "add", "binding", "2", "http", info) {
				return
			}
		}
	})
	wg.Wait()
	l.finish(t)

	site, err := client(t, s).Site(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(site.Bindings) != changes+1 {
		t.Errorf("the site has %d bindings, want %d", len(site.Bindings), changes+1)
	}
	last := fmt.Sprintf("*:%d:set%d.contoso.test", httpsPort, changes-1)
	if !slices.ContainsFunc(site.Bindings, func(b adminapi.Binding) bool { return b.Binding == last }) {
		t.Errorf("the site has not %s, which was set last", last)
	}
}
