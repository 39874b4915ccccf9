package iisimport

import (
	"fmt"
	"net"
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

// firstPort is that of the first service; the next ones have the next that nothing else has.
const firstPort = 5001

// service returns the service of the application that a node is in; nil if there is none, or
// if it has no form. IIS starts one program for an application, wherever in it the section
// stands.
func (w *siteWriter) service(n *node) *Service {
	core, app := n.settings.AspNetCore, w.application(n.path)
	if !w.b.plan.opts.Services || core == nil || app == nil {
		return nil
	}
	key := app.Path + "\x00" + core.ProcessPath + "\x00" + core.Arguments
	s, known := w.services[key]
	if !known {
		var err error
		if s, err = w.newService(core, app); err != nil {
			w.report().decide(core.Source, w.programOf(app), "write a unit for it", "no unit is written: %v", err)
		}
		w.services[key] = s
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
	w.report().decide(core.Source, what, "publish it for this system, copy "+s.Name+".service to /etc/systemd/system and start it",
		"it is the unit %s.service, and answers at %s", s.Name, s.Address)
	if s.Environment != nil {
		w.report().decide(core.Source, "environmentVariables", "copy it to "+EnvironmentFolder+", for root alone (mode 0600)", "they are in %s.env", s.Name)
	}
	if app.Path != "/" {
		w.report().decide(core.Source, what, `have it call UsePathBase("`+app.Path+`")`, "IIS told it that it is at %s, and nothing does here", app.Path)
	}
	if core.StdoutLog {
		w.report().translated(core.Source, "stdoutLogEnabled", "the journal has what it prints: journalctl -u %s", s.Name)
	}
}

func (w *siteWriter) newService(core *iisconfig.AspNetCore, app *iisconfig.Application) (*Service, error) {
	u := unit{core: core, opts: w.b.plan.opts, description: fmt.Sprintf("Site %d %s, %s", w.site.ID, oneLine(w.site.Name), app.Path)}
	for _, dir := range app.VirtualDirectories {
		if dir.Path == "/" || dir.Path == "" {
			u.folder = u.opts.folder(dir.PhysicalPath)
		}
	}
	if err := u.program(); err != nil {
		return nil, err
	}
	u.port = w.b.freePort()
	u.name = w.b.serviceNames.unused(serviceName(w.site.Name, app.Path))
	environment, left := u.environment()
	for _, v := range left {
		w.report().decide(core.Source, "environment variable "+v.Name, "set it in the unit", "it is left out: %s", v.Value)
	}
	s := &Service{Name: u.name, Address: net.JoinHostPort("127.0.0.1", u.port), Unit: u.text(environment != nil), Environment: environment}
	w.b.plan.Services = append(w.b.plan.Services, s)
	return s, nil
}

// serviceName makes a name of a unit.
func serviceName(site, app string) string {
	name := "iis-" + strings.Trim(reNoVarName.ReplaceAllString(strings.ToLower(site+"/"+app), "-"), "-")
	return strings.TrimRight(name[:min(len(name), 60)], "-")
}

// freePort returns the next port that no binding and no upstream has.
func (b *builder) freePort() string {
	if b.ports == nil {
		b.ports = make(map[string]bool)
		for _, s := range b.plan.Sites {
			for _, bound := range s.Bindings {
				b.ports[strconv.Itoa(int(bound.Parsed.Port))] = true
			}
		}
		for _, address := range append([]string{b.plan.opts.Upstream, b.plan.opts.FastCGI}, poolAddresses(b.plan.opts)...) {
			b.ports[address[strings.LastIndexByte(address, ':')+1:]] = true
		}
	}
	port := firstPort
	for b.ports[strconv.Itoa(port)] {
		port++
	}
	b.ports[strconv.Itoa(port)] = true
	return strconv.Itoa(port)
}

func poolAddresses(o Options) (out []string) {
	for _, address := range o.PoolUpstreams {
		out = append(out, address)
	}
	slices.Sort(out)
	return out
}
