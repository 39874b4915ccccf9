// Package iisimport turns what iisconfig has read off an IIS server into a
// Caddyfile that serves the same bindings, and a report of what became of each
// line of the source.
//
// Only what has an exact form in Caddy is translated. Everything else is a line
// of the report and a comment at the place where it belongs; where leaving it
// out would open what IIS protects, the place is closed until somebody decides.
package iisimport

import (
	"cmp"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// Options say how to translate.
type Options struct {
	// Folders translates folders of the IIS server to those of this machine.
	Folders []Folder

	// Upstream is the address that stands in for the worker processes of IIS
	// unless the environment variable IIS_UPSTREAM names one. Default:
	// 127.0.0.1:8080.
	Upstream string

	// FastCGI is the address of a FastCGI server, such as 127.0.0.1:9000 or
	// unix//run/php/php-fpm.sock, for the scripts that handlers run by FastCGI. Without it
	// they go to Upstream as well.
	FastCGI string

	// PoolUpstreams are addresses in place of Upstream for what application pools run, by
	// their names in lower case.
	PoolUpstreams map[string]string

	// Services writes a unit of systemd for each program of ASP.NET Core, and sends requests
	// there.
	Services bool

	// CertificateFolder is where certificates are looked for that Certificates
	// does not have. Default, and if a Caddyfile cannot name it: certificates.
	CertificateFolder string

	// To is where the sites are to be, one of Targets: in the Caddyfile, or in a source of
	// sites beside it, with a template for each kind of site. Default: caddyfile.
	To string

	// SitesFile is the file with the sites that are not in the Caddyfile.
	SitesFile string

	// Certificates are the files that were found, by FindCertificates.
	Certificates *Certificates

	// WindowsStore leaves certificates that no file has where they are: in the
	// certificate stores of the Windows machine, on which Caddy then runs.
	WindowsStore bool
}

func (o Options) withDefaults() Options {
	o.Upstream = cmp.Or(o.Upstream, "127.0.0.1:8080")
	o.CertificateFolder = strings.TrimRight(strings.ReplaceAll(o.CertificateFolder, `\`, "/"), "/")
	if o.CertificateFolder == "" || !expressible(literal(o.CertificateFolder)) {
		o.CertificateFolder = "certificates"
	}
	return o
}

// Plan is the translation of a server.
type Plan struct {
	Certificates []*Certificate
	CentralStore *CentralStore
	Endpoints    []*Endpoint
	// Templates are what sites that are alike have in common.
	Templates []*Template
	Sites     []*Site
	// Services are the programs that sites need, with Options.Services.
	Services []*Service
	// Environment are variables that Caddy needs, which may be secrets, for a file of systemd
	// that only root can read. Nil if it needs none.
	Environment []byte
	// Workers says that some site sends requests to the address that stands in for
	// the worker processes.
	Workers bool
	// Listen are the addresses to listen on; all if there are none.
	Listen []string
	Report *Report

	logs   *Directive // the W3C log of most sites; nil for none
	opts   Options
	inputs []iisconfig.Input
}

// Import translates a server.
func Import(server *iisconfig.Server, opts Options) *Plan {
	p := &Plan{Report: new(Report), opts: opts.withDefaults(), inputs: server.Inputs}
	b := &builder{plan: p, server: server, records: make(map[string]*record), byHash: make(map[string]*Certificate), asking: make(map[uint16]bool)}
	b.findings()
	b.listen()
	b.sites()
	b.settleRecords()
	b.endpoints()
	b.centralStore()
	b.nameCertificates()
	b.check()
	for _, s := range p.Sites {
		b.content(s)
	}
	b.logs()
	b.group()
	p.reportMoved()
	b.serverSettings()
	b.unusedFiles()
	p.Report.finish(p)
	return p
}
