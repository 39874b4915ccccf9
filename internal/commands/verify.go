package commands

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) verifyCommand() *cobra.Command {
	cmd := c.command("verify [--server [<local>=]<address>]... [--against [<local>=]<address>]... [--paths <file>] [--protocols h1,h2,h3]",
		"Compares what is served with the configuration, or with another server", `
Connects to each endpoint with each name of its bindings, without server name and
with a name that nobody has, makes a request, and judges the certificate and the
answer: as expected; broken, where a visitor gets an error (5xx, a reset, a
certificate that a browser refuses) or nothing; differs, where it is not what the
configuration says; unknown, where it cannot be told whether it is right (4xx).
Which site has answered cannot be seen from outside: it is only seen that some
site did.

With --against, the same connections are made to another server, such as the IIS
that is to be replaced, and what differs is shown: the certificate's thumbprint,
the chain, the status, the redirect.

Endpoints with an IP address are reached there, the others at the host of the
admin endpoint. --server and --against name other addresses: an address alone is
for the endpoints on all addresses (--against: for all endpoints),
10.0.0.5=192.0.2.7 or 10.0.0.5:443=192.0.2.7:8443 for that endpoint, and
:443=192.0.2.7:8443 for that port.

Each line of the file of --paths is [<scheme>://][<host>]/<path> [<status>]: what
is requested besides, and which status is right there.

Ctrl-C shows what was found out so far. With --json, each connection is a line as
soon as it is made, and the last line is the summary.

Exit codes: 0 all as expected, 1 something differs, 2 something is broken, 3 it
could not be found out, 4 nothing worse than unknown.`, `
  $ caddy iis verify
  $ caddy iis verify --server 10.0.0.5 --roots internal --protocols h1,h2,h3
  $ caddy iis verify --paths paths.txt --cert client.pem --key client.key
  $ caddy iis verify --against old-iis.example.com --only-differences
  $ caddy iis verify --against 10.0.0.5=192.0.2.5 --against 10.0.0.6=192.0.2.6 --json`,
		cobra.NoArgs, cli.ExitNotAsked,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			if err := connect(e, cmd); err != nil {
				return err
			}
			var v cli.Verification
			flags := cmd.Flags()
			v.Server, _ = flags.GetStringArray("server")
			v.Against, _ = flags.GetStringArray("against")
			v.Parallel, _ = flags.GetInt("parallel")
			v.Timeout, _ = flags.GetDuration("timeout")
			v.Path, _ = flags.GetString("path")
			v.Paths, _ = flags.GetString("paths")
			v.Protocols, _ = flags.GetStringSlice("protocols")
			v.Roots, _ = flags.GetStringArray("roots")
			v.Cert, _ = flags.GetString("cert")
			v.Key, _ = flags.GetString("key")
			v.GiveUp, _ = flags.GetInt("give-up")
			v.OnlyDifferences, _ = flags.GetBool("only-differences")
			return cli.Verify(ctx, e, v)
		})
	flags := cmd.Flags()
	flags.StringArray("server", nil, "Where the running Caddy is reached; can be repeated")
	flags.StringArray("against", nil, "Another server to compare with; can be repeated")
	flags.Int("parallel", 8, "How many connections are made at a time")
	flags.Duration("timeout", 10*time.Second, "How long each connection may take")
	flags.String("path", "/", "The path to request")
	flags.String("paths", "", "File with paths to request and the status that is right for each")
	flags.StringSlice("protocols", []string{"h1"}, "The protocols to speak on https: h1, h2, h3")
	flags.StringArray("roots", nil, "File with authorities that clients trust beside those of this machine, or internal for Caddy's own; can be repeated")
	flags.String("cert", "", "File with the client certificate to show where one is asked for")
	flags.String("key", "", "File with its private key")
	flags.Int("give-up", 10, "After how many equal failures in a row an address is not tried any more; 0 for never")
	flags.Bool("only-differences", false, "Leave out of the table what is as expected")
	_ = cmd.RegisterFlagCompletionFunc("protocols", cobra.FixedCompletions([]string{"h1", "h2", "h3"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
