package certsel

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

func TestPFXServes(t *testing.T) {
	dir := t.TempDir()
	ec, rsa := newPair(t, "ec.example.com", nil, ecKey(t)), newPair(t, "rsa.example.com", nil, rsaKey(t))
	writeFile(t, dir, "ec.pfx", ec.pfx(t, "of ec"))
	writeFile(t, dir, "rsa.p12", rsa.pfx(t, ""))
	t.Setenv("CERTSEL_DIR", dir)
	t.Setenv("CERTSEL_PASSWORD", "of ec")

	source := &PFX{Files: []PFXFile{
		{File: "{env.CERTSEL_DIR}/ec.pfx", Password: "{env.CERTSEL_PASSWORD}", Thumbprint: certfile.Thumbprint(ec.cert.Raw)},
		{File: dir + "/rsa.p12"},
	}}
	provision(t, source)
	if len(source.Current()) != 2 {
		t.Fatalf("%d certificates", len(source.Current()))
	}
	if got := serve(t, source, new(tls.Config)); !got.Equal(ec.cert) {
		t.Errorf("got %s", got.Subject)
	}
	if got := serve(t, source, rsaOnly()); !got.Equal(rsa.cert) {
		t.Errorf("got %s for a client without ECDSA", got.Subject)
	}
}

func TestPFXPassword(t *testing.T) {
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	for _, password := range []string{"secret", "pa{ss}word", "{", "a\\b", "with blank", "päss"} {
		file := writeFile(t, dir, "p.pfx", p.pfx(t, password))
		t.Setenv("CERTSEL_PASSWORD", password)
		secret := writeFile(t, dir, "secret", []byte(password+"\r\n"))
		for _, raw := range []string{password, "{env.CERTSEL_PASSWORD}", "{file." + secret + "}"} {
			source := &PFX{Files: []PFXFile{{File: file, Password: raw}}}
			provision(t, source)
			if source.LiteralPassword() != (raw == password) {
				t.Errorf("literal password of %s: %v", raw, source.LiteralPassword())
			}
		}
	}
	if new(PFX).LiteralPassword() || (&PFX{Files: []PFXFile{{File: "x"}}}).LiteralPassword() {
		t.Error("no password is a literal one")
	}
}

func TestPFXErrors(t *testing.T) {
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	const password = "tell-nobody"
	file := writeFile(t, dir, "p.pfx", p.pfx(t, "another"))
	for _, tc := range []struct {
		source PFX
		err    string
	}{
		{PFX{}, "no files"},
		{PFX{Files: []PFXFile{{File: "{env.CERTSEL_NOWHERE}/p.pfx"}}}, "{env.CERTSEL_NOWHERE}"},
		{PFX{Files: []PFXFile{{File: dir + "/missing.pfx"}}}, "PFX file " + dir + "/missing.pfx: read " + dir + "/missing.pfx: " + noSuchFile},
		{PFX{Files: []PFXFile{{File: dir}}}, "not a regular file"},
		{PFX{Files: []PFXFile{{File: file}}}, "PFX file " + file + ": wrong password: the file has a password, and none is given"},
		{PFX{Files: []PFXFile{{File: file, Password: password}}}, "PFX file " + file + ": wrong password, or the file is damaged"},
		{PFX{Files: []PFXFile{{File: file, Password: "{" + password + "}"}}}, "wrong password"},
		{PFX{Files: []PFXFile{{File: file, Password: password + "{env.CERTSEL_NOWHERE}"}}}, "{env.CERTSEL_NOWHERE} has no value"},
		{PFX{Files: []PFXFile{{File: file, Password: password + "{file." + dir + "/nowhere}"}}}, "{file." + dir + "/nowhere} has no value"},
		{PFX{Files: []PFXFile{{File: file, Password: "another", Thumbprint: "12"}}}, "40 hexadecimal digits"},
	} {
		err := loadSource(&tc.source)
		wantError(t, err, tc.err)
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the password is in the error: %v", err)
		}
		if len(tc.source.Current()) != 0 {
			t.Error("a certificate in spite of an error")
		}
	}
	err := loadSource(&PFX{Files: []PFXFile{{File: file}}})
	if !errors.Is(err, certfile.ErrPassword) {
		t.Errorf("%v is not ErrPassword", err)
	}
}

func TestPFXCaddyfile(t *testing.T) {
	const thumbprint = "71CB4E2B02738AD44F8B382C93BD17BA665F9914"
	for input, want := range map[string]string{
		"pfx shop.pfx":                        `{"files":[{"file":"shop.pfx"}]}`,
		"pfx shop.pfx {\npassword {env.P}\n}": `{"files":[{"file":"shop.pfx","password":"{env.P}"}]}`,
		"pfx shop.pfx {\nthumbprint " + "\u200e71 cb 4e 2b 02 73 8a d4 4f 8b 38 2c 93 bd 17 ba 66 5f 99 14\npassword \"a b\"\n}": `{"files":[{"file":"shop.pfx","password":"a b","thumbprint":"` + thumbprint + `"}]}`,
		"pfx {\nfile a.pfx {\npassword x\n}\nfile b.pfx\nfile c.pfx {\nthumbprint " + thumbprint + "\n}\n}":                      `{"files":[{"file":"a.pfx","password":"x"},{"file":"b.pfx"},{"file":"c.pfx","thumbprint":"` + thumbprint + `"}]}`,
	} {
		wantFiles(t, new(PFX), input, want)
	}
	for input, want := range map[string]string{
		"pfx":                                  "expected a PFX file",
		"pfx {\n}":                             "expected a PFX file",
		"pfx a.pfx b.pfx":                      "expected one PFX file",
		"pfx a.pfx tell-nobody {\n}":           "expected one PFX file",
		"pfx {\na.pfx\n}":                      "expected file <pfx_file>",
		"pfx {\nfile\n}":                       "expected one PFX file",
		"pfx a.pfx {\nkey x\n}":                `unknown word "key"`,
		"pfx a.pfx {\npassword\n}":             "password takes one argument",
		"pfx a.pfx {\npassword tell nobody\n}": "password takes one argument",
		"pfx a.pfx {\npassword tell\npassword no\n}":                                   "password is set twice",
		"pfx a.pfx {\npassword tell {\nx\n}\n}":                                        "password takes no block",
		"pfx a.pfx {\nthumbprint\n}":                                                   "thumbprint needs",
		"pfx a.pfx {\nthumbprint 12\n}":                                                "40 hexadecimal digits",
		"pfx a.pfx {\nthumbprint " + thumbprint + "\nthumbprint " + thumbprint + "\n}": "thumbprint is set twice",
	} {
		err := parse(new(PFX), input)
		wantError(t, err, want)
		if err != nil && (strings.Contains(err.Error(), "tell") || strings.Contains(err.Error(), "nobody")) {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

// TestUnchangedFilesAreDecodedOnce loads many files again and again, as
// configuration loads do: the next one begins before the last one ends.
func TestUnchangedFilesAreDecodedOnce(t *testing.T) {
	const files = 1000
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	load := func() (sources []*PFX) {
		for i := range files {
			source := &PFX{Files: []PFXFile{{File: fmt.Sprintf("%s/%d.pfx", dir, i), Password: "secret"}}}
			if err := loadSource(source); err != nil {
				t.Fatal(err)
			}
			sources = append(sources, source)
		}
		return sources
	}
	unload := func(sources []*PFX) {
		for _, source := range sources {
			if err := source.Cleanup(); err != nil {
				t.Error(err)
			}
		}
	}
	count := func(what string, want int64, load func() []*PFX) []*PFX {
		t.Helper()
		before := decodes.Load()
		sources := load()
		if got := decodes.Load() - before; got != want {
			t.Errorf("%s: %d files decoded, want %d", what, got, want)
		}
		return sources
	}
	for i := range files {
		writeFile(t, dir, fmt.Sprintf("%d.pfx", i), p.pfx(t, "secret"))
	}

	first := count("the first load", files, load)
	second := count("the next load", 0, load)
	if first[0].Current()[0] != second[0].Current()[0] {
		t.Error("a certificate is held twice")
	}
	unload(first)
	writeFile(t, dir, "7.pfx", p.pfx(t, "secret"))
	third := count("a load with one changed file", 1, load)
	unload(second)
	unload(third)
	count("a load after all was released", files, func() []*PFX { sources := load(); unload(sources); return nil })
}

// TestPoolTellsApart has files that are the same but for how they are opened.
func TestPoolTellsApart(t *testing.T) {
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	file := writeFile(t, dir, "p.pfx", p.pfx(t, "secret"))
	both := writeFile(t, dir, "both.pem", p.certPEM(), p.keyPEM(t))
	empty := writeFile(t, dir, "empty.pem")
	provision(t, &PFX{Files: []PFXFile{{File: file, Password: "secret"}}})
	provision(t, &PEM{Files: []PEMFiles{{Certificate: both}}})
	for _, source := range []fileSource{
		&PFX{Files: []PFXFile{{File: file, Password: "secre"}}},
		&PFX{Files: []PFXFile{{File: file, Password: "secret", Thumbprint: strings.Repeat("0", 40)}}},
		&PEM{Files: []PEMFiles{{Certificate: both, Key: empty}}},
	} {
		if err := loadSource(source); err == nil {
			t.Errorf("%+v took what another one had decoded", source)
		}
	}
}

// TestFilesConcurrently provisions and cleans up sources of the same files at
// the same time.
func TestFilesConcurrently(t *testing.T) {
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	pfx := writeFile(t, dir, "p.pfx", p.pfx(t, "secret"))
	both := writeFile(t, dir, "both.pem", p.certPEM(), p.keyPEM(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, source := range []fileSource{
					&PFX{Files: []PFXFile{{File: pfx, Password: "secret"}, {File: pfx, Password: "secret"}}},
					&PEM{Files: []PEMFiles{{Certificate: both}}},
				} {
					if err := loadSource(source); err != nil {
						t.Error(err)
					}
					for _, cert := range source.Current() {
						if !cert.Leaf.Equal(p.cert) {
							t.Error("another certificate")
						}
					}
					if err := source.Cleanup(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
