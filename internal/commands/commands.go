// Package commands has the flags and helps of the caddy iis commands. The work is in
// internal/cli.
package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// Functions are those of the app that commands need without a running one.
type Functions struct {
	Check     CheckFunc
	Caddyfile CaddyfileFunc
}

// New returns the command caddy iis.
func New(app Functions) caddycmd.Command {
	return caddycmd.Command{
		Name:  "iis",
		Usage: "<command> [--address <listen>] [--config <path> [--adapter <name>]] [--json]",
		Short: "Shows and changes the sites of the iis app",
		Long: `
Shows and changes the sites and bindings that the running Caddy serves by the
rules of IIS, explains which certificate and site a client gets, and checks and
verifies them.

Changes are in force when the command returns, and they are made wholly or not
at all. A site of a source that can be written (sites_from) is changed there, and
stays so. Changes of other sites are made to the running configuration. Caddy
saves that; caddy run --resume starts with it (see caddy iis restore), and caddy
reload replaces it by the configuration file again. Sites of a sites file are
shown like the others, and changed in that file.

The commands talk to the admin endpoint at '` + "localhost:2019" + `', unless --address names
another one, or --config a configuration that does.`,
		CobraFunc: func(cmd *cobra.Command) {
			(&commandLine{app: app, exit: exitThroughCaddy}).build(cmd)
			manPages(cmd)
		},
	}
}

// commandLine builds the caddy iis command.
type commandLine struct {
	app Functions

	// exit turns an exit code into the error that a cobra command returns.
	exit func(cmd *cobra.Command, code int) error
}

// task is what a command does.
type task func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error

// commandTimeout bounds a command that asks the admin endpoint. Loading a very
// large configuration takes seconds.
const commandTimeout = 5 * time.Minute

// build adds flags and commands to the iis command.
func (c *commandLine) build(iis *cobra.Command) {
	flags := iis.PersistentFlags()
	flags.String("address", "", "Address of the admin endpoint (if --config is not used)")
	flags.StringP("config", "c", "", "Configuration file that has the address (if --address is not used)")
	flags.StringP("adapter", "a", "", "Name of config adapter to apply (if --config is used)")
	flags.Bool("json", false, "Write JSON")
	iis.Example = `  $ caddy iis list
  $ caddy iis show 1
  $ caddy iis set /w3svc/1/SecureBindings ":443:www.example.com"
  $ caddy iis explain 10.0.0.5:443 --sni www.example.com`
	iis.RunE = func(cmd *cobra.Command, args []string) error { return c.noCommand(cmd, args) }
	c.addShowing(iis)
	c.addAdsutil(iis)
	c.addEditing(iis)
	c.addChecking(iis)
	c.addSources(iis)
	iis.AddCommand(c.endpointCommand(), c.importCommand(), c.configCommand(), c.restoreCommand(), c.managerCommand())
	iis.SetHelpTemplate(iis.HelpTemplate() + footer)
	completeFlags(iis)
}

// noCommand helps with a command that is missing or unknown.
func (c *commandLine) noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2
	message := fmt.Sprintf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return c.finish(cmd, cli.ExitUsage, &cli.ExitError{Code: cli.ExitUsage, Err: errors.New(message + " (" + cmd.CommandPath() + " --help shows all commands)")})
}

// command makes a command. Errors without an exit code of their own end it
// with the code failed.
func (c *commandLine) command(use, short, long, example string, args cobra.PositionalArgs, failed int, do task) *cobra.Command {
	usage := cli.ExitUsage
	if failed == cli.ExitNotAsked {
		usage = failed
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(long), Example: strings.Trim(example, "\n"),
		DisableFlagsInUseLine: true,
		SilenceUsage:          true,
	}
	cmd.Args = func(cmd *cobra.Command, list []string) error {
		if err := args(cmd, list); err != nil {
			return c.finish(cmd, usage, fmt.Errorf("wrong number of arguments: expected %s %s", cmd.Parent().CommandPath(), cmd.Use))
		}
		return nil
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return c.finish(cmd, usage, fmt.Errorf("%w%s: %s --help shows the flags", err, nearFlag(cmd, err), cmd.CommandPath()))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		return c.finish(cmd, failed, do(ctx, newEnv(cmd), cmd, args))
	}
	return cmd
}

// nearFlag asks whether another flag was meant.
func nearFlag(cmd *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if name, ok := near.Word(unknown.GetSpecifiedName(), names); ok {
		return fmt.Sprintf(" (did you mean --%s?)", name)
	}
	return ""
}

// asking is a task that needs the running Caddy.
func asking(do task) task {
	return func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
		if err := connect(e, cmd); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		return do(ctx, e, cmd, args)
	}
}

// connect finds the admin endpoint by the flags.
func connect(e *cli.Env, cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	var raw []byte
	var err error
	if config := flags.String("config"); config != "" && flags.String("address") == "" {
		Quietly(func() { raw, _, _, err = caddycmd.LoadConfig(config, flags.String("adapter")) })
		if err != nil {
			return fmt.Errorf("cannot tell the address of the admin endpoint: %w", err)
		}
		if adminOff(raw) {
			return fmt.Errorf("%s says admin off: without admin endpoint nobody can ask or change this Caddy (take admin off out, and restart it; caddy iis check --config looks at the file alone)", config)
		}
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), raw, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return fmt.Errorf("cannot tell the address of the admin endpoint: %w", err)
	}
	e.Client, err = adminapi.New(address)
	return err
}

// adminOff tells whether a configuration turns the admin endpoint off.
func adminOff(raw []byte) bool {
	var cfg struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
	}
	return json.Unmarshal(raw, &cfg) == nil && cfg.Admin.Disabled
}

// Quietly does something without what Caddy logs about that, which would stand before
// the answer.
func Quietly(do func()) {
	_, before, lines := caddy.BufferedLog()
	defer func() {
		lines.FlushTo(zap.NewNop())
		caddy.UnbufferDefaultLogger(before)
	}()
	do()
}

// newEnv looks at what the command writes to.
func newEnv(cmd *cobra.Command) *cli.Env {
	e := &cli.Env{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
	e.JSON, _ = cmd.Flags().GetBool("json")
	if file, ok := e.Out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		e.Color = os.Getenv("NO_COLOR") == "" && colorTerminal(os.Getenv("TERM"))
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			e.Width = width
		}
	}
	if file, ok := e.Err.(*os.File); ok {
		e.Progress = term.IsTerminal(int(file.Fd()))
	}
	return e
}

// colorTerminal tells whether a terminal of this name has colours. On Windows,
// a console has none unless somebody has turned them on, and one with a name
// has them.
func colorTerminal(name string) bool {
	if runtime.GOOS == "windows" {
		return name != "" && name != "dumb"
	}
	return name != "dumb"
}

// finish says what went wrong and ends the command with its exit code.
func (c *commandLine) finish(cmd *cobra.Command, failed int, err error) error {
	if err == nil {
		return nil
	}
	code := failed
	if with, ok := errors.AsType[*cli.ExitError](err); ok {
		code, err = with.Code, with.Err
	}
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "Error: %v\n", err)
	}
	return c.exit(cmd, code)
}

// errExit ends the process with exit code 1.
var errExit = errors.New("exit code 1")

// exitThroughCaddy has Caddy's main function exit with a code. All has been
// said by now.
func exitThroughCaddy(cmd *cobra.Command, code int) error {
	cmd.SilenceErrors = true
	switch code {
	case 0:
		return nil
	case 1:
		return errExit // for Caddy, 1 is any error, and no error of its own
	}
	quietly := func(caddycmd.Flags) (int, error) { return code, nil }
	return caddycmd.WrapCommandFuncForCobra(quietly)(cmd, nil)
}
