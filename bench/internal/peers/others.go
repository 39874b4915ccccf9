package peers

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func configureNginx(programs Programs, set *sites.Set, place sites.Place) (launch, error) {
	file := filepath.Join(place.Dir, "nginx.conf")
	write := func(set *sites.Set) error {
		return WriteFile(file, func(w io.Writer) error { return set.WriteNginx(w, place) })
	}
	return launch{
		args:   []string{programs.Nginx, "-p", place.Dir, "-e", filepath.Join(place.Dir, "nginx.log"), "-c", file},
		change: rewrite(set, write, "HUP"),
	}, write(set)
}

func configureHAProxy(programs Programs, set *sites.Set, place sites.Place) (launch, error) {
	config := filepath.Join(place.Dir, "haproxy.cfg")
	certs := filepath.Join(place.Dir, "certificates.txt")
	hosts := filepath.Join(place.Dir, "hosts.map")
	if err := WriteFile(certs, set.WriteHAProxyCerts); err != nil {
		return launch{}, err
	}
	if err := WriteFile(hosts, set.WriteHAProxyMap); err != nil {
		return launch{}, err
	}
	write := func(w io.Writer) error { return set.WriteHAProxy(w, place, certs, hosts) }
	return launch{
		args: []string{programs.HAProxy, "-W", "-f", config},
		change: rewrite(set, func(set *sites.Set) error {
			return WriteFile(hosts, set.WriteHAProxyMap)
		}, "USR2"),
	}, WriteFile(config, write)
}

func configureBaseline(programs Programs, set *sites.Set, place sites.Place) (launch, error) {
	hosts := filepath.Join(place.Dir, "hosts.tsv")
	return launch{
		args: []string{programs.Baseline, "-addr", place.Addr(), "-hosts", hosts},
	}, WriteFile(hosts, set.WriteHosts)
}

// rewrite changes the last site in a file that the server reads when it gets a
// signal.
func rewrite(set *sites.Set, write func(*sites.Set) error, signal string) func(string) (func(context.Context, *proc.Process) error, error) {
	return func(name string) (func(context.Context, *proc.Process) error, error) {
		last, _ := set.Last()
		err := write(set.Renamed(last, name))
		return func(_ context.Context, p *proc.Process) error {
			return proc.ReloadSignal(p, signal)
		}, err
	}
}

// WriteFile creates a file and has it filled.
func WriteFile(name string, fill func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
