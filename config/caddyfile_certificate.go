package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// certificate parses a certificate option: its form tells the source.
func (p *caddyfileParser) certificate(d *caddyfile.Dispenser) error {
	segment := d.NextSegment()
	here := atToken(segment[0])
	if len(segment) < 2 || opensBlock(segment[1]) {
		return here.Errf("certificate needs a name, expected: certificate <name> <certificate_file> [<key_file>], " +
			"or certificate <name> and a block with subjects to obtain it for")
	}
	name := segment[1].Text
	if _, ok := p.app.CertificatesRaw[name]; ok {
		return here.Errf("certificate %q is configured twice: give one of them another name, or remove it", name)
	}
	source, tokens := certificateSource(segment)
	if source == "" {
		return here.Errf("certificate %q: unknown source %q: expected one of %s, or a certificate file",
			name, segment[2].Text, strings.Join(certificateSources(), ", "))
	}
	if len(tokens) < 2 {
		return here.Errf("certificate %q: expected a certificate file and a key file, or a block with subjects to obtain it for", name)
	}
	sd := caddyfile.NewDispenser(tokens)
	sd.Next()
	mod, err := caddyfile.UnmarshalModule(sd, "iis.certificates."+source)
	if err != nil {
		return fmt.Errorf("certificate %q: %w", name, err)
	}
	if p.app.CertificatesRaw == nil {
		p.app.CertificatesRaw = make(map[string]json.RawMessage)
	}
	p.app.CertificatesRaw[name] = caddyconfig.JSONModuleObject(mod, "source", source, nil)
	return nil
}

// certificateSource finds the source module of a certificate option and the
// tokens that it parses, of which the first is the source's name. There is no
// source if the option has a block and its first argument is no file.
func certificateSource(segment caddyfile.Segment) (string, []caddyfile.Token) {
	rest := segment[2:]
	word := func(text string) (string, []caddyfile.Token) {
		token := segment[1]
		token.Text = text
		return text, append([]caddyfile.Token{token}, rest...)
	}
	if len(rest) == 0 || opensBlock(rest[0]) {
		if slices.ContainsFunc(rest, func(t caddyfile.Token) bool { return t.Text == "for_bindings" && !t.Quoted() }) {
			return word("auto")
		}
		return word("managed")
	}
	first := rest[0].Text
	if _, err := caddy.GetModule("iis.certificates." + first); err == nil {
		return first, rest
	}
	switch strings.ToLower(filepath.Ext(first)) {
	case ".pfx", ".p12":
		return word("pfx")
	}
	if slices.ContainsFunc(rest, opensBlock) && !looksLikeFile(first) {
		return "", nil
	}
	return word("pem")
}

// looksLikeFile tells a file from the name of a source.
func looksLikeFile(word string) bool { return strings.ContainsAny(word, `./\{`) }

// certificateSources lists the registered sources of certificates.
func certificateSources() []string {
	var names []string
	for _, mod := range caddy.GetModules("iis.certificates") {
		names = append(names, mod.ID.Name())
	}
	slices.Sort(names)
	return names
}

// parseCertificateName parses the option that names a certificate of the iis block.
func parseCertificateName(d *caddyfile.Dispenser, dst *string) error {
	name, err := oneArg(d, "certificate <name>, the name of a certificate option of iis")
	if err != nil {
		return err
	}
	return setOnce(d, dst, "certificate", name)
}
