package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
	"github.com/caddy-iis/caddy-iis/sites"
)

func init() {
	caddy.RegisterModule(new(Postgres))
}

// Postgres keeps sites in a PostgreSQL database, which any number of nodes serve. Other
// programs write them by plain SQL. A role that may only read is enough to serve.
type Postgres struct {
	sites.CommonSettings

	// How the database is reached: a URL or key=value pairs, as libpq has them, with
	// service files, password files and the environment. Placeholders such as
	// {env.DATABASE} are replaced.
	Connection string `json:"connection"`

	// "off" does without LISTEN, for poolers that give each transaction another
	// connection: the database is asked each second. Default: notified, and asked each
	// five seconds.
	Notify string `json:"notify,omitempty"`

	address string
}

// CaddyModule returns the Caddy module information.
func (*Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.sites.postgres", New: func() caddy.Module { return new(Postgres) }}
}

// Provision understands the settings. It connects to nothing.
func (p *Postgres) Provision(caddy.Context) error {
	if p.Notify != "" && p.Notify != "off" {
		return fmt.Errorf("notify: %q is not off", p.Notify)
	}
	config, err := understand(p.Connection)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(config.ConnString() + " " + p.Notify))
	p.address = place(config) + "#" + hex.EncodeToString(sum[:8])
	return p.Check("postgres")
}

// UnmarshalCaddyfile sets up the source. Syntax:
//
//	postgres <connection string> {
//		notify off
//		... and the words that all sources have
//	}
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the kind
	if !d.AllArgs(&p.Connection) {
		return d.ArgErr()
	}
	return p.UnmarshalBlock(d, []string{"notify"}, func(string) error {
		if !d.AllArgs(&p.Notify) || p.Notify != "off" {
			return d.Err("notify: off is what can be said")
		}
		return nil
	})
}

// understand reads a connection string of a configuration.
func understand(text string) (*pgx.ConnConfig, error) {
	connection, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return nil, err
	}
	if connection == "" {
		return nil, errors.New("postgres needs to know how the database is reached, such as postgres://iis@db.example.com/sites")
	}
	return parse(connection)
}

// parse reads a connection string. Its errors, and those of connections later, have
// nothing of it that may be a password.
func parse(connection string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(connection)
	if err != nil {
		return nil, fmt.Errorf("the connection string of postgres: %s", withoutConnection(err))
	}
	// A password with such characters as they are ends too early, and its rest is taken
	// for a host or a database, whose names errors tell.
	names := []string{config.Host, config.Database}
	for _, other := range config.Fallbacks {
		names = append(names, other.Host)
	}
	if strings.Contains(connection, "://") && strings.Contains(strings.Join(names, " "), "@") {
		return nil, errors.New("the connection string of postgres: @, / and : in a user or a password are written %40, %2F and %3A")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = (&net.Dialer{KeepAlive: keepAlive, Timeout: config.ConnectTimeout}).DialContext
	config.RuntimeParams["application_name"] = "caddy-iis"
	config.OnNotice = noteWarning
	return config, nil
}

// quoted is what may be a part of a connection string.
var quoted = regexp.MustCompile(`(?s)".*"`)

// withoutConnection is the error about a connection string, without what it has of it.
func withoutConnection(err error) string {
	if wrong, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		wrong.ConnString = ""
	}
	return quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "cannot parse ``: "), "(not shown)")
}

// place names the database in messages and in the name of the local copy, without the
// password.
func place(config *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres:%s@%s:%d/%s", config.User, config.Host, config.Port, config.Database)
}

// Address tells databases apart, and what they are opened with: with another connection
// string it is opened anew. Files that this names are read for each connection.
func (p *Postgres) Address() string { return p.address }

const (
	connectTimeout = 5 * time.Second
	keepAlive      = 10 * time.Second
	writers        = 4 // connections that write
)

// Open makes the table, with the local copy that there may be. If the database cannot be
// reached in time there is a table nevertheless: Follow goes on.
func (p *Postgres) Open(ctx context.Context) (sites.Table, error) {
	return open(ctx, p.Connection, p.Notify == "off", filepath.Join(caddy.AppDataDir(), "iis", "sites"))
}

func open(ctx context.Context, connection string, quiet bool, folder string) (*table, error) {
	t := &table{
		connection: connection, quiet: quiet, wake: make(chan struct{}, 1), rows: make(map[uint32]sites.Row),
		dirty: make(chan struct{}, 1), closing: make(chan struct{}), saver: make(chan struct{}),
	}
	config, err := t.settings()
	if err != nil {
		return nil, err
	}
	t.place = place(config)
	t.path = snapshotPath(folder, t.place)
	pool, err := pgxpool.ParseConfig(config.ConnString())
	if err != nil {
		return nil, err
	}
	pool.ConnConfig = config
	pool.BeforeConnect = func(_ context.Context, config *pgx.ConnConfig) error {
		now, err := t.settings()
		if err == nil {
			*config = *now
		}
		return err
	}
	pool.MinConns, pool.MaxConns = 0, writers
	if t.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), pool); err != nil {
		return nil, err
	}
	t.loadSnapshot()
	timeout := openTimeout
	if t.head.Source != "" {
		timeout = openTimeoutCopy
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := t.load(ctx); err != nil {
		t.failed(err)
	}
	go t.keepSnapshot()
	return t, nil
}

// settings are how the database is reached at this moment: password files, service files,
// certificates and what placeholders stand for may be others than before.
func (t *table) settings() (*pgx.ConnConfig, error) {
	config, err := understand(t.connection)
	if err == nil && t.quiet {
		// Such poolers know no statements that outlive a transaction.
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	}
	return config, err
}

// How long a start waits for the database, without a local copy and with one.
const (
	openTimeout     = 10 * time.Second
	openTimeoutCopy = 2 * time.Second
)

// Interface guards
var (
	_ sites.Source          = (*Postgres)(nil)
	_ caddy.Provisioner     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler = (*Postgres)(nil)
)

// MarshalCaddyfile implements caddytext.Marshaler.
func (p *Postgres) MarshalCaddyfile() *caddytext.Line {
	l := caddytext.New(p.Connection).Add(p.MarshalBlock()...)
	if p.Notify != "" {
		l.Add(caddytext.New("notify", p.Notify))
	}
	return l
}
