package iisimport

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// DatabaseVariable is the environment variable with the connection string of the database
// that sites are to be in.
const DatabaseVariable = "IIS_SITES_DATABASE"

// Targets lists where the sites of an import can be.
func Targets() []string { return []string{"caddyfile", "sites-file", "bolt", "postgres"} }

// elsewhere tells whether sites are to be in another place than the Caddyfile.
func (o Options) elsewhere() bool { return o.To != "" && o.To != "caddyfile" }

// moves tells whether a site can be in a source of sites, which has no logs of its own.
func (p *Plan) moves(s *Site) bool {
	return p.opts.elsewhere() && !slices.ContainsFunc(s.access, func(d *Directive) bool {
		return len(d.Words) > 1 && d.Words[0] == "w3c_log" && d.Words[1] != "off"
	})
}

// Moved lists the ids of the sites that are not in the Caddyfile.
func (p *Plan) Moved() (ids []uint32) {
	for _, s := range p.Sites {
		if p.moves(s) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Whole writes the plan as one Caddyfile, also the sites that are to be in another place:
// what they are in JSON is what Caddy makes of it.
func (p *Plan) Whole() []byte {
	whole := *p
	whole.opts.To = ""
	return whole.Caddyfile()
}

// source writes where the sites are, and what they may claim there: what they have.
func (p *Plan) source() *Directive {
	switch p.opts.To {
	case "sites-file":
		return directive("sites_file", p.opts.SitesFile)
	case "bolt":
		return block([]*Directive{p.allow()}, "sites_from", "bolt")
	case "postgres":
		return block([]*Directive{p.allow()}, "sites_from", "postgres", "{env."+DatabaseVariable+"}").
			because("The connection string is in the environment variable " + DatabaseVariable + ".")
	}
	return nil
}

func (p *Plan) allow() *Directive {
	inUse, claimed := make(map[string]bool), make(map[string]bool)
	var wildcards, catchAll bool
	for _, s := range p.Sites {
		for _, b := range s.Bindings {
			inUse[strconv.Itoa(int(b.Parsed.Port))] = true
			if ip := b.Parsed.IP; ip.IsValid() && ip != netip.IPv4Unspecified() {
				claimed[ip.String()] = true
			}
			wildcards = wildcards || strings.Contains(b.Parsed.Host, "*")
			catchAll = catchAll || b.Parsed.Host == ""
		}
	}
	ports, addresses := slices.Sorted(maps.Keys(inUse)), slices.Sorted(maps.Keys(claimed))
	var kids []*Directive
	if ports != nil {
		kids = append(kids, directive(append([]string{"ports"}, ports...)...))
	}
	if addresses != nil {
		kids = append(kids, directive(append([]string{"addresses"}, addresses...)...))
	}
	if wildcards {
		kids = append(kids, directive("wildcards"))
	}
	if catchAll {
		kids = append(kids, directive("catch_all"))
	}
	return block(kids, "allow")
}

// reportMoved says where the sites are.
func (p *Plan) reportMoved() {
	if !p.opts.elsewhere() {
		return
	}
	next := "start Caddy, then: caddy iis sites import " + p.opts.SitesFile
	if p.opts.To == "sites-file" {
		next = ""
	}
	p.Report.add(Translated, iisconfig.Source{}, "sites", next, "%d of %d are lines of %s, their directives are templates", len(p.Moved()), len(p.Sites), p.opts.SitesFile)
	for _, s := range p.Sites {
		if !p.moves(s) {
			p.Report.decide(s.source.Source, fmt.Sprintf("site %q", s.Name), "give all sites one log",
				"it stays in the Caddyfile: its log is not that of the others, and a source of sites has no logs")
		}
	}
}
