package sites

import (
	"fmt"
	"path/filepath"
)

// Place says where a server listens and keeps its files.
type Place struct {
	Port  int    // on 127.0.0.1
	Admin int    // port of Caddy's admin endpoint, on 127.0.0.1
	Dir   string // for what the server writes
}

// Addr is the address that the server listens on.
func (p Place) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.Port) }

// object is a JSON object.
type object = map[string]any

// CaddyConfig is a configuration of Caddy with nothing but what keeps it off
// the machine's own files, and some apps.
func (p Place) CaddyConfig(apps map[string]any) any {
	return object{
		"admin":   object{"listen": fmt.Sprintf("127.0.0.1:%d", p.Admin), "config": object{"persist": false}},
		"storage": object{"module": "file_system", "root": filepath.Join(p.Dir, "storage")},
		"apps":    apps,
	}
}

// protocols are those of all Caddys: none of the other servers has HTTP/3.
var protocols = []string{"h1", "h2"}
