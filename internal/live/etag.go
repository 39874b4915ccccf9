package live

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/caddy-iis/caddy-iis/sites"
)

// EtagOf is the entity tag of a site: in which table it is, which revision has made it, and
// the beginning of the checksum of what it is. The number of a revision that is lost, by a
// fail-over or with a copy that is put back, comes again for another one.
func EtagOf(head sites.Head, revision uint64, document []byte) string {
	sum := sha256.Sum256(document)
	return fmt.Sprintf(`"%s:%d:%x"`, head.Source, revision, sum[:6])
}

// CertificateEtag is the entity tag of a certificate. Its chain says what it is: a chain has
// one private key, of which nothing is told.
func CertificateEtag(head sites.Head, revision uint64, document []byte) string {
	return EtagOf(head, revision, []byte(sites.Chain(document)))
}

// matches reports whether what has a tag is what an If-Match asks for, which may list tags.
func matches(ifMatch, etag string) bool {
	for listed := range strings.SplitSeq(ifMatch, ",") {
		if listed = strings.TrimSpace(listed); listed == "*" || listed == etag {
			return true
		}
	}
	return false
}

// AnyTag reports whether what has a tag is one of those that an If-None-Match lists. Unlike
// with an If-Match, weak ones count (RFC 9110, section 13.1.2).
func AnyTag(ifNoneMatch, etag string) bool {
	return matches(strings.ReplaceAll(ifNoneMatch, "W/", ""), etag)
}
