// Package peers has the servers that are compared: how each is configured for a
// set of sites, started, and changed while it serves.
package peers

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// The names of the peers.
const (
	IIS       = "iis"
	IISSNI    = "iis-sni"
	Stock     = "stock"
	StockFlat = "stock-flat"
	Nginx     = "nginx"
	HAProxy   = "haproxy"
	Baseline  = "baseline"
)

// Peer is a server program with a way to configure it.
type Peer struct {
	Name    string
	About   string
	Default bool // takes part unless others are asked for

	// Unknown is what it usually does with unknown server names.
	Unknown load.UnknownAnswer

	// configure writes the configuration.
	configure func(Programs, *sites.Set, sites.Place) (launch, error)
}

// launch is how a server is started, and changed.
type launch struct {
	args []string

	// change prepares that the last site has another name, and returns what
	// makes the running server do it. It is nil where nothing does.
	change func(name string) (trigger func(context.Context, *proc.Process) error, err error)
}

// Programs are the files of the programs.
type Programs struct {
	Caddy, Baseline, Nginx, HAProxy string
}

// All returns all peers.
func All() []Peer {
	return []Peer{
		{
			Name: IIS, About: "caddy-iis: secure_bindings; with certificates of their own, bindings with SNI", Default: true,
			Unknown:   load.UnknownAnswer{Status: http.StatusBadRequest, Body: "Invalid Hostname"},
			configure: configureIIS(sites.ByPort),
		},
		{
			Name: IISSNI, About: "caddy-iis: a binding with SNI for every site",
			Unknown:   load.UnknownAnswer{Status: http.StatusBadRequest, Body: "Invalid Hostname"},
			configure: configureIIS(sites.BySNI),
		},
		{
			Name: Stock, About: "stock Caddy, as from a Caddyfile with a site block for every site", Default: true,
			Unknown:   load.UnknownAnswer{Refused: true},
			configure: configureStock((*sites.Set).Stock),
		},
		{
			Name: StockFlat, About: "stock Caddy, the flattest JSON: one connection policy, a route for every host", Default: true,
			Unknown:   load.UnknownAnswer{Refused: true},
			configure: configureStock((*sites.Set).StockFlat),
		},
		{
			Name: Nginx, About: "nginx, a server block for every site", Default: true,
			Unknown:   load.UnknownAnswer{Status: http.StatusOK, Body: "site:" + sites.DefaultHost},
			configure: configureNginx,
		},
		{
			Name: HAProxy, About: "HAProxy, with a list of certificates and a map of hosts", Default: true,
			Unknown:   load.UnknownAnswer{Status: http.StatusNotFound, Body: sites.NoSuchSite},
			configure: configureHAProxy,
		},
		{
			Name: Baseline, About: "crypto/tls and net/http with two maps: the practical limit for Go", Default: true,
			Unknown:   load.UnknownAnswer{Status: http.StatusNotFound, Body: sites.NoSuchSite},
			configure: configureBaseline,
		},
	}
}

// Choose returns the named peers, or the default ones without names.
func Choose(names []string) ([]Peer, error) {
	all := All()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(p Peer) bool { return !p.Default }), nil
	}
	var chosen []Peer
	for _, name := range names {
		i := slices.IndexFunc(all, func(p Peer) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown peer %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Find looks for the programs that are not built here.
func (p *Programs) Find() {
	p.Nginx, _ = exec.LookPath("nginx")
	p.HAProxy, _ = exec.LookPath("haproxy")
}

// Has reports whether the program of a peer is there.
func (p *Programs) Has(peer Peer) bool {
	switch peer.Name {
	case Nginx:
		return p.Nginx != ""
	case HAProxy:
		return p.HAProxy != ""
	}
	return true
}
