package caddyiis_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestAddressArrives: a binding to an address that this machine does not have is served
// without a load when the address comes, over every protocol, and the finding goes.
func TestAddressArrives(t *testing.T) {
	if !needs.OwnNetwork(t) {
		return
	}
	const address = "203.0.113.7"
	port := ts.FreePort(t)
	s := startIIS(t, fmt.Sprintf(`
		certificate arriving {
			subjects arriving.test
			issuer internal
		}
		site 1 {
			secure_bindings %s:%d:
			certificate arriving
			respond arrived
		}`, address, port))
	missing := func() bool {
		for _, f := range findings(t, s) {
			if f.Code == "address-not-here" && strings.Contains(f.Message, address) {
				return true
			}
		}
		return false
	}
	if !missing() {
		t.Error("no finding while the address is away")
	}
	ask := func(proto string) (*ts.Answer, error) {
		return ts.Do(ts.Request{Addr: at(address, port), SNI: "arriving.test", Proto: proto})
	}
	if answer, err := ask("h1"); err == nil {
		t.Errorf("an answer while the address is away: %+v", answer)
	}
	needs.AddAddress(t, netip.MustParseAddr(address))
	for _, proto := range protocols {
		if answer, err := ask(proto); err != nil || answer.Body != "arrived" {
			t.Errorf("%s: %+v, %v", proto, answer, err)
		}
	}
	if missing() {
		t.Error("a finding although the address is here")
	}
}
