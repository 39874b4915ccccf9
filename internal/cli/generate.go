package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// target is a site with the bindings that command lines are to set.
type target struct {
	id       uint32
	name     string
	stopped  bool // since it was told so
	bindings []targetBinding
}

type targetBinding struct {
	binding.Binding
	flags       binding.Flags
	certificate string // its name
	thumbprint  string // SHA-1
}

// Tools lists what Generate writes command lines for.
func Tools() []string { return []string{"adsutil", "appcmd", "netsh", "caddy"} }

// Lines say which command lines are written.
type Lines struct {
	// Tools are those of Tools; empty for all that there are.
	Tools []string
	// Sites is a list such as 1=www.example.com,example.com; empty for the running sites. A
	// host stands for :port:host; a whole binding is taken as it is.
	Sites []string
	Port  uint16
	// Since is the server that was imported: only what is different is written. Nil for all
	// that there is.
	Since *iisconfig.Server
	// Removals writes what takes away sites, bindings and certificates without rem in front.
	Removals bool
}

// Generate writes the command lines that set bindings.
func Generate(ctx context.Context, e *Env, want Lines) error {
	var targets []target
	var err error
	if len(want.Sites) > 0 {
		targets, err = parseTargets(want.Sites, want.Port)
	} else {
		targets, err = runningTargets(ctx, e)
	}
	if err != nil {
		return err
	}
	generators := map[string]func([]target) []string{"adsutil": adsutilLines, "appcmd": appcmdLines, "netsh": netshLines, "caddy": caddyLines}
	all := Tools()
	if want.Since != nil {
		d := newDifference(want.Since, want.Removals)
		all = []string{"appcmd", "netsh"}
		generators = map[string]func([]target) []string{"appcmd": d.appcmd, "netsh": d.netsh}
	}
	tools := want.Tools
	if len(tools) == 0 {
		tools = all
	}
	lines := make(map[string][]string)
	for _, tool := range tools {
		generate, ok := generators[tool]
		if !ok {
			return &ExitError{ExitUsage, fmt.Errorf("no command lines for %q: expected one of %s", tool, strings.Join(all, ", "))}
		}
		lines[tool] = list(generate(targets))
	}
	if e.JSON {
		return e.json(lines)
	}
	for i, tool := range tools {
		if len(tools) > 1 {
			if i > 0 {
				e.printf("\n")
			}
			e.printf("%s\n", toolHeading(tool))
		}
		for _, line := range lines[tool] {
			e.printf("%s\n", line)
		}
	}
	return nil
}

func toolHeading(tool string) string {
	return map[string]string{
		"adsutil": `rem adsutil.vbs, IIS 6: in C:\Inetpub\AdminScripts`,
		"appcmd":  `rem appcmd, IIS 7 and later: in %windir%\system32\inetsrv`,
		"netsh":   "rem netsh, the certificates of IIS 7 and later",
		"caddy":   "# caddy iis",
	}[tool]
}

// parseTargets reads items of the form id=host,host or id=IP:port:host.
func parseTargets(list []string, port uint16) ([]target, error) {
	var targets []target
	for _, item := range list {
		id, hosts, ok := strings.Cut(item, "=")
		number, err := strconv.ParseUint(strings.TrimSpace(id), 10, 32)
		if !ok || err != nil || number == 0 || hosts == "" {
			return nil, &ExitError{ExitUsage, fmt.Errorf("%q: expected a site id and its hosts, such as 1=www.example.com,example.com", item)}
		}
		t := target{id: uint32(number)}
		for host := range strings.SplitSeq(hosts, ",") {
			if host = strings.TrimSpace(host); !strings.Contains(host, ":") {
				host = fmt.Sprintf(":%d:%s", port, host)
			}
			parsed, err := binding.Parse("https", host)
			if err != nil {
				return nil, &ExitError{ExitUsage, fmt.Errorf("site %d: %w", number, err)}
			}
			t.bindings = append(t.bindings, targetBinding{Binding: parsed})
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// runningTargets are the sites of the running Caddy.
func runningTargets(ctx context.Context, e *Env) ([]target, error) {
	certificates, err := collect(e.Client.Certificates(ctx))
	if err != nil {
		return nil, err
	}
	current := make(map[string][]adminapi.Leaf)
	for _, c := range certificates {
		current[c.Name] = c.Current
	}
	var targets []target
	for site, err := range e.Client.Sites(ctx) {
		if err != nil {
			return nil, err
		}
		if !site.IsServed() {
			continue
		}
		t := target{id: site.ID, name: site.Name, stopped: site.State == "stopped" && site.Code == ""}
		for _, b := range site.Bindings {
			parsed, err := binding.Parse(b.Protocol, b.Binding)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", siteLabel(site.ID, site.Name), err)
			}
			t.bindings = append(t.bindings, targetBinding{
				Binding: parsed, flags: binding.Flags(b.Flags), certificate: b.Certificate,
				thumbprint: thumbprintFor(current[b.Certificate], parsed.Host),
			})
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// thumbprintFor returns the thumbprint of the certificate for a host, or of the
// first one.
func thumbprintFor(leaves []adminapi.Leaf, host string) string {
	for _, leaf := range leaves {
		if slices.Contains(leaf.Subjects, host) {
			return leaf.SHA1
		}
	}
	if len(leaves) > 0 {
		return leaves[0].SHA1
	}
	return ""
}

// maxAdsutil is how many items SET of adsutil.vbs takes: the script host passes
// it nine arguments with the command and the path.
const maxAdsutil = 9

func adsutilLines(targets []target) []string {
	var lines []string
	for _, t := range targets {
		for _, list := range []struct {
			property string
			protocol binding.Protocol
		}{{"ServerBindings", binding.HTTP}, {"SecureBindings", binding.HTTPS}} {
			values := t.values(list.protocol)
			if len(values) == 0 {
				continue
			}
			if len(values) > maxAdsutil {
				lines = append(lines, fmt.Sprintf("rem site %d: adsutil.vbs takes no more than %d bindings in one SET, and each SET replaces the list; these are %d",
					t.id, maxAdsutil, len(values)))
			}
			lines = append(lines, fmt.Sprintf("cscript.exe adsutil.vbs set /w3svc/%d/%s %s", t.id, list.property, strings.Join(values, " ")))
		}
	}
	return lines
}

// values are the bindings of a protocol in the form of IIS 6, quoted.
func (t target) values(p binding.Protocol) []string {
	var values []string
	for _, b := range t.bindings {
		if b.Protocol == p {
			values = append(values, `"`+b.SecureString()+`"`)
		}
	}
	return values
}

func appcmdLines(targets []target) []string {
	var lines []string
	for _, t := range targets {
		for _, b := range t.bindings {
			lines = append(lines, t.appcmd("+", b.element(true)))
		}
	}
	return lines
}

// element is how appcmd names a binding.
func (b targetBinding) element(flags bool) string {
	element := fmt.Sprintf("bindings.[protocol='%s',bindingInformation='%s'", b.Protocol, b.Binding)
	if flags && b.flags != 0 {
		element += fmt.Sprintf(",sslFlags='%d'", b.flags)
	}
	return element + "]"
}

// oddName tells whether a name is none that a line for appcmd can have: then it goes by the id.
func (t target) oddName() bool { return strings.ContainsAny(t.name, `"'`) }

// appcmd writes a line that changes a part of a site: with + or - as sign it is added or
// taken away.
func (t target) appcmd(sign, part string) string {
	if t.name == "" || t.oddName() {
		return fmt.Sprintf(`appcmd.exe set config -section:system.applicationHost/sites "/%s[id='%d'].%s" /commit:apphost`, sign, t.id, part)
	}
	return fmt.Sprintf(`appcmd.exe set site "/site.name:%s" "/%s%s"`, t.name, sign, part)
}

// iisAppID is the application id that IIS writes into TLS records.
const iisAppID = "{4dc3e181-e14b-4a21-b022-59fc669b0914}"

func netshLines(targets []target) []string {
	var lines []string
	seen := make(map[string]bool)
	for _, t := range targets {
		for _, b := range t.bindings {
			if b.Protocol != binding.HTTPS {
				continue
			}
			key := b.netshKey()
			if seen[key] {
				continue
			}
			seen[key] = true
			lines = append(lines, b.netshLine("add", key, "MY", 0))
		}
	}
	return lines
}

// netshLine adds or updates a record, which had some flags before.
func (b targetBinding) netshLine(verb, key, store string, before binding.Flags) string {
	words := []string{"netsh http " + verb + " sslcert", key}
	if b.flags&binding.FlagCentralStore == 0 {
		words = append(words, "certhash="+cmp.Or(b.thumbprint, "THUMBPRINT"), "certstorename="+store)
	}
	words = append(words, "appid="+iisAppID)
	for _, s := range []struct {
		flag binding.Flags
		word string
	}{
		{binding.FlagNoHTTP2, "disablehttp2"},
		{binding.FlagNoOCSP, "disableocspstapling"},
		{binding.FlagNoQUIC, "disablequic"},
		{binding.FlagNoTLS13, "disabletls13"},
		{binding.FlagNoLegacyTLS, "disablelegacytls"},
	} {
		switch {
		case b.flags&s.flag != 0:
			words = append(words, s.word+"=enable")
		case before&s.flag != 0:
			words = append(words, s.word+"=disable")
		}
	}
	return strings.Join(words, " ")
}

func (b targetBinding) netshKey() string {
	switch {
	case b.flags&binding.FlagCentralStore != 0:
		return fmt.Sprintf("ccs=%d", b.Port)
	case b.flags&binding.FlagSNI != 0:
		return fmt.Sprintf("hostnameport=%s:%d", b.Host, b.Port)
	}
	ip := "0.0.0.0"
	if b.IP.IsValid() {
		if ip = b.IP.String(); b.IP.Is6() {
			ip = "[" + ip + "]"
		}
	}
	return fmt.Sprintf("ipport=%s:%d", ip, b.Port)
}

// caddyLines sets what has the form of IIS 6 as a list, and adds the rest.
func caddyLines(targets []target) []string {
	var lines []string
	for _, t := range targets {
		if values := t.values(binding.HTTP); len(values) > 0 {
			lines = append(lines, fmt.Sprintf("caddy iis set /w3svc/%d/ServerBindings %s", t.id, strings.Join(values, " ")))
		}
		var simple []string
		var others []targetBinding
		for _, b := range t.bindings {
			switch {
			case b.Protocol == binding.HTTP:
			case b.flags == 0:
				simple = append(simple, `"`+b.SecureString()+`"`)
			default:
				others = append(others, b)
			}
		}
		if len(simple) > 0 {
			lines = append(lines, fmt.Sprintf("caddy iis set /w3svc/%d/SecureBindings %s", t.id, strings.Join(simple, " ")))
		}
		for _, b := range others {
			line := fmt.Sprintf(`caddy iis add binding %d https "%s" --flags %d`, t.id, b.Binding, b.flags)
			if b.certificate != "" {
				line += fmt.Sprintf(" --certificate %q", b.certificate)
			}
			lines = append(lines, line)
		}
	}
	return lines
}
