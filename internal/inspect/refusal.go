package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// codeRefused is the code of the finding for a configuration that is refused by
// something else than its bindings.
const codeRefused = "refused"

// codeAdminOff is the finding about a configuration that nobody can look at while it
// serves.
const codeAdminOff = "admin-off"

// refusedFinding says why a configuration is refused, and what to do as far as it can
// be told from the error.
func refusedFinding(err error) []adminapi.Finding {
	return []adminapi.Finding{{
		Severity: adminapi.SeverityError, Code: codeRefused,
		Message: adminapi.WithoutChain(err.Error()), Fix: wayOut(err),
	}}
}

// emptyPlaceholder is how Caddy's replacer says that a placeholder has no value.
var emptyPlaceholder = regexp.MustCompile(`evaluated placeholder \{env\.([^}]*)\} is empty`)

// wayOut is empty if the error has it in its own words, or if nobody knows.
func wayOut(err error) string {
	if variable := emptyPlaceholder.FindStringSubmatch(err.Error()); variable != nil {
		return "set the environment variable " + variable[1] + " for whoever runs Caddy, such as with Environment= in the unit of systemd"
	}
	// On the way through Caddy's app modules, errors become text.
	text := err.Error()
	says := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	}
	switch {
	case says(fs.ErrNotExist.Error(), syscall.ENOENT.Error(), "cannot find the"): // the last one of Windows
		return "correct the path; a relative one begins at the folder in which Caddy is started"
	case says(fs.ErrPermission.Error(), syscall.EACCES.Error(), "Access is denied"):
		return "let the user that runs Caddy read the file: it need not belong to that user"
	case says(certfile.ErrPassword.Error()):
		return "give the password of the file with password in the block of the certificate, such as password {env.PFX_PASSWORD}"
	case says("URLs for proxy upstreams only support"):
		return "name the upstream as host:port, and put a path in front with rewrite * /path{uri}"
	case says("private key does not match", "private keys matches"):
		return "name the key that was made for this certificate, or get a certificate for this key"
	case says("ECMAScript does not have"):
		return "write it with the groups that IIS has with this syntax: (...), (?:...), (?=...) and (?!...)"
	case says("is neither a function nor the name of a map"):
		return "add the map to iis_rewrite, as in map <name> { <key> <value> }, or name a map of it, ToLower, UrlEncode or UrlDecode"
	case says("sites_file: ") && says("a JSON object is expected, not a list", "the JSON object does not end on this line"):
		return `write a line for each site, such as {"id": 1, "name": "Shop", ...}, without the brackets and commas of a list`
	}
	return ""
}

// fileFinding tells what Caddy's adapter cannot: that a Caddyfile has another encoding,
// and that iis stands where site blocks do.
func fileFinding(raw []byte, adapter string, err error) []adminapi.Finding {
	findings := refusedFinding(err)
	switch {
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")), bytes.IndexByte(raw, 0) >= 0:
		findings[0].Message = "the file is in UTF-16, or no text: Caddy reads UTF-8"
		findings[0].Fix = "save it as UTF-8; PowerShell does with Set-Content -Encoding utf8"
	case strings.Contains(err.Error(), "unrecognized config adapter"):
		names := []string{"caddyfile", "iis"}
		findings[0].Message = fmt.Sprintf("there is no config adapter %q%s", adapter, near.Hint(adapter, names))
		findings[0].Fix = near.Expected(names) + "; for JSON leave --adapter out"
	case strings.Contains(err.Error(), "config is not valid JSON"):
		notJSON(&findings[0], raw)
	case outside.Match(raw) && strings.Contains(err.Error(), "unrecognized directive"):
		findings[0].Message += ": iis is a global option, and stands here among the sites"
		findings[0].Fix = "put the block of iis into the first block of the file, which has nothing before its brace: { iis { ... } }"
	}
	return findings
}

// notJSON tells a Caddyfile that nobody recognizes from JSON with a mistake.
func notJSON(f *adminapi.Finding, raw []byte) {
	if _, err := caddyfile.Parse("", raw); err == nil && !bytes.Contains(raw, []byte(`":`)) {
		f.Message = "the file is no JSON, and looks like a Caddyfile"
		f.Fix = "add --adapter caddyfile, or give it a name that begins with Caddyfile or ends with .caddyfile"
		return
	}
	var document json.RawMessage
	if wrong, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(raw, &document)); ok {
		before := raw[:min(int(wrong.Offset), len(raw))]
		f.Message = fmt.Sprintf("the file is no valid JSON: line %d: %v", 1+bytes.Count(before, []byte("\n")), wrong)
		f.Fix = "correct the line; the mistake may be at the end of the one before, such as a comma too many or missing"
	}
}

// outside finds iis where a site block begins.
var outside = regexp.MustCompile(`(?m)^iis\s*\{`)
