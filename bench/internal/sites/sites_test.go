package sites

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func generate(t *testing.T, kind Kind, n int) *Set {
	t.Helper()
	set, err := Generate(t.TempDir(), kind, n)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestGenerate(t *testing.T) {
	for kind, certs := range map[Kind]int{One: 1, Shared: 1 + Zones, Each: 21} {
		t.Run(string(kind), func(t *testing.T) {
			set := generate(t, kind, 20)
			seen := make(map[*Certificate]bool)
			for _, site := range set.All() {
				seen[site.Cert] = true
				checkCertificate(t, site)
			}
			if len(seen) != certs {
				t.Errorf("%d certificates, not %d", len(seen), certs)
			}
			if i, last := set.Last(); i != 19 || last.Host != "host-19.example-3.test" || last.Body() != "site:host-19.example-3.test" {
				t.Errorf("the last site is %d, %+v", i, last)
			}
		})
	}
}

func checkCertificate(t *testing.T, site Site) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(site.Cert.CertFile, site.Cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.LoadX509KeyPair(site.Cert.PairFile, site.Cert.PairFile)
	if err != nil || !bytes.Equal(both.Certificate[0], pair.Certificate[0]) {
		t.Errorf("%s is not the pair of files: %v", site.Cert.PairFile, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.VerifyHostname(site.Host); err != nil {
		t.Error(err)
	}
	if FingerprintOf(leaf) != site.Cert.Leaf {
		t.Errorf("%s has another fingerprint", site.Cert.CertFile)
	}
}

func TestGenerateNothing(t *testing.T) {
	if _, err := Generate(t.TempDir(), Shared, 0); err == nil {
		t.Error("no sites were accepted")
	}
	if _, err := Generate(t.TempDir(), "several", 1); err == nil {
		t.Error("an unknown kind of certificates was accepted")
	}
}

func TestHosts(t *testing.T) {
	set := generate(t, Shared, 20)
	var file bytes.Buffer
	if err := set.WriteHosts(&file); err != nil {
		t.Fatal(err)
	}
	text := file.String()
	read, err := ReadHosts(&file)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := read.WriteHosts(&again); err != nil {
		t.Fatal(err)
	}
	if again.String() != text {
		t.Errorf("read and written:\n%s\nnot\n%s", again.String(), text)
	}
	if read.Sites[0].Cert != read.Sites[8].Cert || read.Sites[0].Cert == read.Sites[1].Cert {
		t.Error("certificates are not shared as their files are")
	}
}

func TestHostsThatAreWrong(t *testing.T) {
	for _, text := range []string{"", "one\tone\t00\tc\tk\n", "a\tb\n", "a\ta\tzz\tc\tk\n"} {
		if set, err := ReadHosts(bytes.NewReader([]byte(text))); err == nil {
			t.Errorf("%q was read as %+v", text, set)
		}
	}
}

func TestRenamed(t *testing.T) {
	set := generate(t, One, 2)
	changed := set.Renamed(1, "new")
	if changed.Sites[1].Body() != "site:new" || changed.Sites[1].Host != set.Sites[1].Host {
		t.Errorf("the renamed site is %+v", changed.Sites[1])
	}
	if set.Sites[1].Name == "new" {
		t.Error("the original was changed")
	}
}
