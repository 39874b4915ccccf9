//go:build unix

package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestRotation: a password that is in a file, by whichever way, may become another one
// while the table is open. Whoever connects reads it, to follow and to write.
func TestRotation(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, `create role node login in role iis_node;
		do $$ begin execute format('copy (select unnest(array[%L, %L])) to %L',
			'host all node 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust', current_setting('hba_file')); end $$;
		select pg_reload_conf()`)
	refused := func() bool {
		conn, err := pgx.Connect(t.Context(), server.Connection("node", "sites"))
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err != nil
	}
	for !refused() { // the server takes a moment to ask for passwords
	}
	file := filepath.Join(t.TempDir(), "secret")
	for name, way := range map[string]struct{ connection, contents string }{
		"password file": {fmt.Sprintf("postgres://node@127.0.0.1:%d/sites?sslmode=disable&passfile=%s", server.Port(), file), "*:*:*:node:%s\n"},
		"service file":  {"service=sites servicefile=" + file, fmt.Sprintf("[sites]\nhost=127.0.0.1\nport=%d\nuser=node\ndbname=sites\nsslmode=disable\npassword=%%s\n", server.Port())},
		"placeholder":   {fmt.Sprintf("postgres://node:{file.%s}@127.0.0.1:%d/sites?sslmode=disable", file, server.Port()), "%s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			rotate := func(password string) {
				server.Exec(connection, fmt.Sprintf("alter role node password '%s'", password))
				if err := os.WriteFile(file, fmt.Appendf(nil, way.contents, password), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rotate("first")
			tab := openTable(t, way.connection)
			rotate("second")
			catchUp(t, tab)
			if _, err := tab.Write(sites.Transaction{Changes: []sites.Change{change(1, fmt.Sprintf(`{"name":%q}`, name))}}); err != nil {
				t.Error(err)
			}
		})
	}
}
