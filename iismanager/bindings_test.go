package iismanager_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var etagPattern = regexp.MustCompile(`name="etag" value="([^"]*)"`)

// etag is what a dialog says of the state of its site.
func (a answer) etag(t *testing.T) string {
	t.Helper()
	found := etagPattern.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("no entity tag in %d %s", a.status, a.body)
	}
	return strings.NewReplacer("&#34;", `"`, "&#43;", "+").Replace(found[1])
}

// binding is a form of the dialog.
func binding(do, etag, old, kind string, port int, host string) url.Values {
	protocol := kind
	return url.Values{
		"do": {do}, "etag": {etag}, "old": {old}, "protocol": {protocol}, "type": {kind},
		"ip": {"*"}, "port": {fmt.Sprint(port)}, "host": {host},
	}
}

// TestBindings: for a site of a source and one of the configuration, bindings are added,
// edited and removed, and serve.
func TestBindings(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	for _, place := range []string{m.secured, m.in} {
		for id, name := range map[string]string{"1001": "Bakery", "1": "Configured"} {
			path := "sites/" + id + "/bindings"
			served := "200 " + id + " " + name
			dialog := m.get(place, path)
			dialog.want(t, http.StatusOK, "Add a binding", "wild")

			a := m.post(place, path, binding("add", dialog.etag(t), "", "http", m.plain, "added.test"))
			if a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
			if got := m.serves("added.test"); got != served {
				t.Errorf("added: %s", got)
			}
			info := fmt.Sprintf("*:%d:added.test", m.plain)
			link := fmt.Sprintf(`href="../../sites/%s/bindings?edit=http+%%2a%%3a%d%%3aadded.test#form"`, id, m.plain)
			m.get(place, path).want(t, http.StatusOK, link)
			edit := m.get(place, path+"?edit="+url.QueryEscape("http "+info))
			edit.want(t, http.StatusOK, "Edit http "+info, `value="added.test"`)
			a = m.post(place, path, binding("edit", edit.etag(t), info, "http", m.plain, "edited.test"))
			if a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
			if got := m.serves("edited.test"); got != served {
				t.Errorf("edited: %s", got)
			}
			if got := m.serves("added.test"); !strings.HasPrefix(got, "400") {
				t.Errorf("edited: %s", got)
			}
			form := binding("remove", m.get(place, path).etag(t), fmt.Sprintf("*:%d:edited.test", m.plain), "http", 0, "")
			if a = m.post(place, path, form); a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
			if got := m.serves("edited.test"); !strings.HasPrefix(got, "400") {
				t.Errorf("removed: %s", got)
			}

			// https, with a certificate that clients with SNI get.
			form = binding("add", m.get(place, path).etag(t), "", "https", m.secure, "secure.wild.test")
			form.Set("sni", "1")
			form.Set("certificate", "wild")
			if a = m.post(place, path, form); a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
			got, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", m.secure), SNI: "secure.wild.test"})
			if err != nil || got.Subject() != "wild.test" || got.Body != id+" "+name {
				t.Errorf("%v, %v", got, err)
			}
			info = fmt.Sprintf("*:%d:secure.wild.test", m.secure)
			m.get(place, path+"?edit="+url.QueryEscape("https "+info)).want(t, http.StatusOK, `name="sni" value="1" checked`, `value="wild" list`)
			if a = m.post(place, path, binding("remove", m.get(place, path).etag(t), info, "https", 0, "")); a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
		}
	}
	if lines := ts.Logs.Lines("the manager page has made a change", `"user":"alice"`, `"change":"add binding"`, "http *:"); len(lines) != 2 {
		t.Errorf("%d lines", len(lines))
	}
}

// TestConflict: what is in the way of a binding stands at the field, before and when it is
// saved, and nothing is changed.
func TestConflict(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	m.add(1002, fmt.Sprintf(`{"name": "Florist", "server_bindings": [":%d:florist.test"]}`, m.plain))
	const path = "sites/1001/bindings"
	for _, do := range []string{"check", "add"} {
		a := m.post(m.secured, path, binding(do, m.get(m.secured, path).etag(t), "", "http", m.plain, "florist.test"))
		a.want(t, http.StatusConflict, `class="wrong" aria-invalid="true"`, "Florist", `href="../../sites/1002"`, `value="florist.test"`)
	}
	for name, form := range map[string]url.Values{
		"a port":    binding("add", m.get(m.secured, path).etag(t), "", "http", 70000, "new.test"),
		"a host":    binding("add", m.get(m.secured, path).etag(t), "", "http", m.plain, "no host"),
		"a twin":    binding("add", m.get(m.secured, path).etag(t), "", "http", m.plain, "bakery.test"),
		"no SNI":    binding("add", m.get(m.secured, path).etag(t), "", "https", 65000, "bakery.test"),
		"a kind":    binding("add", m.get(m.secured, path).etag(t), "", "ftp", m.plain, "new.test"),
		"not there": binding("edit", m.get(m.secured, path).etag(t), "*:1:gone.test", "http", m.plain, "new.test"),
	} {
		a := m.post(m.secured, path, form)
		a.want(t, http.StatusUnprocessableEntity, `aria-invalid="true"`)
		if name == "a twin" && !strings.Contains(a.body, "already") {
			t.Error(a.body)
		}
	}
	m.post(m.secured, path, binding("check", "", "", "http", m.plain, "new.test")).want(t, http.StatusOK, "It can be saved.")
	m.post(m.secured, "sites/1/bindings", binding("check", "", "", "http", m.plain, "new.test")).want(t, http.StatusOK, "judged as a whole when it is saved")
	m.post(m.secured, path, binding("add", "", "", "http", m.plain, "new.test")).want(t, http.StatusBadRequest, "which state of the site")
	m.post(m.secured, path, binding("nonsense", "", "", "http", m.plain, "new.test")).want(t, http.StatusBadRequest)
	if got := m.serves("new.test"); !strings.HasPrefix(got, "400") {
		t.Error(got)
	}
	// A site of the configuration has the message of the load that was refused.
	a := m.post(m.secured, "sites/1/bindings", binding("add", m.get(m.secured, "sites/1/bindings").etag(t), "", "http", m.plain, "florist.test"))
	if a.status < 400 || !strings.Contains(a.body, "Florist") || !strings.Contains(a.body, `aria-invalid="true"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := m.serves("florist.test"); got != "200 1002 Florist" {
		t.Error(got)
	}
}

// TestSomebodyElse: a change of a site that somebody else has changed meanwhile is shown,
// and not made.
func TestSomebodyElse(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	for _, path := range []string{"sites/1001/bindings", "sites/1/bindings"} {
		before := m.get(m.secured, path).etag(t)
		if a := m.post(m.open, path, binding("add", before, "", "http", m.plain, "other.test")); a.status != http.StatusSeeOther {
			t.Fatalf("%+v", a)
		}
		info := fmt.Sprintf("*:%d:other.test", m.plain)
		a := m.post(m.secured, path, binding("add", before, "", "http", m.plain, "mine.test"))
		a.want(t, http.StatusConflict, "Somebody else has changed this site", ">other.test<", `value="mine.test"`)
		if got := m.serves("mine.test"); !strings.HasPrefix(got, "400") {
			t.Error(got)
		}
		m.post(m.secured, path, binding("remove", before, info, "http", 0, "")).want(t, http.StatusConflict, "Somebody else")
		if a = m.post(m.secured, path, binding("add", a.etag(t), "", "http", m.plain, "mine.test")); a.status != http.StatusSeeOther {
			t.Fatalf("once more: %+v", a)
		}
		for _, host := range []string{"other.test", "mine.test"} {
			if got := m.serves(host); !strings.HasPrefix(got, "200") {
				t.Errorf("%s: %s", host, got)
			}
			form := binding("remove", m.get(m.secured, path).etag(t), fmt.Sprintf("*:%d:%s", m.plain, host), "http", 0, "")
			if a := m.post(m.secured, path, form); a.status != http.StatusSeeOther {
				t.Fatalf("%+v", a)
			}
		}
	}
}

// TestManyBindings: the pages of a site with very many bindings stay small, and each of
// them can be found and edited.
func TestManyBindings(t *testing.T) {
	m := startManager(t, "")
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`":%d:h%d.test"`, m.plain, i))
	}
	m.add(1001, fmt.Sprintf(`{"name": "Many", "server_bindings": [%s]}`, strings.Join(list, ",")))
	site := m.get(m.secured, "sites/1001")
	site.want(t, http.StatusOK, "200 of 1000 bindings", "and 975 bindings more")
	all := m.get(m.secured, "sites/1001/bindings")
	all.want(t, http.StatusOK, "200 of 1000 bindings")
	if len(site.body) > 150_000 || len(all.body) > 250_000 {
		t.Errorf("%d and %d bytes", len(site.body), len(all.body))
	}
	m.get(m.secured, "sites/1001/bindings?q=H999.").want(t, http.StatusOK, "1 of 1000 bindings", "h999.test")
	info := fmt.Sprintf("*:%d:h999.test", m.plain)
	edit := m.get(m.secured, "sites/1001/bindings?edit="+url.QueryEscape("http "+info))
	edit.want(t, http.StatusOK, "Edit http "+info)
	if a := m.post(m.secured, "sites/1001/bindings", binding("edit", edit.etag(t), info, "http", m.plain, "changed.test")); a.status != http.StatusSeeOther {
		t.Fatalf("%+v", a)
	}
	if got := m.serves("changed.test"); got != "200 1001 Many" {
		t.Error(got)
	}
	m.get(m.secured, "sites/1001/bindings?edit="+url.QueryEscape("http "+info)).want(t, http.StatusNotFound, "any more")
}
