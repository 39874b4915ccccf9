package commands

import (
	"strings"
	"sync"

	"github.com/spf13/cobra"
)

// footer ends each help, in the place of Caddy's, whose page knows nothing of iis.
const footer = `
All commands, with examples and exit codes:
https://github.com/caddy-iis/caddy-iis/blob/main/docs/commands.md
`

// manPages has caddy manpage show what commands take. It makes Markdown of their helps, in
// which <name> is a tag that nobody sees.
func manPages(iis *cobra.Command) {
	cobra.OnInitialize(func() { // of all commands of the process: tests have several at a time
		initializing.Lock()
		defer initializing.Unlock()
		for _, cmd := range iis.Root().Commands() {
			if cmd.Name() == "manpage" && cmd.CalledAs() != "" {
				escape(iis, strings.NewReplacer("<", `\<`, ">", `\>`, "*", `\*`))
			}
		}
	})
}

var initializing sync.Mutex

func escape(cmd *cobra.Command, markdown *strings.Replacer) {
	cmd.Use, cmd.Long = markdown.Replace(cmd.Use), markdown.Replace(cmd.Long)
	for _, sub := range cmd.Commands() {
		escape(sub, markdown)
	}
}
