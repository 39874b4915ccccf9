package iisconfig

import (
	"bytes"
	"regexp"
	"strings"
)

// Kind is what a file is.
type Kind uint8

// The kinds of files that Detect tells apart.
const (
	Unknown         Kind = iota
	URLScan              // urlscan.ini, read before what names its filter
	ApplicationHost      // applicationHost.config, or a fragment of it
	Metabase             // MetaBase.xml
	Redirection          // redirection.config
	Appcmd               // appcmd list, as text or with /xml
	Adsutil              // adsutil.vbs ENUM or GET
	Netsh                // netsh http show sslcert
	IPListen             // netsh http show iplisten
	Registry             // a registry export
	PFX                  // PKCS #12
	PEM                  // certificates or keys in PEM
	DER                  // a certificate or key in DER
	WebConfig            // web.config
)

var kindNames = [...]string{
	"unknown", "urlscan.ini", "applicationHost.config", "MetaBase.xml", "redirection.config", "appcmd output",
	"adsutil output", "netsh output", "netsh iplisten output", "registry export", "pfx", "pem", "der", "web.config",
}

// String returns the usual name of such a file.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Unknown]
}

// MarshalText writes what String returns.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Detect recognises a file by its content. The beginning of it is mostly enough,
// but a web.config and an applicationHost.config may begin alike.
func Detect(data []byte) Kind {
	if kind := detectDER(data); kind != Unknown {
		return kind
	}
	text, _ := decode(data)
	if xml, ok := xmlPart(text); ok {
		return detectXML(xml)
	}
	return detectText(text)
}

// detectDER tells PKCS #12 (version 3, RFC 7292) from other ASN.1 by the first
// element inside the outer sequence, whose length may be indefinite.
func detectDER(data []byte) Kind {
	if len(data) < 8 || data[0] != 0x30 {
		return Unknown
	}
	body := data[2:]
	if n := data[1]; n > 0x80 {
		size := int(n & 0x7F)
		if size > 4 || len(body) < size+4 {
			return Unknown
		}
		body = body[size:]
	}
	switch {
	case bytes.HasPrefix(body, []byte{2, 1, 3, 0x30}):
		return PFX
	case bytes.HasPrefix(body, []byte{2, 1, 0}), bytes.HasPrefix(body, []byte{2, 1, 1}):
		return DER // a private key
	case body[0] == 0x30 && (body[1] == 0x82 || body[1] == 0x81 || body[1] == 0x80):
		return DER // a certificate
	}
	return Unknown
}

// xmlPart returns text from its first element on, as blanks before that, so that
// lines keep their numbers. A command line may stand above what appcmd printed.
func xmlPart(text []byte) ([]byte, bool) {
	trimmed := bytes.TrimLeft(text, " \t\n")
	if bytes.HasPrefix(trimmed, []byte("<")) {
		return blankBefore(text, len(text)-len(trimmed)), true
	}
	line, _, _ := bytes.Cut(trimmed, []byte("\n"))
	if !bytes.Contains(bytes.ToLower(line), []byte("appcmd")) {
		return nil, false
	}
	rest := bytes.TrimLeft(trimmed[len(line):], " \t\n")
	if !bytes.HasPrefix(rest, []byte("<")) {
		return nil, false
	}
	return blankBefore(text, len(text)-len(rest)), true
}

// blankBefore blanks what is before the offset and, as XML allows nothing before a
// declaration, a declaration that is not at the start.
func blankBefore(text []byte, offset int) []byte {
	if offset == 0 {
		return text
	}
	end := offset
	if bytes.HasPrefix(text[offset:], []byte("<?xml")) {
		if i := bytes.Index(text[offset:], []byte("?>")); i >= 0 {
			end = offset + i + 2
		}
	}
	out := bytes.Clone(text)
	for i := range end {
		if out[i] != '\n' {
			out[i] = ' '
		}
	}
	return out
}

// fragmentRoots are root elements that decide by themselves.
var fragmentRoots = map[string]Kind{
	"system.applicationHost": ApplicationHost, "sites": ApplicationHost, "site": ApplicationHost,
	"applicationPools": ApplicationHost, "webFarms": ApplicationHost, "location": ApplicationHost,
	"system.webServer": WebConfig, "MBProperty": Metabase, "appcmd": Appcmd,
}

// detectXML reads until an element decides. What is not well-formed after that is
// for the reader to say.
func detectXML(text []byte) Kind {
	opts := Options{}.withDefaults()
	r := newXMLReader("", text, opts)
	kind := Unknown
	stop := &Error{Err: errDecided}
	decide := func(k Kind) error { kind = k; return stop }
	_ = r.each(func(root *element) error {
		if k, ok := fragmentRoots[root.name]; ok && looksRight(r, root) {
			return decide(k)
		}
		if strings.HasPrefix(strings.ToLower(root.name), "iis") && root.has("Location") {
			return decide(Metabase)
		}
		if root.name != "configuration" {
			return decide(Unknown)
		}
		kind = WebConfig
		return r.each(func(el *element) error {
			switch el.name {
			case "MBProperty":
				return decide(Metabase)
			case "system.applicationHost":
				return decide(ApplicationHost)
			case "configurationRedirection":
				kind = Redirection
			case "configSections":
				return r.each(func(group *element) error {
					if group.str("name") == "system.applicationHost" {
						return decide(ApplicationHost)
					}
					return r.skip()
				})
			}
			return r.skip()
		})
	})
	return kind
}

// looksRight tells a fragment from other XML with a root element of the same name,
// which a folder of web content may have.
func looksRight(r *xmlReader, root *element) bool {
	switch root.name {
	case "site":
		return root.has("name")
	case "location":
		return root.has("path")
	case "sites":
		right := true
		stop := &Error{Err: errDecided}
		_ = r.each(func(kid *element) error {
			switch kid.name {
			case "site":
				right = kid.has("name")
			case "siteDefaults", "applicationDefaults", "virtualDirectoryDefaults":
			default:
				right = false
			}
			return stop
		})
		return right
	}
	return true
}

func (el *element) has(name string) bool {
	_, ok := el.lookup(name)
	return ok
}

var (
	reHashLine  = regexp.MustCompile(`(?m)^.*[:：][ \t]*(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|\(null\))[ \t]*\n.*\{[0-9a-fA-F-]{36}\}`)
	reAppcmd    = regexp.MustCompile(`(?m)^(?:SITE|APP|VDIR|APPPOOL) (?:object )?".*"`)
	reAdsutil   = regexp.MustCompile(`(?m)^\S+\s*: {1,2}\((?:STRING|EXPANDSZ|INTEGER|BOOLEAN|LIST)\)|is not set at this node\.`)
	rePEM       = regexp.MustCompile(`(?m)^-----BEGIN [A-Z0-9 ]*(?:CERTIFICATE|PRIVATE KEY|PKCS7|CMS)-----`)
	reNetshHint = regexp.MustCompile(`(?i)SSL Certificate bindings|netsh\s+http\s+show\s+sslcert`)
	reURLScan   = regexp.MustCompile(`(?mi)^[ \t]*(?:\[(?:AllowVerbs|DenyVerbs|AllowExtensions|DenyExtensions|DenyUrlSequences)\]|UseAllowVerbs[ \t]*=)`)
	reRegistry  = regexp.MustCompile(`^\s*(?:Windows Registry Editor Version|REGEDIT4)`)
)

// detectText looks at the shapes of lines, because the words of netsh are in the
// display language of the server.
func detectText(text []byte) Kind {
	head := text[:min(len(text), 1<<20)]
	switch {
	case reRegistry.Match(head):
		return Registry
	case rePEM.Match(head):
		return PEM
	case reAdsutil.Match(head):
		return Adsutil
	case reAppcmd.Match(head):
		return Appcmd
	case reHashLine.Match(head), reNetshHint.Match(head):
		return Netsh
	case reURLScan.Match(head):
		return URLScan
	case looksLikeIPListen(head):
		return IPListen
	}
	return Unknown
}
