package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-iis/caddy-iis/sites"
)

// format is the version of the schema.
const format = 1

var (
	//go:embed schema.sql
	schemaSQL string

	//go:embed grants.sql
	grantsSQL string
)

// rolesSQL makes the roles, which belong to the cluster: another database of it may
// have them already.
const rolesSQL = `do $$ begin
  if not exists (select from pg_roles where rolname = 'iis_panel') then create role iis_panel; end if;
  if not exists (select from pg_roles where rolname = 'iis_node') then create role iis_node; end if; end $$;
`

// Schema returns the statements that make the schema, the roles and their rights.
func Schema() string { return "begin;\n" + schemaSQL + rolesSQL + grantsSQL + "commit;\n" }

// Made is what Init has done.
type Made struct {
	Schema bool   `json:"schema"`          // it was not there
	Roles  string `json:"roles,omitempty"` // what is left for somebody who may make roles; empty if nothing is
}

// Init makes the schema where there is none. The schema of this version stays as it is.
func Init(ctx context.Context, connection string) (made Made, err error) {
	config, err := parse(connection)
	if err != nil {
		return made, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return made, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	switch version, err := versionOf(ctx, conn); {
	case errors.Is(err, sites.ErrSchema):
		if _, err := conn.Exec(ctx, "begin;\n"+schemaSQL+"commit;"); err != nil {
			return made, fmt.Errorf("making the schema: %w", err)
		}
		made.Schema = true
	case err != nil:
		return made, err
	case version != format:
		return made, fmt.Errorf("the schema has format %d, and this version knows %d: %w", version, format, sites.ErrFormat)
	}
	_, err = conn.Exec(ctx, "begin;\n"+rolesSQL+grantsSQL+"commit;")
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == codeNoPrivilege {
		made.Roles, err = rolesSQL+grantsSQL, nil
	}
	return made, err
}

// versionOf returns the format of the schema.
func versionOf(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	err = conn.QueryRow(ctx, "select format from iis.head").Scan(&version)
	return version, missingSchema(err)
}

// missingSchema says of an error that the schema is missing, if that is it.
func missingSchema(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && (refused.Code == codeNoTable || refused.Code == codeNoSchema) {
		return fmt.Errorf("%w (caddy iis sites init postgres makes it): %w", sites.ErrSchema, err)
	}
	if ok && refused.Code == codeNoPrivilege {
		return fmt.Errorf("the role has too few rights (grant iis_node to it): %w", err)
	}
	return err
}

// The codes of errors that mean something here.
const (
	codeNoTable       = "42P01"
	codeNoSchema      = "3F000"
	codeNoPrivilege   = "42501"
	codeReadOnly      = "25006"
	codeLockTimeout   = "55P03"
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeUnique        = "23505"
	codeCheck         = "23514"
	codeConnection    = "08" // and more: poolers have such errors
)
