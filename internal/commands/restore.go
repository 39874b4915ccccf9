package commands

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) restoreCommand() *cobra.Command {
	cmd := c.command("restore [--file <path>] [--force]",
		"Writes the saved configuration back from its copy", `
Writes the configuration back that caddy run --resume starts with, from the copy
that the iis app keeps of it. Caddy writes that file in place: if it is killed
while the configuration changes, the file may be empty or cut off, and Caddy then
starts without any site.

A file that is whole, and another configuration than the copy, stays as it is
unless --force is given. The running Caddy is not asked, and not changed.`, `
  $ caddy iis restore
  $ caddy iis restore --file /var/lib/caddy/.config/caddy/autosave.json
  $ caddy run --resume`,
		cobra.NoArgs, cli.ExitFailed,
		func(_ context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			file, _ := cmd.Flags().GetString("file")
			force, _ := cmd.Flags().GetBool("force")
			if file == "" {
				file = caddy.ConfigAutosavePath
			}
			return cli.Restore(e, file, force)
		})
	cmd.Flags().String("file", "", "The file that Caddy saves its configuration in, if it runs as another user")
	cmd.Flags().Bool("force", false, "Replace a file that is whole")
	return cmd
}
