package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// addSources adds the commands for sources of sites.
func (c *commandLine) addSources(iis *cobra.Command) {
	group := &cobra.Command{Use: "sites", Short: "Exports, imports, reverts and backs up the sites of a source, makes its database"}
	group.RunE = func(cmd *cobra.Command, args []string) error { return c.noCommand(cmd, args) }
	group.AddCommand(c.exportSitesCommand(), c.backupSitesCommand(), c.importSitesCommand(), c.logSitesCommand(), c.revertSitesCommand(), c.acceptSitesCommand(), c.initSitesCommand())
	iis.AddCommand(group)
}

func sourceFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("source", "", "The name of the source (default: the first that can be written)")
	return cmd
}

// storeFlags are those of commands that work without Caddy, too.
func storeFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("file", "", "The file of a source bolt, in place of the running Caddy")
	return sourceFlag(cmd)
}

// storeTask is what a command does with a source.
type storeTask func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, args []string) error

// onStore does it with a source of the running Caddy or, with --file, with the file of one.
func onStore(open func(name string) (*cli.SitesFile, error), do storeTask) task {
	return func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) (err error) {
		flags := cmd.Flags()
		name, _ := flags.GetString("file")
		if !flags.Changed("file") {
			return asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
				return do(ctx, e, e.Client, cmd, args)
			})(ctx, e, cmd, args)
		}
		for _, other := range []string{"source", "address", "config"} {
			if flags.Changed(other) {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--file and --%s exclude each other: with --file no Caddy is asked", other)}
			}
		}
		file, err := open(name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		return do(ctx, e, file, cmd, args)
	}
}

func (c *commandLine) exportSitesCommand() *cobra.Command {
	return outputFlags(storeFlags(c.command("export [--source <name>|--file <file>] [--output <file> [--force]]", "Writes the sites of a source", `
Writes the sites of a source as they are at this moment, one JSON object on each
line, as a sites file has them. With --file it reads the file of a source bolt
itself, also while Caddy has it open. --output writes a file that is whole or, if
something fails, as it was.`, `
  $ caddy iis sites export --output sites.jsonl
  $ caddy iis sites export --file sites.db --output sites.jsonl`,
		cobra.NoArgs, cli.ExitFailed,
		onStore(cli.ReadSitesFile, func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, _ []string) error {
			to, err := output(cmd)
			if err != nil {
				return err
			}
			source, _ := cmd.Flags().GetString("source")
			return cli.ExportSites(ctx, e, store, source, to)
		}))))
}

func (c *commandLine) backupSitesCommand() *cobra.Command {
	return outputFlags(storeFlags(c.command("backup [--source <name>|--file <file>] --output <file> [--force]", "Copies the file of a source", `
Copies the file of a source bolt as it is at this moment, while Caddy serves: the
sites, the certificates with their private keys, and the log. --output writes a file
that is whole or, if something fails, as it was, for its owner alone. With --file it
copies a file itself, also while Caddy has it open; that is the way back as well.
Private keys that are not encrypted (plain_keys) are given out with --file only.`, `
  $ caddy iis sites backup --output sites.db
  $ caddy iis sites backup --file sites.db --force --output /var/lib/caddy/.local/share/caddy/iis/sites.db`,
		cobra.NoArgs, cli.ExitFailed,
		onStore(cli.ReadSitesFile, func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, _ []string) error {
			to, err := output(cmd)
			if err == nil && to.File == "" {
				err = &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("--output is missing: there are private keys in a backup, and a file that the shell makes may be for others to read")}
			}
			if err != nil {
				return err
			}
			source, _ := cmd.Flags().GetString("source")
			return cli.BackupSites(ctx, e, store, source, to)
		}))))
}

func (c *commandLine) importSitesCommand() *cobra.Command {
	return storeFlags(c.command("import <file> [--source <name>|--file <file>]", "Puts the sites of a file into a source", `
Puts the lines of a sites file into a source, - is standard input. Sites that are
there are replaced, others stay. Up to 10,000 lines are one step, which is made
wholly or not at all; a repeat after an error goes on where it has ended. With
--file it writes the file of a source bolt while no Caddy runs, and makes it if it
is not there. Nobody judges these sites then: when Caddy starts, it holds back those
that it cannot serve.`, `
  $ caddy iis sites import sites.jsonl
  $ caddy iis sites import sites.jsonl --file sites.db`,
		cobra.ExactArgs(1), cli.ExitFailed,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			var lines io.Reader = os.Stdin
			if args[0] != "-" { // before a file is made for what may not be there
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				lines = file
			}
			return onStore(makeSitesFile, func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, _ []string) error {
				source, _ := cmd.Flags().GetString("source")
				return cli.ImportSites(ctx, e, store, source, lines)
			})(ctx, e, cmd, args)
		}))
}

// makeSitesFile opens a file to write it, which may be a new one.
func makeSitesFile(name string) (*cli.SitesFile, error) { return cli.OpenSitesFile(name, true) }

// changeSitesFile opens a file that is there.
func changeSitesFile(name string) (*cli.SitesFile, error) { return cli.OpenSitesFile(name, false) }

func (c *commandLine) logSitesCommand() *cobra.Command {
	cmd := storeFlags(c.command("log [--source <name>|--file <file>] [--limit <n>]", "Shows what was written to a source", `
Shows what was written to a source: the revision, when, by whom and what, the
newest first. With --file it reads the file of a source bolt itself.`, `
  $ caddy iis sites log`,
		cobra.NoArgs, cli.ExitFailed,
		onStore(cli.ReadSitesFile, func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, _ []string) error {
			source, _ := cmd.Flags().GetString("source")
			limit, err := pageLimit(cmd)
			if err != nil {
				return err
			}
			return cli.LogSites(ctx, e, store, source, limit)
		})))
	cmd.Flags().Int("limit", 20, "How many revisions, up to 1000")
	return cmd
}

func (c *commandLine) revertSitesCommand() *cobra.Command {
	return storeFlags(c.command("revert <revision> [--source <name>|--file <file>]", "Takes a revision of a source back", `
Makes the sites that a revision has changed as they were before it. That is a
change like others: it is refused if it contradicts what came later, and can be
taken back itself. With --file it writes the file of a source bolt while no Caddy
runs, and nobody judges it.`, `
  $ caddy iis sites log
  $ caddy iis sites revert 17`,
		cobra.ExactArgs(1), cli.ExitFailed,
		onStore(changeSitesFile, func(ctx context.Context, e *cli.Env, store cli.SiteStore, cmd *cobra.Command, args []string) error {
			source, _ := cmd.Flags().GetString("source")
			revision, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("%q is no revision: caddy iis sites log shows them", args[0])}
			}
			return cli.RevertSites(ctx, e, store, source, revision)
		})))
}

func (c *commandLine) acceptSitesCommand() *cobra.Command {
	return sourceFlag(c.command("accept [--source <name>]", "Takes a source as it is that has lost many sites", `
After a restore or a fail-over a database may be another one than before, or have
lost what it had. If many sites would go with that, they are served on, and nothing
is written, until this command or a load of the configuration takes the database as
it is.`, `
  $ caddy iis sites accept`,
		cobra.NoArgs, cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			source, _ := cmd.Flags().GetString("source")
			return cli.AcceptSource(ctx, e, source)
		})))
}

func (c *commandLine) initSitesCommand() *cobra.Command {
	cmd := c.command("init postgres <connection string> [--print]", "Makes the schema for sites in a PostgreSQL database", `
Makes the schema iis in a database, with the roles iis_panel and iis_node. Where it is
there already, nothing is changed. No Caddy need run. With --print, the statements
are printed, and no database is needed.`, `
  $ caddy iis sites init postgres postgres://admin@db.example.com/sites
  $ caddy iis sites init postgres --print | psql sites`,
		cobra.RangeArgs(1, 2), cli.ExitFailed,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			show, _ := cmd.Flags().GetBool("print")
			if args[0] != "postgres" || show == (len(args) == 2) {
				return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("expected: init postgres <connection string>, or init postgres --print")}
			}
			ctx, cancel := context.WithTimeout(ctx, commandTimeout)
			defer cancel()
			return cli.InitDatabase(ctx, e, args[len(args)-1], show)
		})
	cmd.Flags().Bool("print", false, "Print the statements, and do nothing")
	return cmd
}
