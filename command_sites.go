package caddyiis

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// addSources adds the commands for sources of sites.
func (c *commandLine) addSources(iis *cobra.Command) {
	group := &cobra.Command{Use: "sites", Short: "Exports, imports and reverts the sites of a source"}
	group.RunE = func(cmd *cobra.Command, args []string) error { return c.noCommand(cmd, args) }
	group.AddCommand(c.exportSitesCommand(), c.importSitesCommand(), c.logSitesCommand(), c.revertSitesCommand())
	iis.AddCommand(group)
}

func sourceFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("source", "", "The name of the source (default: the first that can be written)")
	return cmd
}

func (c *commandLine) exportSitesCommand() *cobra.Command {
	return sourceFlag(c.command("export [--source <name>]", "Writes the sites of a source", `
Writes the sites of a source as they are at this moment, one JSON object on each
line, as a sites file has them.`, `
  $ caddy iis sites export > sites.jsonl`,
		cobra.NoArgs, cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			source, _ := cmd.Flags().GetString("source")
			return cli.ExportSites(ctx, e, source)
		})))
}

func (c *commandLine) importSitesCommand() *cobra.Command {
	return sourceFlag(c.command("import <file> [--source <name>]", "Puts the sites of a file into a source", `
Puts the lines of a sites file into a source, - is standard input. Sites that are
there are replaced, others stay. Up to 10,000 lines are one step, which is made
wholly or not at all; a repeat after an error goes on where it has ended.`, `
  $ caddy iis sites import sites.jsonl`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			source, _ := cmd.Flags().GetString("source")
			var lines io.Reader = os.Stdin
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				lines = file
			}
			return cli.ImportSites(ctx, e, source, lines)
		})))
}

func (c *commandLine) logSitesCommand() *cobra.Command {
	cmd := sourceFlag(c.command("log [--source <name>] [--limit <n>]", "Shows what was written to a source", `
Shows what was written to a source: the revision, when, by whom and what, the
newest first.`, `
  $ caddy iis sites log`,
		cobra.NoArgs, cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			source, _ := cmd.Flags().GetString("source")
			limit, _ := cmd.Flags().GetInt("limit")
			return cli.LogSites(ctx, e, source, limit)
		})))
	cmd.Flags().Int("limit", 20, "How many revisions, up to 1000")
	return cmd
}

func (c *commandLine) revertSitesCommand() *cobra.Command {
	return sourceFlag(c.command("revert <revision> [--source <name>]", "Takes a revision of a source back", `
Makes the sites that a revision has changed as they were before it. That is a
change like others: it is refused if it contradicts what came later, and can be
taken back itself.`, `
  $ caddy iis sites log
  $ caddy iis sites revert 17`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			source, _ := cmd.Flags().GetString("source")
			revision, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("%q is no revision: caddy iis sites log shows them", args[0])}
			}
			return cli.RevertSites(ctx, e, source, revision)
		})))
}
