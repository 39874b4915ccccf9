package caddyiis

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// exitError is an exit code as an error.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// RunCommand runs caddy iis in this process and returns its exit code.
func RunCommand(out, errOut io.Writer, args ...string) int {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	iis := &cobra.Command{Use: "iis"}
	line := &commandLine{exit: func(cmd *cobra.Command, code int) error {
		cmd.SilenceErrors = true
		return exitError(code)
	}}
	line.build(iis)
	root.AddCommand(iis)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetArgs(append([]string{"iis"}, args...))
	err := root.Execute()
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	return -1 // no command of ours returns such an error
}

// QUICKnowsAddress tells whether HTTP/3 may be on where the local address
// decides.
var QUICKnowsAddress = quicKnowsAddress

// PortsWithQUIC returns the ports on which the app would offer HTTP/3 where QUIC
// does not tell the local address.
func (a *App) PortsWithQUIC() []uint16 {
	endpoints := slices.Clone(a.now().state.Endpoints)
	a.now().withoutQUIC(endpoints)
	var ports []uint16
	for _, e := range endpoints {
		if e.Settings.H3 {
			ports = append(ports, e.Addr.Port())
		}
	}
	return ports
}
