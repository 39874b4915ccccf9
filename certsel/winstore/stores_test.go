package winstore_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/winstore"
	"github.com/caddy-iis/caddy-iis/certsel/winstore/winstoretest"
)

const day = 24 * time.Hour

func newStores(t testing.TB, m *winstoretest.Machine) *winstore.Stores {
	t.Helper()
	s := winstore.NewStores(m, winstore.Interval)
	t.Cleanup(s.Close)
	return s
}

func bySubject(subject string) winstore.Query {
	return winstore.Query{Subject: subject, Stores: winstore.DefaultStores}
}

// TestFind: which certificate a name leads to.
func TestFind(t *testing.T) {
	const name = "www.example.com"
	ca := newCert(t, -day, 900*day, nil, authority, "ca")
	valid := func(from, to time.Duration) issued { return newCert(t, from, to, &ca, nil, name) }
	own := newCert(t, -day, 900*day, nil, nil, name)
	long, short := valid(-300*day, 60*day), valid(-2*day, 30*day)
	expired, olderExpired, future := valid(-90*day, -day), valid(-200*day, -30*day), valid(day, 900*day)
	client := newCert(t, -day, 900*day, nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, name)
	root := newCert(t, -day, 900*day, nil, authority, "root")
	sub := newCert(t, -day, 900*day, &root, authority, name)
	wildcard := newCert(t, -day, 900*day, nil, nil, "*.example.com")
	for title, test := range map[string]struct {
		there []issued
		query winstore.Query
		want  issued
	}{
		"the newest, though another is valid longer":  {[]issued{long, short}, bySubject(name), short},
		"a valid one before one that is not yet":      {[]issued{future, long}, bySubject(name), long},
		"a valid one before an expired one":           {[]issued{expired, long}, bySubject(name), long},
		"of expired ones the one that was longest":    {[]issued{olderExpired, expired}, bySubject(name), expired},
		"none of clients":                             {[]issued{client, long}, bySubject(name), long},
		"none of authorities":                         {[]issued{sub, long}, bySubject(name), long},
		"a self-signed one last, though it is newer":  {[]issued{own, long}, bySubject(name), long},
		"a self-signed one before an expired one":     {[]issued{expired, own}, bySubject(name), own},
		"a wildcard is another subject":               {[]issued{wildcard, long}, bySubject(name), long},
		"a wildcard by its own name":                  {[]issued{wildcard, long}, bySubject("*.EXAMPLE.com"), wildcard},
		"by thumbprint what it names, expired or not": {[]issued{long, expired, short}, winstore.Query{Thumbprint: expired.thumbprint(), Stores: []string{"my"}}, expired},
		"by thumbprint also one of clients":           {[]issued{client}, winstore.Query{Thumbprint: client.thumbprint(), Stores: []string{"MY"}}, client},
	} {
		m := new(winstoretest.Machine)
		for _, cert := range test.there {
			m.Put("My", cert.entry())
		}
		found, err := newStores(t, m).Find(test.query, time.Time{}, nil)
		if err != nil || found.Certificate.Thumbprint != test.want.thumbprint() || found.TLS.Leaf != found.Certificate.Leaf {
			t.Errorf("%s: got %v, %v", title, found, err)
		}
	}
}

// TestFindNames: the forms of a subject and of friendly names.
func TestFindNames(t *testing.T) {
	cert := newCert(t, -day, day, nil, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "common.example.com"} },
		"www.example.com", "xn--mnchen-3ya.example", "192.0.2.7", "2001:db8::7")
	onlyCommon := newCert(t, -day, day, nil, func(c *x509.Certificate) { c.DNSNames = nil }, "Büro Server")
	m := new(winstoretest.Machine)
	entry := cert.entry()
	entry.FriendlyName = "Shop (2026)"
	m.Put("WebHosting", entry)
	m.Put("My", onlyCommon.entry())
	s := newStores(t, m)
	for _, subject := range []string{"WWW.example.com", "münchen.example", "MÜNCHEN.example", "192.0.2.7", "2001:DB8:0::7", "büro server"} {
		if _, err := s.Find(bySubject(subject), time.Time{}, nil); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if _, err := s.Find(winstore.Query{FriendlyName: "shop (2026)", Stores: winstore.DefaultStores}, time.Time{}, nil); err != nil {
		t.Error(err)
	}
	for title, q := range map[string]winstore.Query{
		"another store":   {Subject: "www.example.com", Stores: []string{"My"}},
		"another subject": bySubject("example.com"),
		"the common name": bySubject("common.example.com"), // of a certificate that has other names
		"a friendly name": bySubject("Shop (2026)"),
		"a subject":       {FriendlyName: "www.example.com", Stores: winstore.DefaultStores},
	} {
		if found, err := s.Find(q, time.Time{}, nil); err == nil || found != nil {
			t.Errorf("%s: found %v", title, found)
		}
	}
}

// TestFindTells: an error says what is there, and why it is not served.
func TestFindTells(t *testing.T) {
	const name = "www.example.com"
	denied := errors.New("access is denied")
	noKey, client := newCert(t, -day, day, nil, nil, name),
		newCert(t, -day, day, nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, name)
	noRight, wrong, good := newCert(t, -day, day, nil, nil, name), newCert(t, -2*day, day, nil, nil, name), newCert(t, -3*day, day, nil, nil, name)
	m := new(winstoretest.Machine)
	s := newStores(t, m)
	q := bySubject(name)
	find := func() (*winstore.Found, error) { return s.Find(q, time.Now(), nil) }
	expect := func(parts ...string) {
		t.Helper()
		found, err := find()
		if err == nil || found != nil {
			t.Fatalf("found %v", found)
		}
		for _, part := range append(parts, `for the subject "www.example.com"`, "My, WebHosting") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}
	expect()
	m.Put("My", winstoretest.Entry{DER: noKey.Raw})
	expect(noKey.thumbprint(), "no private key")
	m.Put("My", client.entry())
	expect(client.thumbprint(), "not meant for servers")
	entry := noRight.entry()
	entry.NoRight = denied
	m.Put("My", entry)
	expect(noRight.thumbprint(), denied.Error())
	m.Put("WebHosting", winstoretest.Entry{DER: wrong.Raw, Key: good.key})
	expect(wrong.thumbprint(), "not that of the certificate")

	// With one that serves, the better ones that cannot be used are a remark.
	m.Put("WebHosting", good.entry())
	found, err := find()
	if found == nil || found.Certificate.Thumbprint != good.thumbprint() || err == nil || !strings.Contains(err.Error(), denied.Error()) || strings.Contains(err.Error(), client.thumbprint()) {
		t.Errorf("got %v, %v", found, err)
	}
	m.Break("my", errors.New("the registry is gone"))
	if found, err := find(); found != nil || err == nil || !strings.Contains(err.Error(), "reading the store My of this machine: the registry is gone") {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestChain: a chain is made of the store CA, without the root, and changes with it; the
// key is not opened again for that.
func TestChain(t *testing.T) {
	root := newCert(t, -day, 900*day, nil, authority, "root")
	sub := newCert(t, -day, 900*day, &root, authority, "sub")
	leaf := newCert(t, -day, 900*day, &sub, nil, "www.example.com")
	m := new(winstoretest.Machine)
	m.Put("My", leaf.entry())
	m.Put(winstore.Intermediates, winstoretest.Entry{DER: root.Raw})
	s := newStores(t, m)
	first, err := s.Find(bySubject("www.example.com"), time.Now(), nil)
	if err != nil || len(first.TLS.Certificate) != 1 {
		t.Fatal(first, err)
	}
	m.Put(winstore.Intermediates, winstoretest.Entry{DER: sub.Raw})
	second, err := s.Find(bySubject("www.example.com"), time.Now(), first)
	if err != nil || len(second.TLS.Certificate) != 2 || !bytes.Equal(second.TLS.Certificate[1], sub.Raw) {
		t.Fatal(second, err)
	}
	if second.TLS.PrivateKey != first.TLS.PrivateKey || len(first.TLS.Certificate) != 1 {
		t.Error("the key was opened again, or what serves was changed")
	}
	if third, err := s.Find(bySubject("www.example.com"), time.Now(), second); err != nil || third != second {
		t.Errorf("without a change: %v, %v", third, err)
	}
}

// TestImportedAgain: the key of a certificate that was imported anew is opened anew, since
// the former one may be gone.
func TestImportedAgain(t *testing.T) {
	cert := newCert(t, -day, day, nil, nil, "www.example.com")
	m := new(winstoretest.Machine)
	put := func(keyName string) {
		entry := cert.entry()
		entry.KeyName = keyName
		m.Put("My", entry)
	}
	put("first")
	s := newStores(t, m)
	first, err := s.Find(bySubject("www.example.com"), time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	put("second")
	second, err := s.Find(bySubject("www.example.com"), time.Now(), first)
	if err != nil || second.TLS.PrivateKey == first.TLS.PrivateKey {
		t.Fatal("the former key is still used", err)
	}
	if third, err := s.Find(bySubject("www.example.com"), time.Now(), second); err != nil || third != second {
		t.Errorf("without a change: %v, %v", third, err)
	}
}

// TestWatch: whoever watches looks at once where a store tells of changes, and within the
// interval where it does not; so a certificate has its turn when it becomes valid.
func TestWatch(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := &winstoretest.Machine{Silent: silent}
			const name = "www.example.com"
			old := newCert(t, -day, day, nil, nil, name)
			m.Put("My", old.entry())
			s := winstore.NewStores(m, winstore.Interval)
			defer s.Close()
			var serves atomic.Pointer[winstore.Found]
			look := func() {
				if found, _ := s.Find(bySubject(name), time.Time{}, serves.Load()); found != nil {
					serves.Store(found)
				}
			}
			look()
			stop := s.Watch(look)
			expect := func(after time.Duration, want issued) {
				t.Helper()
				time.Sleep(after)
				synctest.Wait()
				if got := serves.Load().Certificate.Thumbprint; got != want.thumbprint() {
					t.Errorf("silent %t, after %s: %s serves, not %s", silent, after, got, want.thumbprint())
				}
			}
			next := newCert(t, time.Hour, 90*day, nil, nil, name)
			m.Put("My", next.entry())
			expect(time.Minute, old)
			expect(time.Hour, next)
			newest := newCert(t, -time.Second, 90*day, nil, nil, name)
			m.Put("WebHosting", newest.entry())
			wait := winstore.Interval
			if !silent {
				wait = 0
			}
			expect(wait, newest)
			stop()
			m.Remove("WebHosting", newest.Raw)
			expect(time.Hour, newest)
		})
	}
}

// TestListOnce: however many certificates are looked for, a store is listed once, and
// again only for who wants it newer.
func TestListOnce(t *testing.T) {
	m := new(winstoretest.Machine)
	cert := newCert(t, -day, day, nil, nil, "www.example.com")
	m.Put("My", cert.entry())
	s := newStores(t, m)
	since := time.Now()
	for !time.Now().After(since) { // on some systems the clock stands still for a while
	}
	for range 100 {
		if _, err := s.Find(bySubject("www.example.com"), since, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.Lists(); got != 3 {
		t.Errorf("%d lists of three stores", got)
	}
	m.Remove("My", cert.Raw)
	if _, err := s.Find(bySubject("www.example.com"), time.Now(), nil); err == nil {
		t.Error("found as it was before")
	}
}
