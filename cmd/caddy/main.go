// Command caddy is Caddy with the caddy-iis module and all standard modules:
// the program that xcaddy builds from this module.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-iis/caddy-iis"
)

func main() {
	caddycmd.Main()
}
