package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestManagerCertificates: files are chosen and uploaded, with the key of another
// certificate first; what is kept serves a binding, and is removed when none has it.
func TestManagerCertificates(t *testing.T) {
	s := startShop(t, "")
	b := browse(t)
	cert, key := ts.PEMValid(t, -time.Hour, 100*24*time.Hour, "bakery.test")
	_, other := ts.PEMValid(t, -time.Hour, 100*24*time.Hour, "other.test")
	upload := func(files ...string) {
		b.run(chromedp.SetUploadFiles(chromedp.CSS(`[name="files"]`), files))
	}
	b.login(s, "/certificates")
	b.axe("an empty upload")
	b.fill("name", "bakery")
	upload(cert, other)
	b.follow("Add", "does not match")
	b.axe("a refused upload")
	b.fill("name", "bakery")
	upload(cert, key)
	b.follow("Add", "The certificate is kept", "bakery.test")
	s.put(1001, fmt.Sprintf(`{"name": "Bakery", "bindings": [{"protocol": "https", "binding": "*:%d:bakery.test", "flags": 1, "certificate": "bakery"}]}`, s.secure))
	if a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", s.secure), SNI: "bakery.test"}); err != nil || a.Subject() != "bakery.test" || a.Body != "1001 Bakery" {
		t.Errorf("%v, %v", a, err)
	}

	b.login(s, "/certificates/bakery/remove")
	b.see("Bindings of site 1001")
	if evaluate[bool](b, `document.querySelector("main .danger") !== null`) {
		t.Error("what a binding uses can be removed")
	}
	b.axe("what cannot be removed")
	s.put(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, s.plain))
	b.login(s, "/certificates")
	b.follow("Replace bakery", "Replace the certificate bakery")
	b.axe("a replacement")
	b.login(s, "/certificates")
	b.follow("Remove bakery", "Its private key goes with it")
	b.axe("a removal")
	b.follow("Remove bakery", "The certificate is removed")
	if evaluate[bool](b, fmt.Sprintf(`document.querySelector("main table").innerText.includes(%q)`, "bakery")) {
		t.Error("the certificate is still in the list")
	}
	if a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", s.secure), SNI: "bakery.test"}); err == nil && strings.Contains(a.Subject(), "bakery") {
		t.Errorf("it still serves: %v", a)
	}
	b.silent()
}
