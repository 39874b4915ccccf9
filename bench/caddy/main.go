// Command caddy is Caddy with the caddy-iis module, all standard modules, and
// the app bench_nothing, for comparisons between them.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-iis/caddy-iis"
)

func main() {
	caddycmd.Main()
}
