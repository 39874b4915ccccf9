// Command bench compares caddy-iis with other servers, and with itself, at
// different numbers of sites. It needs Linux and two cores; README.md tells
// what it measures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// config is what the command line says.
type config struct {
	experiments []experiment
	sizes       []int // numbers of sites; nil for those of each experiment
	reps        int
	time        time.Duration // of one load
	peers       []peers.Peer
	certs       sites.Kind
	limit       time.Duration // of a start or a change
	changes     int
	out         string
	caddy       string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == clientFlag {
		exit(runClient(os.Stdin, os.Stdout))
	}
	// Whatever ends the run, servers are stopped and files are removed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	cfg, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, cfg)
	}
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string, stderr io.Writer) (*config, error) {
	cfg := new(config)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	what := flags.String("what", "compare", "what to measure, separated by commas; all for everything")
	sizes := flags.String("n", "", "numbers of sites, such as 1,1000 (default: those of each experiment, see below)")
	names := flags.String("peers", "", "servers to compare, separated by commas (default: those with a star below)")
	certs := flags.String("certs", string(sites.Shared), "certificates of the comparison: one for all, shared (8 wildcards), or each (one per site)")
	secs := flags.Float64("secs", 2, "seconds that each load lasts, and a quarter more to warm up")
	flags.IntVar(&cfg.reps, "reps", 5, "repetitions; each goes through all numbers of sites and all servers")
	flags.DurationVar(&cfg.limit, "limit", 2*time.Minute, "how long a server may take to start or to change")
	flags.IntVar(&cfg.changes, "changes", 0, "how many changes to make (default: those of each experiment)")
	flags.StringVar(&cfg.out, "out", "bench.out", "directory for the results")
	flags.StringVar(&cfg.caddy, "caddy", "", "a program built from bench/caddy (default: build it)")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || cfg.reps < 1 || *secs <= 0 {
		return nil, errors.New("arguments that are no flags, no repetitions, or no seconds: see -h")
	}
	cfg.time = time.Duration(*secs * float64(time.Second))
	cfg.certs = sites.Kind(*certs)
	if !slices.Contains([]sites.Kind{sites.One, sites.Shared, sites.Each}, cfg.certs) {
		return nil, fmt.Errorf("-certs %q: expected one, shared or each", *certs)
	}
	var errSizes, errPeers, errWhat, errOut error
	cfg.sizes, errSizes = parseSizes(*sizes)
	cfg.peers, errPeers = peers.Choose(list(*names))
	cfg.experiments, errWhat = chooseExperiments(list(*what))
	cfg.out, errOut = filepath.Abs(cfg.out)
	return cfg, errors.Join(errSizes, errPeers, errWhat, errOut)
}

func usage(flags *flag.FlagSet) {
	w := flags.Output()
	fmt.Fprint(w, `Compares caddy-iis with other servers, and with itself, at different numbers of
sites. Run it in a checkout of caddy-iis: it builds what it measures. It needs
Linux, and two cores to keep server and client apart.

`)
	flags.PrintDefaults()
	fmt.Fprint(w, "\nWhat can be measured:\n")
	for _, e := range experiments() {
		fmt.Fprintf(w, "  %-13s%s (-n %s)\n", e.name, e.about, sizesText(e.sizes))
	}
	fmt.Fprint(w, "\nServers:\n")
	for _, p := range peers.All() {
		star := " "
		if p.Default {
			star = "*"
		}
		fmt.Fprintf(w, "%s %-13s%s\n", star, p.Name, p.About)
	}
}

// list splits a text at its commas.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for _, word := range list(text) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-n %q is not a list of numbers from 1, such as 1,1000", text)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

func sizesText(sizes []int) string {
	words := make([]string, len(sizes))
	for i, n := range sizes {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}
