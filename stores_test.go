package caddyiis_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// obtainer writes the files of a certificate as a program that obtains them does,
// below a folder, for the first name of the certificate. The round counts its renewals.
type obtainer func(t *testing.T, folder, host string, c *issued, round int)

// alone is the certificate without its issuer, and issuerPEM the issuer.
func (i *issued) alone() []byte { return pemOf(i.leaf) }

func (i *issued) issuerPEM() []byte { return pemOf(i.issuer) }

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// write puts files into a folder, each name followed by its content.
func write(t *testing.T, folder string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, path, content)
	}
}

// crlf has the line ends of Windows.
func crlf(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")) }

// programs are the layouts of programs that obtain certificates, by the names of the
// stores in the reference. Beside the files that serve stand those that must not.
var programs = map[string]obtainer{
	"winacme-pem": func(t *testing.T, folder, host string, c *issued, _ int) {
		name := strings.Replace(host, "*", "_", 1)
		write(t, folder, map[string][]byte{
			name + "-crt.pem": crlf(c.alone()), name + "-key.pem": crlf(c.key),
			name + "-chain.pem": crlf(c.cert), name + "-chain-only.pem": crlf(c.issuerPEM()),
		})
	},
	"winacme-pfx": func(t *testing.T, folder, host string, c *issued, _ int) {
		write(t, folder, map[string][]byte{strings.Replace(host, "*", "_", 1) + ".pfx": c.pfx(t, "secret")})
	},
	"certbot": func(t *testing.T, folder, host string, c *issued, round int) {
		name := strings.TrimPrefix(host, "*.")
		files := map[string][]byte{"cert": c.alone(), "chain": c.issuerPEM(), "fullchain": c.cert, "privkey": c.key}
		write(t, folder, map[string][]byte{"live/README": []byte("README"), "live/" + name + "/README": []byte("README")})
		for file, content := range files {
			archived := fmt.Sprintf("archive/%s/%s%d.pem", name, file, round)
			write(t, folder, map[string][]byte{archived: content})
			link := filepath.Join(folder, "live", name, file+".pem")
			if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.Symlink("../../"+archived, link); err != nil {
				t.Fatal(err)
			}
		}
	},
	"acme-sh": func(t *testing.T, folder, host string, c *issued, _ int) {
		write(t, folder, map[string][]byte{
			host + "_ecc/" + host + ".cer": c.alone(), host + "_ecc/" + host + ".key": c.key, host + "_ecc/ca.cer": c.issuerPEM(),
			host + "_ecc/fullchain.cer": c.cert, host + "_ecc/" + host + ".conf": []byte("Le_Domain='" + host + "'\n"), "account.conf": nil,
		})
	},
	"lego": func(t *testing.T, folder, host string, c *issued, _ int) {
		name := strings.Replace(host, "*", "_", 1)
		write(t, folder, map[string][]byte{
			name + ".crt": c.cert, name + ".issuer.crt": c.issuerPEM(), name + ".key": c.key, name + ".json": []byte("{}"),
		})
	},
	"posh-acme": func(t *testing.T, folder, host string, c *issued, _ int) {
		name := strings.Replace(host, "*", "!", 1)
		write(t, folder, map[string][]byte{
			name + "/cert.cer": crlf(c.alone()), name + "/cert.key": crlf(c.key), name + "/chain.cer": crlf(c.issuerPEM()), name + "/chain0.cer": crlf(c.issuerPEM()),
			name + "/fullchain.cer": crlf(c.cert), name + "/fullchain.pfx": c.pfx(t, "poshacme"), name + "/cert.pfx": c.pfx(t, "poshacme"),
			name + "/order.json": []byte("{}"), "current-order.txt": []byte(host + "\r\n"),
		})
	},
}

// documentedFolders are the stores of the reference, by name, without their folder.
func documentedFolders(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "<!-- folders -->\n```caddyfile\n")
	block, _, _ = strings.Cut(block, "\n```")
	stores := make(map[string]string)
	for _, match := range regexp.MustCompile(`(?m)^store (\S+) folder \S+ (\{\n(?:\t.*\n)+\})`).FindAllStringSubmatch(block+"\n", -1) {
		stores[match[1]] = match[2]
	}
	return stores
}

// TestFoldersOfPrograms: each store of the reference serves what its program writes,
// for a host and a wildcard, and what it writes when it renews, without a load.
func TestFoldersOfPrograms(t *testing.T) {
	t.Setenv("PFX_PASSWORD", "secret")
	stores := documentedFolders(t)
	if len(stores) != len(programs) {
		t.Fatalf("the reference has %d stores, want %d", len(stores), len(programs))
	}
	var config strings.Builder
	port := ts.FreePort(t)
	folders := make(map[string]string)
	id := 0
	for name, block := range stores {
		if programs[name] == nil {
			t.Fatalf("no program writes store %s", name)
		}
		folders[name] = t.TempDir()
		fmt.Fprintf(&config, "store %s folder %q %s\n", name, folders[name], strings.Replace(block, "{\n", "{\n\tpoll 100ms\n", 1))
		for _, host := range []string{"www." + name + ".test", "*.below." + name + ".test"} {
			id++
			fmt.Fprintf(&config, "site %d {\n binding https *:%d:%s {\n sni\n store %s\n }\n respond \"{iis.site.id}\"\n}\n", id, port, host, name)
		}
	}
	serial := int64(1000)
	put := func(name, host string, round int) *issued {
		serial++
		c := issue(t, serial, nil, host)
		programs[name](t, folders[name], host, c, round)
		return c
	}
	serves := func(host string, want *issued) error {
		leaf, err := ts.Handshake(at("127.0.0.1", port), host)
		if err == nil && leaf.SerialNumber.Cmp(want.leaf.SerialNumber) != 0 {
			err = fmt.Errorf("serial number %v, want %v", leaf.SerialNumber, want.leaf.SerialNumber)
		}
		return err
	}
	for name := range stores {
		put(name, "www."+name+".test", 1)
	}
	s := startIIS(t, config.String())
	for name := range stores {
		exact, wildcard := put(name, "www."+name+".test", 1), put(name, "*.below."+name+".test", 1)
		for host, want := range map[string]*issued{"www." + name + ".test": exact, "a.below." + name + ".test": wildcard} {
			if err := serves(host, want); err != nil {
				t.Errorf("%s: %s: %v", name, host, err)
			}
		}
	}
	for name := range stores {
		exact, wildcard := put(name, "www."+name+".test", 2), put(name, "*.below."+name+".test", 2)
		waitFor(t, name+" to be renewed", func() bool {
			return serves("www."+name+".test", exact) == nil && serves("a.below."+name+".test", wildcard) == nil
		})
	}
	var list adminapi.Page[adminapi.Certificate]
	s.AdminJSON("/iis/certificates", &list)
	for _, c := range list.Items {
		if c.Source != "folder" || len(c.Current) != 2 || c.Store == nil || c.UsedBy.SiteCount != 2 || c.Current[0].SiteCount != 1 {
			t.Errorf("shown as %+v", c)
		}
	}
	if hits := metric(t, s, "caddy_iis_store_hits_total", `store="lego"`); hits == "" || hits == "0" {
		t.Errorf("hits are %q", hits)
	}
	for _, f := range findings(t, s) {
		switch f.Code {
		case "not-in-central-store", "central-store-file-broken", "certificate-name-mismatch", "literal-password", "certificate-not-there-yet":
			t.Errorf("finding %+v", f)
		}
	}
}

// TestFolderParent: with the files of the domain above, a host gets its certificate if it
// is for the host, and else what it would get without.
func TestFolderParent(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	programs["certbot"](t, dir, "contoso.test", issue(t, 70, nil, "contoso.test", "www.contoso.test"), 1)
	s := startIIS(t, fmt.Sprintf(`
		store certs folder %q {
			file live/{host}/fullchain.pem live/{host}/privkey.pem
			wildcard parent
			default contoso.test
		}
		site 1 {
			binding https *:%d: {
				store certs
			}
			binding https *:%[2]d:shop.contoso.test {
				sni
				store certs
			}
			respond ok
		}`, dir, port))
	for _, name := range []string{"contoso.test", "www.contoso.test", "WWW.contoso.test", ""} {
		if leaf, err := ts.Handshake(at("127.0.0.1", port), name); err != nil || leaf.DNSNames[0] != "contoso.test" {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"shop.contoso.test", "test", "other.test"} {
		if _, err := ts.Handshake(at("127.0.0.1", port), name); !ts.IsReset(err) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	if f := finding(t, s, "not-in-central-store", "shop.contoso.test"); f == nil || f.Site != 1 {
		t.Errorf("finding %+v", f)
	}
}

// TestFolderHostileNames: what clients send as server name opens no file outside of the
// folder, and none that is no host's.
func TestFolderHostileNames(t *testing.T) {
	top, port := t.TempDir(), ts.FreePort(t)
	c := issue(t, 80, nil, "secret.test")
	both := bytes.Join([][]byte{c.cert, c.key}, nil)
	write(t, top, map[string][]byte{
		"outside.pem": both, "outside/fullchain.pem": both, "folder/inside.test.pem": both, "folder/sub/x.pem": both, "folder/.pem": both,
	})
	dir := filepath.Join(top, "folder")
	for link, target := range map[string]string{"link.test.pem": "../outside.pem", "absolute.test.pem": filepath.Join(top, "outside.pem"), "dir.test": "../outside"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	startIIS(t, fmt.Sprintf("store certs folder %q {\nfile {host}.pem\nfile {host}/fullchain.pem\n}\n"+
		"site 1 {\nbinding https *:%d: {\nstore certs\n}\nrespond ok\n}", dir, port))
	if _, err := ts.Handshake(at("127.0.0.1", port), "inside.test"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"../outside", "..", ".", "/outside", "sub/x", `sub\x`, "inside.test/../../outside", "outside", "..outside", "%2e%2e%2foutside",
		"inside.test\x00", "*", "{host}", "con.test", strings.Repeat("a.", 200) + "test", "link.test", "absolute.test", "dir.test",
	} {
		conn, err := ts.DialTLS(ts.Request{Addr: at("127.0.0.1", port), SNI: name})
		if err == nil {
			t.Errorf("%q is served by %s", name, conn.ConnectionState().PeerCertificates[0].Subject)
			_ = conn.Close()
		}
	}
}

// TestFolderTornFiles: a certificate without its key is not used while the one before
// serves, and says so.
func TestFolderTornFiles(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	old, next := issue(t, 90, nil, "www.torn.test"), issue(t, 91, nil, "www.torn.test")
	write(t, dir, map[string][]byte{"www.torn.test.crt": old.cert, "www.torn.test.key": old.key})
	s := startIIS(t, fmt.Sprintf("store certs folder %q {\nfile {host}.crt {host}.key\npoll 50ms\n}\n"+
		"site 1 {\nbinding https *:%d:www.torn.test {\nsni\nstore certs\n}\nrespond ok\n}", dir, port))
	serial := func() int64 {
		leaf, err := ts.Handshake(at("127.0.0.1", port), "www.torn.test")
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 90 {
		t.Fatalf("serial number %d", got)
	}
	write(t, dir, map[string][]byte{"www.torn.test.crt": next.cert})
	waitFor(t, "the finding about the torn files", func() bool { return finding(t, s, "central-store-file-broken", "www.torn.test.crt") != nil })
	upToDate := func() string { return metric(t, s, "caddy_iis_certificate_up_to_date", `certificate="certs"`) }
	waitFor(t, "the metric of the torn files", func() bool { return upToDate() == "0" })
	if got := serial(); got != 90 {
		t.Errorf("serial number %d while the files are torn", got)
	}
	write(t, dir, map[string][]byte{"www.torn.test.key": next.key})
	waitFor(t, "the new certificate", func() bool { return serial() == 91 })
	waitFor(t, "the metric of the whole files", func() bool { return upToDate() == "1" })
}

// TestStoreNames: what a store's name must not be.
func TestStoreNames(t *testing.T) {
	s := startIIS(t, "")
	certFile, keyFile := ts.PEM(t, "www.test")
	const folder = "store certs folder /srv/certs {\nfile {host}.pem\n}\n"
	for config, want := range map[string]string{
		folder + "site 1 {\nbinding https *:443:a.test {\nsni\ncertificate certs\n}\n}":          `"certs" is a store: write store certs`,
		folder + "site 1 {\nbinding https *:443:a.test {\nsni\nstore cert\n}\n}":                 `store "cert" is not configured`,
		folder + "site 1 {\nbinding https *:443:a.test {\nsni\nstore certs\ncertificate x\n}\n}": `exclude each other`,
		folder + "site 1 {\nbinding https *:443:a.test {\nsni\ncentral_store\nstore certs\n}\n}": `cannot name another`,
		"site 1 {\nbinding https *:443:a.test {\nsni\nstore certs\n}\n}":                         `no other is: add store certs folder`,
		fmt.Sprintf("certificate certs %q %q\n%s", certFile, keyFile, folder):                    `there is a certificate of this name`,
		folder + folder: `configured twice`,
		"store certs folder /srv/certs {\nfile ../{host}.pem\n}":         `is no path in the folder`,
		"store certs folder /srv/certs {\nfile /{host}.pem\n}":           `is no path in the folder`,
		"store certs folder /srv/certs {\nfile www.pem\n}":               `is no path in the folder`,
		"store certs folder /srv/certs {\nfile {host}.pfx {host}.key\n}": `holds its key`,
		"store certs folder /srv/certs":                                  `say where the files of a host are`,
		"store certs flder /srv/certs":                                   `unknown module "flder"`,
		folder[:len(folder)-2] + "wildcard a/b\n}":                       `nothing that can stand for an asterisk`,
	} {
		if err := s.Load(iisConfig(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot %v, want %s", config, err, want)
		}
	}
}

// TestNamedCentralStore: a central store under a name of its own.
func TestNamedCentralStore(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	replace(t, filepath.Join(dir, "_.fabrikam.test.pfx"), issue(t, 61, nil, "*.fabrikam.test").pfx(t, "secret"))
	s := startIIS(t, fmt.Sprintf("store ccs central %q {\npassword secret\n}\nsite 1 {\nsecure_bindings :%d:\nstore ccs\nrespond ok\n}", dir, port))
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "www.fabrikam.test"})
	if err != nil || answer.Status != http.StatusOK || answer.Subject() != "*.fabrikam.test" {
		t.Errorf("got %v, %v", answer, err)
	}
	if finding(t, s, "literal-password", `store "ccs"`) == nil {
		t.Error("no finding about the password")
	}
}
