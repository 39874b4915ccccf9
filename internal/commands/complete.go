package commands

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// completion lists what can stand at a place of a command line, each with what it is.
type completion func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing asks the running Caddy, whose answer nobody waits long for. Without one, there
// is nothing to choose from.
func completing(list func(ctx context.Context, e *cli.Env, args []string, begun string) iter.Seq[cobra.Completion]) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		e := newEnv(cmd)
		if connect(e, cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		var fitting []cobra.Completion
		for c := range list(ctx, e, args, begun) {
			if len(c) >= len(begun) && strings.EqualFold(c[:len(begun)], begun) {
				fitting = append(fitting, c)
			}
			if len(fitting) == adminapi.DefaultLimit {
				break // nobody reads more, and there may be very many
			}
		}
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument only.
func first(list func(context.Context, *cli.Env, []string, string) iter.Seq[cobra.Completion]) completion {
	return completing(func(ctx context.Context, e *cli.Env, args []string, begun string) iter.Seq[cobra.Completion] {
		if len(args) > 0 {
			return nothing
		}
		return list(ctx, e, args, begun)
	})
}

// nothing is what there is to choose from where nothing is known.
func nothing(func(cobra.Completion) bool) {}

// described makes completions of the items of a list, as far as it can and must be read.
func described[T any](list iter.Seq2[T, error], describe func(T) []cobra.Completion) iter.Seq[cobra.Completion] {
	return func(yield func(cobra.Completion) bool) {
		for item, err := range list {
			if err != nil {
				return
			}
			for _, c := range describe(item) {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// begunSites lists the sites that may go on as somebody has begun: those with a text in
// their names the Caddy finds that has them.
func begunSites(ctx context.Context, e *cli.Env, begun string) iter.Seq2[adminapi.Site, error] {
	if begun == "" || begun[0] == '/' || '0' <= begun[0] && begun[0] <= '9' {
		return e.Client.Sites(ctx)
	}
	return e.Client.Sites(ctx, "q", begun)
}

// sitesOf lists sites as each command takes them: by id, by name, and by the path of the
// metabase.
func sitesOf(ctx context.Context, e *cli.Env, _ []string, begun string) iter.Seq[cobra.Completion] {
	return described(begunSites(ctx, e, begun), func(s adminapi.Site) []cobra.Completion {
		id, path := fmt.Sprint(s.ID), fmt.Sprintf("/w3svc/%d", s.ID)
		switch {
		case strings.HasPrefix(begun, "/"):
			return []cobra.Completion{cobra.CompletionWithDesc(path, s.Name)}
		case s.Name == "":
			return []cobra.Completion{id}
		}
		return []cobra.Completion{cobra.CompletionWithDesc(id, s.Name), cobra.CompletionWithDesc(s.Name, "site "+id)}
	})
}

// pathsOf lists the paths of adsutil.vbs: sites and, behind the slash of one, its
// properties.
func pathsOf(ctx context.Context, e *cli.Env, _ []string, begun string) iter.Seq[cobra.Completion] {
	if site, _, ok := strings.Cut(strings.TrimPrefix(begun, "/w3svc/"), "/"); ok && strings.HasPrefix(begun, "/w3svc/") {
		var all []cobra.Completion
		for _, property := range cli.Properties() {
			all = append(all, "/w3svc/"+site+"/"+property)
		}
		return slices.Values(all)
	}
	return described(e.Client.Sites(ctx), func(s adminapi.Site) []cobra.Completion {
		return []cobra.Completion{cobra.CompletionWithDesc(fmt.Sprintf("/w3svc/%d", s.ID), s.Name)}
	})
}

// bindingsOf lists the sites, and behind one its bindings.
func bindingsOf(ctx context.Context, e *cli.Env, args []string, begun string) iter.Seq[cobra.Completion] {
	if len(args) == 0 {
		return sitesOf(ctx, e, args, begun)
	}
	site, err := e.FindSite(ctx, args[0])
	if err != nil || len(args) > 2 {
		return nothing
	}
	var all []cobra.Completion
	for _, b := range site.Bindings {
		if len(args) == 1 || args[1] == b.Protocol {
			all = append(all, cobra.CompletionWithDesc(b.Binding, b.Protocol))
		}
	}
	return slices.Values(all)
}

// endpointsOf lists addresses and ports.
func endpointsOf(ctx context.Context, e *cli.Env, _ []string, _ string) iter.Seq[cobra.Completion] {
	return described(e.Client.Endpoints(ctx), func(p adminapi.Endpoint) []cobra.Completion {
		return []cobra.Completion{cobra.CompletionWithDesc(p.Address, p.Protocol)}
	})
}

// certificatesOf lists the names of certificates.
func certificatesOf(ctx context.Context, e *cli.Env, _ []string, _ string) iter.Seq[cobra.Completion] {
	return described(e.Client.Certificates(ctx), func(c adminapi.Certificate) []cobra.Completion {
		if c.Store != nil {
			return nil // it is no name that a binding could have
		}
		return []cobra.Completion{cobra.CompletionWithDesc(c.Name, c.Source)}
	})
}

// sourcesOf lists the sources that can be written.
func sourcesOf(ctx context.Context, e *cli.Env, _ []string, _ string) iter.Seq[cobra.Completion] {
	sources, _ := e.Client.WritableSources(ctx)
	return namesOf(sources)
}

// shownSourcesOf lists all sources of which sites can be shown.
func shownSourcesOf(ctx context.Context, e *cli.Env, _ []string, _ string) iter.Seq[cobra.Completion] {
	sources, _ := e.Client.Sources(ctx)
	return namesOf(append(sources, adminapi.Source{Name: sourceConfiguration}))
}

func namesOf(sources []adminapi.Source) iter.Seq[cobra.Completion] {
	var all []cobra.Completion
	for _, source := range sources {
		all = append(all, source.Name)
	}
	return slices.Values(all)
}

// completeFlag has a flag completed, where a command has it.
func completeFlag(cmd *cobra.Command, name string, complete completion) {
	if flag := cmd.Flags().Lookup(name); flag != nil && flag.Value.Type() == "string" {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.CompletionFunc(complete))
	}
}

// completeFlags has the flags completed whose values the running Caddy knows, of all
// commands.
func completeFlags(cmd *cobra.Command) {
	completeFlag(cmd, "certificate", completing(certificatesOf))
	sources := sourcesOf
	if cmd.Name() == "list" {
		sources = shownSourcesOf
	}
	completeFlag(cmd, "source", completing(sources))
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}
