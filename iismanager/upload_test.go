package iismanager_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// upload sends the form with a certificate.
func (m *manager) upload(place string, fields map[string]string, files ...string) answer {
	m.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range fields {
		if err := form.WriteField(name, value); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, file := range files {
		w, err := form.CreateFormFile("files", "<b>"+file[:min(4, len(file))])
		if err == nil {
			_, err = w.Write([]byte(file))
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		m.t.Fatal(err)
	}
	return m.do(http.MethodPost, place, "certificates", nil, func(r *http.Request) {
		r.Header.Set("Content-Type", form.FormDataContentType())
		r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
	})
}

// pemOf makes a certificate and its key as PEM.
func pemOf(t *testing.T, hosts ...string) (cert, key string) {
	t.Helper()
	certFile, keyFile := ts.PEMValid(t, -time.Hour, 90*24*time.Hour, hosts...)
	for path, into := range map[string]*string{certFile: &cert, keyFile: &key} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		*into = string(raw)
	}
	return cert, key
}

// TestUpload: a certificate that is given to a source serves, is replaced if nobody else
// has done so meanwhile, and its key is nowhere to be seen.
func TestUpload(t *testing.T) {
	m := startManager(t, "")
	cert, key := pemOf(t, "bakery.test")
	for _, place := range []string{m.secured, m.in} {
		m.get(place, "certificates").want(t, http.StatusOK, "Add a certificate", "<option>bolt</option>")
	}
	m.upload(m.in, map[string]string{"name": "bakery", "source": "bolt"}, cert, key).want(t, http.StatusSeeOther)
	m.add(1001, fmt.Sprintf(`{"bindings": [{"protocol": "https", "binding": "*:%d:bakery.test", "flags": 1, "certificate": "bakery"}]}`, m.secure))
	serves := func(want string) {
		t.Helper()
		a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", m.secure), SNI: "bakery.test"})
		if err != nil || a.Subject() != want {
			t.Fatalf("%v, %v", a, err)
		}
	}
	serves("bakery.test")

	shown := m.get(m.secured, "certificates?replace=bakery")
	shown.want(t, http.StatusOK, "Replace the certificate bakery", `certificates?replace=bakery#upload`, `value="bakery" required`)
	form := map[string]string{"name": "bakery", "etag": shown.etag(t)}
	next, nextKey := pemOf(t, "next.test", "bakery.test")
	m.upload(m.secured, form, next+nextKey).want(t, http.StatusSeeOther)
	serves("next.test")
	third, thirdKey := pemOf(t, "third.test", "bakery.test")
	late := m.upload(m.secured, form, third, thirdKey)
	late.want(t, http.StatusConflict, "Somebody else has changed this certificate", "next.test")
	serves("next.test")
	form["etag"] = late.etag(t)
	m.upload(m.secured, form, third, thirdKey).want(t, http.StatusSeeOther)
	serves("third.test")

	_, otherKey := pemOf(t, "other.test")
	for name, test := range map[string]struct {
		fields map[string]string
		files  []string
		status int
		text   string
	}{
		"there already":         {map[string]string{"name": "bakery"}, []string{cert, key}, 422, "there is a certificate bakery already"},
		"of the configuration":  {map[string]string{"name": "wild"}, []string{cert, key}, 409, "one of the configuration"},
		"another key":           {map[string]string{"name": "new"}, []string{cert, otherKey}, 422, "certificate new"},
		"no key":                {map[string]string{"name": "new"}, []string{cert}, 422, "certificate new"},
		"nothing":               {map[string]string{"name": "new"}, nil, 422, "Choose the files"},
		"no certificate":        {map[string]string{"name": "new"}, []string{"nonsense"}, 422, "certificate new"},
		"two files":             {map[string]string{"name": "new"}, []string{cert, "nonsense"}, 422, "&lt;b&gt;nons is not PEM"},
		"no name":               {nil, []string{cert, key}, 422, "is no name of a certificate"},
		"a path":                {map[string]string{"name": "../sites/1001"}, []string{cert, key}, 422, "is no name of a certificate"},
		"another source":        {map[string]string{"name": "new", "source": "nonsense"}, []string{cert, key}, 422, "no source &#34;nonsense&#34;"},
		"a tag of another time": {map[string]string{"name": "bakery", "etag": "\"nonsense\""}, []string{cert, key}, 409, "Somebody else"},
		"very large":            {map[string]string{"name": "new"}, []string{strings.Repeat("x", 1<<20+100<<10)}, 413, "too large"},
	} {
		test.fields = withPassword(test.fields)
		a := m.upload(m.secured, test.fields, test.files...)
		if a.status != test.status || !strings.Contains(a.body, test.text) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if strings.Contains(a.body, "PRIVATE KEY") || strings.Contains(a.body, "open sesame") || strings.Contains(a.body, "<b>") {
			t.Errorf("%s: it shows what it should not: %s", name, a.body)
		}
	}
	m.post(m.secured, "certificates", url.Values{"name": {"new"}}).want(t, http.StatusBadRequest, "multipart")
	m.get(m.secured, "certificates?replace=wild").want(t, http.StatusConflict, "by no source")
	m.get(m.secured, "certificates?replace="+url.QueryEscape("../sites/1001")).want(t, http.StatusNotFound, "no name of a certificate")
	m.get(m.secured, "certificates?replace=gone").want(t, http.StatusNotFound)
	serves("third.test")

	m.upload(m.fixed, map[string]string{"name": "new"}, cert, key).want(t, http.StatusForbidden, "read-only")
	if a := m.get(m.fixed, "certificates"); strings.Contains(a.body, "<form") || strings.Contains(a.body, "replace=") {
		t.Error("a page that is read-only has a form")
	}
	m.get(m.secured, "changes").want(t, http.StatusOK, "certificate bakery", "manager/alice")
	if lines := ts.Logs.Lines("the manager page has made a change", `"user":"alice"`, `"change":"replace certificate"`, `"certificate":"bakery"`); len(lines) != 2 {
		t.Errorf("%d lines", len(lines))
	}
	for _, secret := range []string{"PRIVATE KEY", "open sesame"} {
		if lines := ts.Logs.Lines(secret); len(lines) != 0 {
			t.Errorf("the log has %s: %q", secret, lines)
		}
	}
}

func withPassword(fields map[string]string) map[string]string {
	all := map[string]string{"password": "open sesame"}
	maps.Copy(all, fields)
	return all
}

// TestRemove: a certificate that a source keeps is removed after a question, unless sites
// use it or somebody else has changed it meanwhile.
func TestRemove(t *testing.T) {
	m := startManager(t, "")
	cert, key := pemOf(t, "bakery.test")
	m.upload(m.secured, map[string]string{"name": "bakery", "source": "bolt"}, cert, key).want(t, http.StatusSeeOther)
	bindings := fmt.Sprintf(`"bindings": [{"protocol": "https", "binding": "*:%d:bakery.test", "flags": 1`, m.secure)
	m.add(1001, `{"name": "Bakery", `+bindings+`, "certificate": "bakery"}]}`)
	m.get(m.secured, "certificates").want(t, http.StatusOK, `href="./certificates/bakery/remove" aria-label="Remove bakery"`)

	const used = "certificate bakery is used by site 1001 &#34;Bakery&#34;: give them another one first"
	asked := m.get(m.secured, "certificates/bakery/remove")
	asked.want(t, http.StatusOK, "bakery.test", used, `href="../../sites/1001/bindings"`)
	if strings.Contains(asked.body, "<form") {
		t.Error("it offers what will be refused")
	}
	m.post(m.secured, "certificates/bakery/remove", url.Values{"etag": {"*"}}).want(t, http.StatusConflict, used)
	m.get(m.secured, "certificates/bakery/remove").want(t, http.StatusOK, used)

	m.add(1001, `{"name": "Bakery", `+bindings+`}]}`)
	asked = m.get(m.secured, "certificates/bakery/remove")
	asked.want(t, http.StatusOK, "Remove bakery</button>", "Cancel")
	next, nextKey := pemOf(t, "next.test")
	m.upload(m.secured, map[string]string{"name": "bakery", "etag": asked.etag(t)}, next, nextKey).want(t, http.StatusSeeOther)
	late := m.post(m.secured, "certificates/bakery/remove", url.Values{"etag": {asked.etag(t)}})
	late.want(t, http.StatusConflict, "Somebody else has changed this certificate", "next.test", "Remove bakery</button>")
	m.get(m.secured, "certificates").want(t, http.StatusOK, "next.test")

	for _, path := range []string{"certificates/gone/remove", "certificates/..%2Fsites/remove"} {
		m.get(m.secured, path).want(t, http.StatusNotFound)
		m.post(m.secured, path, url.Values{"etag": {"x"}}).want(t, http.StatusNotFound)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		m.do(method, m.secured, "certificates/wild/remove", url.Values{"etag": {"x"}}, nil).want(t, http.StatusConflict, "by no source")
	}
	m.post(m.secured, "certificates/bakery/remove", nil).want(t, http.StatusBadRequest, "does not say")
	m.post(m.fixed, "certificates/bakery/remove", url.Values{"etag": {late.etag(t)}}).want(t, http.StatusForbidden, "read-only")
	if a := m.get(m.fixed, "certificates/bakery/remove"); a.status != http.StatusOK || strings.Contains(a.body, "<form") {
		t.Errorf("read-only: %d %s", a.status, a.body)
	}

	a := m.post(m.secured, "certificates/bakery/remove", url.Values{"etag": {late.etag(t)}})
	if a.status != http.StatusSeeOther || a.location != "../../certificates?done=gone" {
		t.Fatalf("%+v", a)
	}
	if a := m.get(m.secured, "certificates?done=gone"); !strings.Contains(a.body, "The certificate is removed.") || strings.Contains(a.body, "bakery") {
		t.Error(a.body)
	}
	if lines := ts.Logs.Lines("the manager page has made a change", `"user":"alice"`, `"change":"remove certificate"`, `"certificate":"bakery"`); len(lines) != 1 {
		t.Errorf("%d lines", len(lines))
	}
	// The log of the source brings it back.
	if _, body := m.Admin(http.MethodGet, "/iis/revisions?limit=1", ""); !strings.Contains(body, "manager/alice") {
		t.Error(body)
	}
}

// TestRenewal: when Caddy renews a certificate, and why it has none, stands in the list.
func TestRenewal(t *testing.T) {
	m := startManager(t, `
		certificate own {
			subjects renewed.test
			issuer internal
		}
		certificate refused {
			subjects refused.test
			issuer acme {
				dir https://127.0.0.1:1/none
			}
		}`)
	deadline := time.Now().Add(20 * time.Second)
	for {
		a := m.get(m.secured, "certificates")
		if strings.Contains(a.body, "renewed "+time.Now().UTC().Format("2006")) && strings.Contains(a.body, "refused.test: ") && strings.Contains(a.body, "dial tcp 127.0.0.1:1: connect") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(a.body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
