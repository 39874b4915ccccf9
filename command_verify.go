package caddyiis

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) verifyCommand() *cobra.Command {
	cmd := c.command("verify [--server [<local>=]<addr>]... [--against [<local>=]<addr>]... [--parallel <n>] [--timeout <duration>]",
		"Compares what is served with the configuration, or with another server", `
Connects to each endpoint with each name of its bindings, without server name and
with a name that nobody has, makes a request, and compares the certificate and
the answer with what the rules say. Which site has answered cannot be seen from
outside: it is only seen that some site did.

With --against, the same connections are made to another server, such as the IIS
that is to be replaced, and what differs is shown: the certificate's thumbprint,
the chain, the status, the redirect.

Endpoints with an IP address are reached there, the others at the host of the
admin endpoint. --server and --against name other addresses: an address alone is
for the endpoints on all addresses (--against: for all endpoints),
10.0.0.5=192.0.2.7 or 10.0.0.5:443=192.0.2.7:8443 for that endpoint, and
:443=192.0.2.7:8443 for that port.

Exit codes: 0 all as expected, 1 something differs, 3 it could not be found out.`, `
  $ caddy iis verify
  $ caddy iis verify --server 10.0.0.5
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
			v.OnlyDifferences, _ = flags.GetBool("only-differences")
			return cli.Verify(ctx, e, v)
		})
	flags := cmd.Flags()
	flags.StringArray("server", nil, "Where the running Caddy is reached; can be repeated")
	flags.StringArray("against", nil, "Another server to compare with; can be repeated")
	flags.Int("parallel", 8, "How many connections are made at a time")
	flags.Duration("timeout", 10*time.Second, "How long each connection may take")
	flags.String("path", "/", "The path to request")
	flags.Bool("only-differences", false, "Leave out of the table what is as expected")
	return cmd
}
