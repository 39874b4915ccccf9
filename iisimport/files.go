package iisimport

import (
	"path"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// authoritiesFile is the file with the authorities that issue client certificates, as
// the guide names it.
const authoritiesFile = "client-ca.pem"

func isAuthorities(file string) bool { return strings.EqualFold(path.Base(file), authoritiesFile) }

// hasFile reports whether a certificate file was among the inputs.
func (b *builder) hasFile(file string) bool {
	found := func(name string) bool { return path.Clean(name) == path.Clean(file) }
	return slices.ContainsFunc(b.server.CertificateFiles, func(f iisconfig.CertificateFile) bool { return found(f.Name) }) ||
		slices.ContainsFunc(certificateProblems(b.plan.opts.Certificates), func(p Problem) bool { return found(p.File) })
}

// unusedFiles names the certificate files of which nothing came.
func (b *builder) unusedFiles() {
	used := map[string]bool{b.caFile: true}
	for _, c := range b.plan.Certificates {
		used[c.File], used[c.KeyFile] = true, true
	}
	for _, p := range certificateProblems(b.plan.opts.Certificates) {
		used[p.File] = used[p.File] || !isAuthorities(p.File) // which was told
	}
	for _, f := range b.server.CertificateFiles {
		what, why := "certificate file", "no binding of the files that were read uses it"
		if isAuthorities(f.Name) {
			what, why = "authorities of client certificates", "no site asks for client certificates"
		}
		if !used[path.Clean(f.Name)] {
			b.plan.Report.dropped(iisconfig.Source{File: f.Name}, what, "%s", why)
		}
	}
}
