package caddyiis

import (
	"io"

	"github.com/caddy-iis/caddy-iis/internal/commands"
	"github.com/caddy-iis/caddy-iis/internal/inspect"
)

// RunCommand runs caddy iis in this process and returns its exit code.
func RunCommand(out, errOut io.Writer, args ...string) int {
	return commands.Run(inspect.Functions, out, errOut, args...)
}
