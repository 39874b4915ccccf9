package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// CaddyfileFunc writes the iis app of a configuration as the Caddyfile that will be a file.
type CaddyfileFunc func(config json.RawMessage, file string) (cli.Caddyfile, error)

func (c *commandLine) configCommand() *cobra.Command {
	return outputFlags(c.command("config [--config <path> [--adapter <name>]] [--output <file> [--force]]",
		"Writes the configuration of the sites as a Caddyfile", `
Writes the iis app of the running configuration or, with --config, of a
configuration file as a Caddyfile that adapts to the same configuration, so that
what commands have changed can be kept. What has no words is in it as JSON. The
result is adapted and compared; where it is not the same, nothing is written, and
the exit code is 1.

Only the iis app is in it: what else the configuration has is named on the
standard error. Comments, imports and environment variables of an earlier
Caddyfile are not in a configuration any more. Passwords and keys that stand in
it are written as they are.`, `
  $ caddy iis config
  $ caddy iis config --output Caddyfile.new
  $ caddy iis config --config caddy.json --output Caddyfile`,
		cobra.NoArgs, cli.ExitFailed,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			to, err := output(cmd)
			if err != nil {
				return err
			}
			raw, err := c.configuration(ctx, e, cmd)
			if err != nil {
				return err
			}
			// File servers hide the Caddyfile that they come from. Where this one will be is
			// known with --output alone: else the one before stays hidden.
			file := cmp.Or(to.File, "-")
			var written cli.Caddyfile
			Quietly(func() { written, err = c.app.Caddyfile(raw, file) }) // each directive is tried, and warned of
			if err != nil {
				return err
			}
			return cli.WriteCaddyfile(e, written, to)
		}))
}

// configuration is that of a file, or the running one.
func (c *commandLine) configuration(ctx context.Context, e *cli.Env, cmd *cobra.Command) (raw json.RawMessage, err error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	if config := flags.String("config"); config != "" {
		if _, err := os.Stat(config); config != "-" && err != nil {
			return nil, err
		}
		Quietly(func() { raw, _, _, err = caddycmd.LoadConfig(config, flags.String("adapter")) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config, err)
		}
		return raw, nil
	}
	err = asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, _ []string) error {
		raw, err = e.Client.Config(ctx)
		return err
	})(ctx, e, cmd, nil)
	return raw, err
}
