package serve_test

import (
	"fmt"
	"testing"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-iis/caddy-iis" // the app
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestWithoutQUICByAddress: where QUIC does not tell the local address, HTTP/3
// is offered only on ports where that address decides nothing.
func TestWithoutQUICByAddress(t *testing.T) {
	if front.QUICKnowsAddress("windows") || !front.QUICKnowsAddress("linux") {
		t.Error("the address is known on Linux and not on Windows")
	}
	one, all := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate any {
				subjects any.test
				issuer internal
			}
			site 1 {
				secure_bindings :%[1]d: 127.0.0.1:%[1]d:www.any.test
				certificate any
			}
			site 2 {
				secure_bindings :%[2]d:
				certificate any
			}
		}
	}`, one, all))
	app, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	if ports := app.PortsWithQUIC(); len(ports) != 1 || int(ports[0]) != all {
		t.Errorf("HTTP/3 on %v, want %d", ports, all)
	}
}
