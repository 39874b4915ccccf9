package commands

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/iismanager"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) managerCommand() *cobra.Command {
	cmd := c.command("manager [--port <n>] [--read-only]", "Serves the manager page to a browser on this machine", `
Serves the page with sites, bindings and certificates on a loopback port, over the
admin endpoint: no configuration is needed for it. The address that is printed works
once, for one browser on this machine. The command serves until it is interrupted.`, `
  $ caddy iis manager
  $ caddy iis manager --port 8090 --read-only`,
		cobra.NoArgs, cli.ExitFailed,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			if err := connect(e, cmd); err != nil {
				return err
			}
			port, _ := cmd.Flags().GetUint16("port")
			readOnly, _ := cmd.Flags().GetBool("read-only")
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			return serveManager(ctx, e, port, readOnly)
		})
	cmd.Flags().Uint16("port", 0, "The port on 127.0.0.1 (default: one that is free)")
	cmd.Flags().Bool("read-only", false, "Refuse changes")
	return cmd
}

// serveManager serves the page until the context ends.
func serveManager(ctx context.Context, e *cli.Env, port uint16, readOnly bool) error {
	if _, err := e.Client.WritableSources(ctx); err != nil { // whether anybody answers
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("the page cannot be served: %w: --port names another port", err)
	}
	local := iismanager.NewLocal(e.Client, caddy.Log().Named("iis.manager"), readOnly)
	server := &http.Server{Handler: local, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	fmt.Fprintf(e.Out, "http://%s%s\n", listener.Addr(), local.Path())
	fmt.Fprintln(e.Err, "Open this address in a browser on this machine. It works once. Ctrl+C ends the page.")
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = errors.Join(server.Close(), ignoreClosed(<-ended))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
