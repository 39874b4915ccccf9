package iisimport

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// Service is a program of a site that the ASP.NET Core module of IIS started, as a unit
// of systemd.
type Service struct {
	// Name is that of its files: of the unit with .service, of the environment with .env.
	Name string
	// Address is where it answers, for reverse_proxy.
	Address string
	// Unit is the text of the unit.
	Unit []byte
	// Environment is what the program gets, for a file that only root can read. Nil if it
	// gets nothing.
	Environment []byte
}

// EnvironmentFolder is where units look for their environment.
const EnvironmentFolder = "/etc/caddy"

// The ports of services are these: below those that Linux gives to clients.
const (
	firstPort    = 20000
	servicePorts = 10000
)

// service returns the service of the application that a node is in; nil if there is none, or
// if it has no form. IIS starts one program for an application, which its path decides.
func (w *siteWriter) service(n *node) *Service {
	own, app := n.settings.AspNetCore, w.application(n.path)
	if !w.b.plan.opts.Services || own == nil || app == nil {
		return nil
	}
	core := cmp.Or(w.site.source.At(app.Path).AspNetCore, own)
	s, known := w.services[app.Path]
	if !known {
		var err error
		if s, err = w.newService(core, app); err != nil {
			w.report().decide(core.Source, w.programOf(app), "write a unit for it", "no unit is written: %v", err)
		}
		w.services[app.Path] = s
	}
	if own.ProcessPath != core.ProcessPath || own.Arguments != core.Arguments {
		w.report().decide(own.Source, "program of "+n.path, "make it an application of its own", "it is not started: IIS starts one program for an application, that of %s", core.Source)
	}
	if s != nil {
		w.tellService(s, core, app)
	}
	return s
}

func (w *siteWriter) programOf(app *iisconfig.Application) string {
	return "program of " + app.Path + " of site " + strconv.FormatUint(uint64(w.site.ID), 10)
}

// tellService says what is left to be done.
func (w *siteWriter) tellService(s *Service, core *iisconfig.AspNetCore, app *iisconfig.Application) {
	what := w.programOf(app)
	start, stopped := " and start it", ""
	if w.notStarted(app) {
		start, stopped = "", "; its site or its application pool was stopped, so that nothing starts it by itself"
	}
	w.report().decide(core.Source, what, "publish it for this system, copy "+s.Name+".service to /etc/systemd/system"+start,
		"it is the unit %s.service, and answers at %s%s", s.Name, s.Address, stopped)
	if s.Environment != nil {
		w.report().decide(core.Source, "environmentVariables", "copy it to "+EnvironmentFolder+", for root alone (mode 0600)", "they are in %s.env", s.Name)
	}
	if app.Path != "/" && !core.Platform {
		w.report().decide(core.Source, what, `have it call UsePathBase("`+app.Path+`")`, "IIS told it that it is at %s, and nothing does here", app.Path)
	}
	switch {
	case core.StdoutLog:
		w.report().translated(core.Source, strings.TrimSpace("stdoutLogEnabled, stdoutLogFile "+core.StdoutFile), "the journal has what it prints, and no file: journalctl -u %s", s.Name)
	case core.StdoutFile != "":
		w.report().dropped(core.Source, "stdoutLogFile "+core.StdoutFile, "stdoutLogEnabled is off: what it prints is not kept, but for its errors: journalctl -u %s", s.Name)
	}
}

// notStarted tells whether IIS does not start an application: its site, or its pool, is stopped, or
// is not started with the server.
func (w *siteWriter) notStarted(app *iisconfig.Application) bool {
	pool := w.b.pool(app.Pool)
	return w.site.Stopped || pool != nil && (!pool.AutoStart || w.b.stoppedPool(app.Pool) != nil)
}

func (w *siteWriter) newService(core *iisconfig.AspNetCore, app *iisconfig.Application) (*Service, error) {
	u := unit{core: core, opts: w.b.plan.opts, stopped: w.notStarted(app), description: oneLine(fmt.Sprintf("Site %d %s, %s", w.site.ID, w.site.Name, app.Path))}
	for _, dir := range app.VirtualDirectories {
		if dir.Path == "/" || dir.Path == "" {
			u.folder = u.opts.folder(dir.PhysicalPath)
		}
	}
	if err := u.program(); err != nil {
		return nil, err
	}
	u.port = w.b.freePort(w.site.ID, app.Path)
	u.name = w.b.serviceNames.unused(serviceName(w.site.ID, w.site.Name, app.Path))
	environment, left := u.environment()
	for _, v := range left {
		w.report().decide(core.Source, "environment variable "+v.Name, "set it in the unit", "it is left out: %s", v.Value)
	}
	s := &Service{Name: u.name, Address: net.JoinHostPort("127.0.0.1", u.port), Unit: u.text(environment != nil), Environment: environment}
	w.b.plan.Services = append(w.b.plan.Services, s)
	return s, nil
}

// serviceName makes a name of a unit. The site's id is in it, so that it stays what it is when
// other sites come and go: its environment has the site's secrets.
func serviceName(id uint32, site, app string) string {
	name := strings.Trim(reNoVarName.ReplaceAllString(strings.ToLower(fmt.Sprintf("iis-%d-%s/%s", id, site, app)), "-"), "-")
	return strings.TrimRight(name[:min(len(name), 60)], "-")
}

// freePort returns a port for an application that no binding and no upstream has. It follows
// from the application, so that another import finds the same whatever other sites there are:
// else requests of one site would go to the program of another one that still runs.
func (b *builder) freePort(site uint32, app string) string {
	if b.ports == nil {
		b.ports = make(map[string]bool)
		for _, s := range b.plan.Sites {
			for _, bound := range s.Bindings {
				b.ports[strconv.Itoa(int(bound.Parsed.Port))] = true
			}
			b.takeRulePorts(s.source)
		}
		for _, farm := range b.server.WebFarms {
			for _, member := range farm.Servers {
				b.ports[strconv.Itoa(member.HTTPPort)], b.ports[strconv.Itoa(member.HTTPSPort)] = true, true
			}
		}
		addresses := slices.AppendSeq([]string{b.plan.opts.Upstream, b.plan.opts.FastCGI}, maps.Values(b.plan.opts.PoolUpstreams))
		for _, address := range addresses {
			b.ports[address[strings.LastIndexByte(address, ':')+1:]] = true
		}
	}
	sum := fnv.New32a()
	_, _ = fmt.Fprintf(sum, "%d%s", site, strings.ToLower(app))
	at := sum.Sum32() % servicePorts
	port := func() string { return strconv.Itoa(firstPort + int(at)) }
	for range servicePorts {
		if !b.ports[port()] {
			break
		}
		at = (at + 1) % servicePorts
	}
	b.ports[port()] = true
	return port()
}

var rePortOfURL = regexp.MustCompile(`://[^/]*:(\d+)`)

// takeRulePorts takes the ports to which rules of a site send requests.
func (b *builder) takeRulePorts(site *iisconfig.Site) {
	paths := []string{"/"}
	for _, c := range site.Configured {
		paths = append(paths, c.Path)
	}
	for _, p := range paths {
		sec := site.At(p).Rewrite
		if sec == nil {
			continue
		}
		for _, rule := range slices.Concat(sec.GlobalRules, sec.Rules) {
			if found := rePortOfURL.FindStringSubmatch(rule.Action.URL); found != nil {
				b.ports[found[1]] = true
			}
		}
	}
}
