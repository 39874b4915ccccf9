package caddyiis_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// commandsPages are the configurations that the console blocks of docs/commands.md are
// about, by the command that the block begins with.
var commandsPages = map[string]string{
	"set /w3svc/1/SecureBindings": `
		site 1 Main {
			secure_bindings :443:www.example.com
			certificate wildcard
			respond main
		}`,
	"list": `
		site 1 Main {
			server_bindings :80:www.example.com
			secure_bindings :443:www.example.com
			certificate wildcard
			respond main
		}
		site 2 Shop {
			binding https *:443:shop.example.org {
				sni
				certificate shop
			}
			binding http 127.0.0.2:80:
			respond shop
		}
		site 3 Off {
			autostart off
			server_bindings :8080:
			respond off
		}`,
	"explain": `
		site 1 Main {
			secure_bindings :443:www.example.com
			certificate wildcard
			respond main
		}`,
	"verify": `
		site 1 Main {
			server_bindings :80:www.example.com
			secure_bindings :443:www.example.com
			certificate wildcard
			@missing protocol https
			respond @missing 404
			respond main
		}
		site 2 Shop {
			binding https *:443:shop.example.org {
				sni
				certificate shop
			}
			respond 502
		}`,
	"commands": "",
	"check --config Caddyfile\nerror": `{
	iis {
		site 1 First {
			server_bindings :80:www.example.com
			respond first
		}
		site 2 Second {
			server_bindings :80:www.example.com
			respond second
		}
	}
}
`,
}

// TestCommandsPage runs the console blocks of docs/commands.md, each with the configuration
// that it is about, and compares what is written. Ports, addresses, dates and thumbprints
// are others, and the authority of the certificates is Caddy's own.
func TestCommandsPage(t *testing.T) {
	raw, err := os.ReadFile("docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]bool)
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(string(raw), -1) {
		for begin, config := range commandsPages {
			line, _, _ := strings.Cut(block[1], "\n")
			ok := strings.HasPrefix(block[1], "$ caddy iis "+begin)
			if ok && !strings.Contains(line, "--against") {
				tried[begin] = true
				t.Run(begin, func(t *testing.T) { runsAsWritten(t, block[1], config) })
			}
		}
	}
	if len(tried) != len(commandsPages) {
		t.Errorf("only %v were found", tried)
	}
}

// untrusted is the one complaint about Caddy's own authority.
var untrusted = regexp.MustCompile(`A browser would not be content:\n *ERR_CERT_AUTHORITY_INVALID: .*\n`)

func runsAsWritten(t *testing.T, block, config string) {
	if strings.HasPrefix(config, "{") {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("Caddyfile", []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		config = ""
	}
	ports := []int{ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)}
	slices.Sort(ports) // as those of the page: lists are in order of ports
	plain, secure, other := fmt.Sprint(ports[0]), fmt.Sprint(ports[1]), fmt.Sprint(ports[2])
	here := strings.NewReplacer(":8080:", ":"+other+":", ":443", ":"+secure, ":80:", ":"+plain+":", "10.0.0.5", "127.0.0.5")
	there := strings.NewReplacer(other, "8080", secure, "443", plain, "80", "127.0.0.5", "10.0.0.5")
	s := startIIS(t, here.Replace(`
		certificate wildcard {
			subjects *.example.com
			issuer internal
		}
		certificate shop {
			subjects shop.example.org
			issuer internal
		}`+config))
	plainly := func(text string) string {
		text = untrusted.ReplaceAllString(text, "A browser would show the answer without complaint.\n")
		text = dates.ReplaceAllString(thumbprints.ReplaceAllString(text, "SHA1"), "DATE")
		text = regexp.MustCompile(`(?m)[ \t]+`).ReplaceAllString(text, " ")
		return strings.TrimSpace(regexp.MustCompile(`(?m) +$|^ +`).ReplaceAllString(text, ""))
	}
	for _, example := range strings.Split("\n"+block, "\n$ caddy iis ")[1:] {
		line, want, _ := strings.Cut(example, "\n")
		args := splitArgs(t, here.Replace(line))
		if args[0] == "verify" {
			args = append(args, "--roots", "internal")
		}
		var out, errOut bytes.Buffer
		caddyiis.RunCommand(&out, &errOut, append([]string{"--address", s.AdminAddr()}, args...)...)
		got := out.String()
		if strings.HasPrefix(want, "Error: ") {
			got += errOut.String()
		}
		if got, want := plainly(there.Replace(got)), plainly(want); got != want {
			t.Errorf("caddy iis %s: got\n%s\n%s\nthe page has\n%s", line, got, &errOut, want)
		}
	}
}
