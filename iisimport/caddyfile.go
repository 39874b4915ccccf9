package iisimport

import (
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// PasswordVariable is the environment variable with the password of PFX files.
const PasswordVariable = "IIS_PFX_PASSWORD"

const (
	pfxPassword   = "{env." + PasswordVariable + "}"
	storePassword = "{env.IIS_CENTRAL_STORE_PASSWORD}" //nolint:gosec // a placeholder
)

// Caddyfile writes the plan.
func (p *Plan) Caddyfile() []byte {
	var kids []*Directive
	if len(p.Listen) > 0 {
		kids = append(kids, directive(append([]string{"listen"}, p.Listen...)...).because("On the IIS server: netsh http show iplisten"))
	}
	if p.logs != nil {
		kids = append(kids, p.logs)
	}
	for _, c := range p.Certificates {
		kids = append(kids, c.directive())
	}
	if p.CentralStore != nil {
		kids = append(kids, p.CentralStore.directive())
	}
	for _, e := range p.Endpoints {
		kids = append(kids, e.directive())
	}
	for _, t := range p.Templates {
		kids = append(kids, t.directive())
	}
	if d := p.source(); d != nil {
		kids = append(kids, d)
	}
	for _, s := range p.Sites {
		if !p.moves(s) {
			kids = append(kids, s.directive())
		}
	}
	var sb strings.Builder
	sb.WriteString("# Made from the configuration of an IIS server by: caddy iis import\n")
	if p.Workers {
		sb.WriteString("# Requests that a worker process of IIS answered go to the address in the environment\n" +
			"# variable IIS_UPSTREAM, or else to " + commentText(p.opts.Upstream) + ".\n")
	}
	sb.WriteString("{\n")
	writeDirectives(&sb, []*Directive{block(kids, "iis")}, 1)
	sb.WriteString("}\n")
	return []byte(sb.String())
}

func (c *Certificate) directive() *Directive {
	d := directive("certificate", c.Name, c.File)
	d.Comments = c.Comments
	switch {
	case c.Store != "":
		d.Words, d.hasBlock = []string{"certificate", c.Name, "windows_store"}, true
		d.Block = []*Directive{directive("thumbprint", c.Thumbprint), directive("store", literal(c.Store))}
	case c.encrypted:
		d.Words, d.hasBlock = []string{"certificate", c.Name, "pem"}, true
		d.Block = []*Directive{directive("certificate", c.File)}
		if c.KeyFile != "" {
			d.Block = append(d.Block, directive("key", c.KeyFile))
		}
		d.Block = append(d.Block, directive("password", pfxPassword))
	case c.KeyFile != "":
		d.Words = append(d.Words, c.KeyFile)
	case c.PFX:
		if !c.noPassword {
			d.Block = append(d.Block, directive("password", pfxPassword))
		}
		if c.Thumbprint != "" {
			d.Block = append(d.Block, directive("thumbprint", c.Thumbprint))
		}
		d.hasBlock = d.Block != nil
	}
	return d
}

func (c *CentralStore) directive() *Directive {
	var kids []*Directive
	if c.Password {
		kids = append(kids, directive("password", storePassword))
	}
	if c.Poll > 0 {
		kids = append(kids, directive("poll", strconv.FormatUint(uint64(c.Poll), 10)+"s"))
	}
	d := &Directive{Words: []string{"central_store", c.Path}, Block: kids, hasBlock: kids != nil}
	d.Comments = c.Comments
	return d
}

func (e *Endpoint) directive() *Directive {
	kids := append([]*Directive{directive("certificate", e.Certificate.Name)}, e.settings.directives()...)
	d := block(kids, "endpoint", e.Address)
	d.Comments = e.Comments
	return d
}

func (s *Site) directive() *Directive {
	var kids []*Directive
	for _, b := range s.Bindings {
		kids = append(kids, b.directive())
	}
	for _, text := range s.left {
		kids = append(kids, comment(text))
	}
	kids = append(kids, s.access...)
	if s.template != nil {
		kids = append(kids, s.template.use(s)...)
	} else {
		kids = append(kids, s.body...)
	}
	words := []string{"site", strconv.FormatUint(uint64(s.ID), 10)}
	if s.Name != "" {
		words = append(words, s.Name)
	}
	d := block(kids, words...)
	if s.template == nil {
		d.Comments = s.Comments
	}
	return d
}

var flagWords = []struct {
	flag binding.Flags
	word string
}{
	{binding.FlagSNI, "sni"},
	{binding.FlagCentralStore, "central_store"},
	{binding.FlagNoHTTP2, "disable_http2"},
	{binding.FlagNoOCSP, "disable_ocsp_stapling"},
	{binding.FlagNoQUIC, "disable_quic"},
	{binding.FlagNoTLS13, "disable_tls13"},
	{binding.FlagNoLegacyTLS, "disable_legacy_tls"},
}

func (b *Binding) directive() *Directive {
	d := directive("binding", b.Parsed.Protocol.String(), b.Parsed.String())
	d.Comments = b.Comments
	if b.Parsed.Protocol == binding.HTTP {
		return d
	}
	for _, f := range flagWords {
		if b.Flags&f.flag != 0 {
			d.Block = append(d.Block, directive(f.word))
		}
	}
	if b.rec != nil && b.rec.certificate != nil {
		d.Block = append(d.Block, directive("certificate", b.rec.certificate.Name))
	}
	if b.rec != nil {
		d.Block = append(d.Block, b.rec.settings.directives()...)
	}
	d.hasBlock = d.Block != nil
	return d
}

func (t tlsSettings) directives() []*Directive {
	var out []*Directive
	if t.noTLS12 {
		out = append(out, directive("protocols", "tls1.3"))
	}
	if t.clientCAs != "" {
		out = append(out, block([]*Directive{
			directive("mode", "verify_if_given"),
			directive("trust_pool", "file", t.clientCAs),
		}, "client_auth"))
	}
	return out
}
