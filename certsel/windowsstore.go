package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
	"github.com/caddy-iis/caddy-iis/certsel/winstore"
)

func init() {
	caddy.RegisterModule(new(WindowsStore))
}

// WindowsStore provides a certificate from the certificate stores of the Windows
// machine that Caddy runs on, as IIS has it. The private key stays there: Windows
// signs with it. Exactly one of thumbprint, subject and friendly name is required.
// Of several certificates with a subject or friendly name, the newest serves that
// is valid, self-signed ones last, so that one that somebody renews in the store
// is found without a change here; those without private key, and those that are not for servers, do
// not count. It is experimental.
type WindowsStore struct {
	// The SHA-1 thumbprint of the certificate, as Windows shows it. Case and
	// blanks do not matter.
	Thumbprint string `json:"thumbprint,omitempty"`

	// A host name or IP address that the certificate is for, as it stands there:
	// *.example.com is found by that name, and not by www.example.com. Its common
	// name counts only if it is for no host and no address.
	Subject string `json:"subject,omitempty"`

	// The friendly name of the certificate.
	FriendlyName string `json:"friendly_name,omitempty"`

	// The names of the stores of the machine. Default: My (which Windows shows as
	// Personal) and WebHosting.
	Stores []string `json:"stores,omitempty"`

	query    winstore.Query
	since    time.Time
	shared   *windowsCert
	released bool
}

// CaddyModule returns the Caddy module information.
func (*WindowsStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis.certificates.windows_store",
		New: func() caddy.Module { return new(WindowsStore) },
	}
}

// Provision resolves placeholders.
func (w *WindowsStore) Provision(_ caddy.Context) error {
	repl := caddy.NewReplacer()
	for _, text := range []struct {
		dst  *string
		from string
	}{{&w.query.Thumbprint, w.Thumbprint}, {&w.query.Subject, w.Subject}, {&w.query.FriendlyName, w.FriendlyName}} {
		var err error
		if *text.dst, err = repl.ReplaceOrErr(text.from, true, true); err != nil {
			return fmt.Errorf("certificate of the Windows store: %w", err)
		}
	}
	var err error
	if w.query.Thumbprint, err = certfile.ParseThumbprint(w.query.Thumbprint); err != nil {
		return err
	}
	if w.names() != 1 {
		return errors.New("a certificate of the Windows store is found by one of thumbprint, subject and friendly_name")
	}
	if w.query.Stores = w.Stores; len(w.Stores) == 0 {
		w.query.Stores = winstore.DefaultStores
	}
	w.since = time.Now()
	return nil
}

// names is how many of the three names there are.
func (w *WindowsStore) names() (n int) {
	for _, name := range []string{w.Thumbprint, w.Subject, w.FriendlyName} {
		if name != "" {
			n++
		}
	}
	return n
}

// Load finds the certificate. That there is none is an error, unless it is known
// from before: then that one stays in use.
func (w *WindowsStore) Load(context.Context) error {
	val, known, err := windowsCerts.LoadOrNew(w.key(), func() (caddy.Destructor, error) {
		return newWindowsCert(w.query, w.since)
	})
	if err != nil {
		return err
	}
	if w.shared = val.(*windowsCert); known {
		_ = w.shared.look(w.since) // logged; what was found before serves
	}
	return nil
}

// key identifies the certificate among those of all configurations.
func (w *WindowsStore) key() contentKey {
	parts := [][]byte{[]byte(w.query.Thumbprint), []byte(w.query.Subject), []byte(w.query.FriendlyName)}
	for _, store := range w.query.Stores {
		parts = append(parts, []byte(store))
	}
	return keyOf(parts...)
}

// OnReload implements Reloader.
func (w *WindowsStore) OnReload(reloaded func()) { w.shared.listeners.listen(w, reloaded) }

// Status implements Reloader.
func (w *WindowsStore) Status() files.Status { return w.shared.standing() }

// Select implements Source.
func (w *WindowsStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	return w.shared.given.Select(hello)
}

// Current implements Source.
func (w *WindowsStore) Current() []*tls.Certificate { return w.shared.given.Current() }

// Cleanup releases the certificate. It stays where it is: a handshake of the
// configuration may still be under way.
func (w *WindowsStore) Cleanup() error {
	if w.shared == nil || w.released {
		return nil
	}
	w.released = true
	w.shared.listeners.listen(w, nil)
	_, err := windowsCerts.Delete(w.key())
	return err
}

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> windows_store {
//		thumbprint    <thumbprint>
//		subject       <host or common name>
//		friendly_name <name>
//		store         <names...>
//	}
//
// One of the first three is required.
func (w *WindowsStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the word windows_store
	here := atToken(d.Token())
	const usage = "expected: a block with subject <name>, thumbprint <thumbprint> or friendly_name <name>"
	if args := d.RemainingArgs(); len(args) > 0 {
		return here.Errf("windows_store takes no argument such as %q; %s", args[0], usage)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := w.option(d); err != nil {
			return err
		}
	}
	if w.names() != 1 {
		return here.Errf("a certificate of the Windows store is found by one of thumbprint, subject and friendly_name; %s", usage)
	}
	return nil
}

func (w *WindowsStore) option(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "thumbprint":
		return parseThumbprint(d, &w.Thumbprint)
	case "subject":
		if err := parseOnce(d, &w.Subject, "subject <name>, such as subject www.example.com"); err != nil {
			return err
		}
		if rest, isDN := cutFold(w.Subject, "cn="); isDN {
			return d.Errf("subject %q is a distinguished name; expected: a host that the certificate is for, or its common name alone, such as subject %s",
				w.Subject, cmp.Or(strings.TrimSpace(strings.Split(rest, ",")[0]), "www.example.com"))
		}
		return nil
	case "friendly_name":
		return parseOnce(d, &w.FriendlyName, "friendly_name <name>, in quotes if it has blanks")
	case "store":
		stores := d.RemainingArgs()
		if len(stores) == 0 || slices.Contains(stores, "") {
			return d.Errf("expected: store <names...>, such as store WebHosting")
		}
		w.Stores = append(w.Stores, stores...)
		return noBlock(d, word)
	default:
		return d.Errf("unknown word %q for a certificate of the Windows store: expected thumbprint, subject, friendly_name or store", word)
	}
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(text, prefix string) (rest string, found bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// Interface guards
var (
	_ caddy.Provisioner     = (*WindowsStore)(nil)
	_ caddy.CleanerUpper    = (*WindowsStore)(nil)
	_ caddyfile.Unmarshaler = (*WindowsStore)(nil)
	_ Source                = (*WindowsStore)(nil)
	_ Loader                = (*WindowsStore)(nil)
	_ Reloader              = (*WindowsStore)(nil)
)
