package caddyiis

import (
	_ "github.com/caddy-iis/caddy-iis/iismanager" // the handler iis_manager
)
