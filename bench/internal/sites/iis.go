package sites

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Binding tells by which kind of bindings the app iis knows the sites.
type Binding string

// The kinds of bindings.
const (
	// ByPort: secure_bindings. A wildcard certificate is named once for its
	// domain; sites of their own certificate have bindings with SNI all the same.
	ByPort Binding = "port"
	// BySNI: every site has a binding with SNI that names its certificate.
	BySNI Binding = "sni"
)

const (
	defaultID   = 1
	firstZoneID = 2
	firstSiteID = 101
)

// SiteID returns the id of a site in the app iis.
func SiteID(i int) int { return firstSiteID + i }

type iisSite struct {
	ID             int          `json:"id,omitempty"` // in a sites file
	Name           string       `json:"name"`
	SecureBindings []string     `json:"secure_bindings,omitempty"`
	Bindings       []iisBinding `json:"bindings,omitempty"`
	Certificate    string       `json:"certificate,omitempty"`
	Autostart      *bool        `json:"autostart,omitempty"`
}

type iisBinding struct {
	Protocol string `json:"protocol"`
	Binding  string `json:"binding"`
	Flags    int    `json:"flags"`
}

// IIS is the configuration of the app iis. Its defaults make the answer from
// the name of the site.
func (s *Set) IIS(p Place, by Binding) map[string]any {
	sites := make(map[string]iisSite, len(s.Sites)+1+len(s.Zones))
	sites[strconv.Itoa(defaultID)] = s.iisSite(p, by, s.Default)
	for i, site := range s.Sites {
		sites[strconv.Itoa(SiteID(i))] = s.iisSite(p, by, site)
	}
	if s.Kind == Shared && by == ByPort {
		for i, zone := range s.Zones {
			sites[strconv.Itoa(firstZoneID+i)] = zone.iisSite(p)
		}
	}
	app := s.iisApp()
	app["sites"] = sites
	return app
}

// IISWithFile is the configuration of the app iis that takes its sites from a
// file.
func (s *Set) IISWithFile(file string) map[string]any {
	app := s.iisApp()
	app["sites_file"] = file
	return app
}

// TextVar is the variable of sites in a database of which their answers are made, and
// SocketTemplate the template of those that pass WebSockets on.
const (
	TextVar        = "text"
	SocketTemplate = "socket"
)

// IISWithBolt is the configuration of the app iis that takes its sites from a database,
// but for the default. All share the defaults, in which a variable is theirs; those with
// the SocketTemplate are passed on to an address.
func (s *Set) IISWithBolt(p Place, file, sockets string) map[string]any {
	app := s.iisApp()
	app["server"] = object{"protocols": []string{"h1", "h2", "h3"}}
	app["defaults"] = object{
		"site_vars": object{TextVar: object{"default": s.Default.Name}},
		"routes":    []any{handle("site:{iis.vars." + TextVar + "}")},
	}
	app["templates"] = object{SocketTemplate: object{"routes": []any{object{"handle": []any{
		object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": sockets}}},
	}}}}}
	app["sites"] = object{strconv.Itoa(defaultID): s.iisSite(p, BySNI, s.Default)}
	app["sites_from"] = []any{object{"source": "bolt", "path": file}}
	return app
}

// Document is a site as a database keeps it.
func (s Site) Document(p Place) []byte {
	document, err := json.Marshal(object{
		"name": s.Host, "secure_bindings": []string{fmt.Sprintf(":%d:%s", p.Port, s.Host)}, "vars": object{TextVar: s.Name},
	})
	if err != nil {
		panic(err) // texts and numbers can be written
	}
	return document
}

// SocketDocument is a site of a host whose WebSockets are passed on.
func SocketDocument(p Place, host string) []byte {
	return fmt.Appendf(nil, `{"secure_bindings":[":%d:%s"],"template":%q}`, p.Port, host, SocketTemplate)
}

func (s *Set) iisApp() map[string]any {
	return object{
		"certificates": s.iisCertificates(),
		"defaults":     object{"routes": []any{handle("site:{iis.site.name}")}},
		"listen":       []string{"127.0.0.1"},
		"server":       object{"protocols": protocols},
	}
}

// iisSite is a site with its certificate by address and port if that is the
// default's, by the wildcard of its zone, or by its own name.
func (s *Set) iisSite(p Place, by Binding, site Site) iisSite {
	secure := iisSite{Name: site.Name, SecureBindings: []string{fmt.Sprintf(":%d:%s", p.Port, site.Host)}}
	switch {
	case site.Cert == s.Default.Cert:
		secure.Certificate = site.Cert.Name
		return secure
	case s.Kind == Shared && by == ByPort:
		return secure
	}
	return iisSite{Name: site.Name, Bindings: sniBinding(p, site.Host), Certificate: site.Cert.Name}
}

// iisSite is a stopped site: its certificate serves, its bindings do not.
func (z Zone) iisSite(p Place) iisSite {
	return iisSite{Name: z.Wildcard, Bindings: sniBinding(p, z.Wildcard), Certificate: z.Cert.Name, Autostart: new(bool)}
}

func sniBinding(p Place, host string) []iisBinding {
	return []iisBinding{{Protocol: "https", Binding: fmt.Sprintf("*:%d:%s", p.Port, host), Flags: 1}}
}

func (s *Set) iisCertificates() map[string]any {
	certs := make(map[string]any)
	for _, site := range s.All() {
		if certs[site.Cert.Name] == nil {
			files := []any{object{"certificate": site.Cert.CertFile, "key": site.Cert.KeyFile}}
			certs[site.Cert.Name] = object{"source": "pem", "files": files}
		}
	}
	return certs
}

// WriteSitesFile writes the sites as one JSON object per line.
func (s *Set) WriteSitesFile(w io.Writer, p Place) error {
	enc := json.NewEncoder(w)
	for i, site := range s.All() {
		line := s.iisSite(p, BySNI, site)
		line.ID = defaultID
		if i > 0 {
			line.ID = SiteID(i - 1)
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// handle is a route that answers with a body.
func handle(body string) any {
	return object{"handle": []any{object{"handler": "static_response", "body": body}}}
}
