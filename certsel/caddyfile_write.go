package certsel

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
	"github.com/caddy-iis/caddy-iis/internal/directives"
)

// MarshalCaddyfile implements caddytext.Marshaler.
func (p *PEM) MarshalCaddyfile() *caddytext.Line {
	if len(p.Files) == 1 && p.Files[0].plain() {
		return p.Files[0].line()
	}
	block := new(caddytext.Line)
	for _, files := range p.Files {
		if len(p.Files) > 1 {
			l := files.line()
			block.Add(l.Add(caddytext.FieldsOf(files, pemFields[2:])...))
			continue
		}
		block.Add(caddytext.FieldsOf(files, pemFields)...)
	}
	return block
}

// pemFields are pemOptions, and where JSON has them.
var pemFields = []caddytext.Field{
	{Word: "certificate", Path: "certificate"},
	{Word: "key", Path: "key"},
	{Word: "chain", Path: "chain", Kind: caddytext.List},
	{Word: "password", Path: "password"},
}

// plain tells whether the names of files are all there is.
func (f PEMFiles) plain() bool { return f.Chain == nil && f.Password == "" }

func (f PEMFiles) line() *caddytext.Line {
	l := caddytext.New(f.Certificate)
	if f.Key != "" {
		l.Words = append(l.Words, f.Key)
	}
	return l
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (p *PFX) MarshalCaddyfile() *caddytext.Line {
	block := new(caddytext.Line)
	for _, file := range p.Files {
		l := caddytext.New(file.File).Add(caddytext.FieldsOf(file, []caddytext.Field{{Word: "password", Path: "password"}, {Word: "thumbprint", Path: "thumbprint"}})...)
		if len(p.Files) == 1 {
			return l
		}
		block.Add(l.Behind("file"))
	}
	return block
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (w *WindowsStore) MarshalCaddyfile() *caddytext.Line {
	return new(caddytext.Line).Add(caddytext.FieldsOf(w, []caddytext.Field{
		{Word: "thumbprint", Path: "thumbprint"},
		{Word: "subject", Path: "subject"},
		{Word: "friendly_name", Path: "friendly_name"},
		{Word: "store", Path: "stores", Kind: caddytext.List},
	})...)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (m *Managed) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.FieldsOf(m, []caddytext.Field{{Word: "subjects", Path: "subjects", Kind: caddytext.List}})...)
	return l.Add(issuanceLines(m.IssuersRaw, m.KeyType)...)
}

// issuanceLines writes what all certificates that are obtained have.
func issuanceLines(issuers []json.RawMessage, keyType string) (lines []*caddytext.Line) {
	for _, raw := range issuers {
		if l := directives.Inline("tls.issuance", "module", raw); l != nil {
			lines = append(lines, l.Behind("issuer"))
		}
	}
	if keyType != "" {
		lines = append(lines, caddytext.New("key_type", keyType))
	}
	return lines
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (a *Auto) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.New("for_bindings"))
	l.Add(caddytext.FieldsOf(a, []caddytext.Field{
		{Word: "on_demand", Path: "on_demand", Kind: caddytext.Flag},
		{Word: "default", Path: "default"},
		{Word: "capacity", Path: "capacity"},
		{Word: "max_wait", Path: "max_wait", Kind: caddytext.Duration},
	})...)
	l.Add(issuanceLines(a.IssuersRaw, a.KeyType)...)
	if a.PermissionRaw != nil {
		if permission := directives.Inline("tls.permission", "module", a.PermissionRaw); permission != nil {
			l.Add(permission.Behind("permission"))
		}
	}
	if a.Rate != nil {
		l.Add(caddytext.New("rate", strconv.Itoa(a.Rate.Orders), caddytext.DurationText(time.Duration(a.Rate.Window))))
	}
	if a.CheckDNS != nil {
		check := caddytext.New(append([]string{"check_dns"}, a.CheckDNS.Addresses...)...)
		l.Add(check.Add(caddytext.FieldsOf(a.CheckDNS, []caddytext.Field{{Word: "resolvers", Path: "resolvers", Kind: caddytext.List}})...))
	}
	return l
}

// storeFields are the words that all stores of files have.
var storeFields = []caddytext.Field{
	{Word: "password", Path: "password"},
	{Word: "poll", Path: "poll", Kind: caddytext.Duration},
	{Word: "entries", Path: "entries"},
	{Word: "rate", Path: "rate"},
	{Word: "timeout", Path: "timeout", Kind: caddytext.Duration},
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (c *CentralStore) MarshalCaddyfile() *caddytext.Line {
	l := caddytext.New("storage", c.Storage)
	if c.Storage == "" {
		l = caddytext.New(c.Path)
	}
	return l.Add(caddytext.FieldsOf(c, storeFields)...)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (f *FolderStore) MarshalCaddyfile() *caddytext.Line {
	l := caddytext.New(f.Path)
	for _, files := range f.Patterns {
		file := caddytext.New("file", files.Certificate)
		if files.Key != "" {
			file.Words = append(file.Words, files.Key)
		}
		l.Add(file)
	}
	l.Add(caddytext.FieldsOf(f, []caddytext.Field{{Word: "wildcard", Path: "wildcard"}, {Word: "default", Path: "default"}})...)
	return l.Add(caddytext.FieldsOf(f, storeFields)...)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (a *AskedStore) MarshalCaddyfile() *caddytext.Line {
	manager := directives.Inline("tls.get_certificate", "via", a.ManagerRaw)
	if manager == nil {
		return nil
	}
	own := caddytext.FieldsOf(a, []caddytext.Field{
		{Word: "keep", Path: "keep", Kind: caddytext.Duration}, {Word: "timeout", Path: "timeout", Kind: caddytext.Duration}, {Word: "entries", Path: "entries"},
	})
	if len(own) == 0 {
		return manager
	}
	return new(caddytext.Line).Add(append([]*caddytext.Line{manager.Behind("manager")}, own...)...)
}
