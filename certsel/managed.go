package certsel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/idn"
)

func init() {
	caddy.RegisterModule(new(Managed))
}

// Managed provides certificates that Caddy obtains and renews, one for each
// subject. A client gets the certificate of the subject that its server name
// matches, exactly or as a wildcard; where no name chooses, that of the address
// that it came to, if it is a subject (RFC 6066 section 3 has no server names
// for addresses); any other client gets the certificate of the first subject.
type Managed struct {
	// The names to obtain certificates for: host names, wildcards such as
	// *.example.com, or IP addresses. At least one is required.
	Subjects []string `json:"subjects,omitempty"`

	// Who issues the certificates, tried in order. Default: those of the automation
	// policy of Caddy's tls app that has one of the subjects, or that for all names:
	// there are the global options email, acme_ca and so on. Where there is none,
	// Caddy's default issuers (ACME). If a subject cannot have a public certificate,
	// such as localhost, Caddy's internal authority.
	IssuersRaw []json.RawMessage `json:"issuers,omitempty" caddy:"namespace=tls.issuance inline_key=module"`

	// The kind of private key: ed25519, p256, p384, rsa2048 or rsa4096.
	// Default: that of the automation policy, else p256.
	KeyType string `json:"key_type,omitempty"`

	group     *group
	groupKey  string
	magic     *certmagic.Config
	ctx       context.Context
	logger    *zap.Logger
	internal  bool
	global    *automation // what the global options say; empty with issuers of its own
	left      bool        // the group; the slots keep their certificates for handshakes under way
	open      bool        // names come later: it may begin without subjects
	private   bool        // they cannot have public certificates
	exact     map[string]*slot
	wildcards map[string]*slot // keyed by ".example.com"
	addresses map[netip.Addr]*slot
	slots     []*slot  // in the order of Subjects
	subjects  []string // normalised

	observe       observer
	renewInterval time.Duration // from one look at certificates to the next; 0: the default
}

// CaddyModule returns the Caddy module information.
func (*Managed) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis.certificates.managed",
		New: func() caddy.Module { return new(Managed) },
	}
}

// keyTypes are the names that Caddy's own key_type knows.
var keyTypes = map[string]certmagic.KeyType{
	"":        "",
	"ed25519": certmagic.ED25519,
	"p256":    certmagic.P256,
	"p384":    certmagic.P384,
	"rsa2048": certmagic.RSA2048,
	"rsa4096": certmagic.RSA4096,
}

const keyTypeNames = "ed25519, p256, p384, rsa2048, rsa4096"

// Provision loads the issuers and joins the group of certificates that these
// issuers manage.
func (m *Managed) Provision(ctx caddy.Context) error {
	m.ctx = ctx.Context
	m.logger = ctx.Logger()
	if err := m.normalizeSubjects(); err != nil {
		return err
	}
	if m.global == nil && len(m.IssuersRaw) == 0 {
		global, err := automationFor(ctx, m.subjects, m.public())
		if err != nil {
			return err
		}
		m.global = global
	}
	if m.global == nil {
		m.global = new(automation)
	}
	m.KeyType = cmp.Or(m.KeyType, m.global.KeyType)
	keyType, ok := keyTypes[m.KeyType]
	if !ok {
		return fmt.Errorf("unknown key_type %q: expected one of %s", m.KeyType, keyTypeNames)
	}
	key, err := m.settingsKey(ctx)
	if err != nil {
		return err
	}
	issuers, err := m.loadIssuers(ctx)
	if err != nil {
		return err
	}
	m.internal = allInternal(issuers)
	eventsApp, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting events app: %w", err)
	}
	intervals, err := maintenance(ctx)
	if err != nil {
		return err
	}
	val, _, err := groups.LoadOrNew(key, func() (caddy.Destructor, error) { return newGroup(intervals), nil })
	if err != nil {
		return err
	}
	m.group, m.groupKey = val.(*group), key
	m.renewInterval = intervals.RenewCheckInterval
	m.magic = m.group.join(certmagic.Config{
		Storage:   ctx.Storage(),
		Issuers:   issuers,
		KeySource: certmagic.StandardKeyGenerator{KeyType: keyType},
		Logger:    m.logger,

		MustStaple:         m.global.MustStaple,
		RenewalWindowRatio: m.global.RenewalWindow,
		ReusePrivateKeys:   m.global.ReusePrivateKeys,
	}, ctx, eventsApp.(*caddyevents.App), m.observe)
	for _, issuer := range issuers {
		if setter, ok := issuer.(caddytls.ConfigSetter); ok {
			setter.SetConfig(m.magic)
		}
	}
	m.index()
	return nil
}

func (m *Managed) normalizeSubjects() error {
	if len(m.Subjects) == 0 && !m.open {
		return errors.New("no subjects: name the hosts to obtain a certificate for")
	}
	repl := caddy.NewReplacer()
	for _, raw := range m.Subjects {
		subject, err := repl.ReplaceOrErr(raw, true, true)
		if err != nil {
			return fmt.Errorf("subject %q: %w", raw, err)
		}
		subject, err = idn.ToASCII(strings.TrimSpace(subject))
		if err != nil {
			return fmt.Errorf("subject %q: %w", raw, err)
		}
		if !certmagic.SubjectQualifiesForCert(subject) {
			return fmt.Errorf("subject %q cannot have a certificate", raw)
		}
		if slices.Contains(m.subjects, subject) {
			return fmt.Errorf("subject %q is named twice", raw)
		}
		m.subjects = append(m.subjects, subject)
	}
	return nil
}

// settingsKey tells groups apart: same issuers, key and storage, same group.
// Certificates for one subject from two issuers thus never meet in one cache,
// where certmagic would take one for the other.
func (m *Managed) settingsKey(ctx caddy.Context) (string, error) {
	raw, err := json.Marshal(struct {
		Issuers []json.RawMessage
		Global  *automation
		KeyType string
		Public  bool
		Storage string
	}{m.IssuersRaw, m.global, m.KeyType, m.public(), storageName(ctx.Storage())})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// maintenance takes over how often certificates are looked at from the tls
// app, where the global options renew_interval and ocsp_interval set it.
func maintenance(ctx caddy.Context) (certmagic.CacheOptions, error) {
	var opts certmagic.CacheOptions
	val, err := ctx.App("tls")
	if err != nil {
		return opts, fmt.Errorf("getting tls app: %w", err)
	}
	if automation := val.(*caddytls.TLS).Automation; automation != nil {
		opts.RenewCheckInterval = time.Duration(automation.RenewCheckInterval)
		opts.OCSPCheckInterval = time.Duration(automation.OCSPCheckInterval)
	}
	return opts, nil
}

// storageName tells storages apart. One that cannot say what it is differs
// with each load of the configuration, which costs reading it again.
func storageName(storage certmagic.Storage) string {
	if named, ok := storage.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T %p", storage, storage)
}

func (m *Managed) public() bool {
	return !m.private && !slices.ContainsFunc(m.subjects, func(s string) bool { return !certmagic.SubjectQualifiesForPublicCert(s) })
}

func (m *Managed) loadIssuers(ctx caddy.Context) ([]certmagic.Issuer, error) {
	if len(m.IssuersRaw) == 0 {
		issuers, err := m.global.issuers(ctx)
		switch {
		case err != nil || len(issuers) > 0:
			return issuers, err
		case m.public():
			return caddytls.DefaultIssuersProvisioned(ctx)
		}
		m.IssuersRaw = []json.RawMessage{caddyconfig.JSONModuleObject(caddytls.InternalIssuer{}, "module", "internal", nil)}
	}
	val, err := ctx.LoadModule(m, "IssuersRaw")
	if err != nil {
		return nil, fmt.Errorf("loading issuers: %w", err)
	}
	var issuers []certmagic.Issuer
	for _, mod := range val.([]any) {
		issuer, ok := mod.(certmagic.Issuer)
		if !ok {
			return nil, fmt.Errorf("module %T is not a certificate issuer", mod)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func (m *Managed) index() {
	m.exact = make(map[string]*slot, len(m.subjects))
	for _, subject := range m.subjects {
		s := m.group.acquire(subject)
		m.slots = append(m.slots, s)
		if rest, ok := strings.CutPrefix(subject, "*"); ok {
			if m.wildcards == nil {
				m.wildcards = make(map[string]*slot)
			}
			m.wildcards[rest] = s
			continue
		}
		if ip, err := netip.ParseAddr(subject); err == nil {
			if m.addresses == nil {
				m.addresses = make(map[netip.Addr]*slot)
			}
			m.addresses[ip.Unmap()] = s
		}
		m.exact[subject] = s
	}
}

// Start loads certificates that are in storage, and has Caddy's internal
// authority issue what is missing: both take no network. What other issuers
// must be asked for follows in Commit.
func (m *Managed) Start() error {
	for i, subject := range m.subjects {
		if m.slots[i].cert.Load() != nil {
			continue
		}
		var err error
		if m.internal {
			err = m.magic.ManageSync(m.ctx, []string{subject})
		} else {
			err = m.group.loadStored(m.ctx, m.magic, subject)
		}
		if err != nil {
			return fmt.Errorf("certificate for %s: %w", subject, err)
		}
	}
	return nil
}

// Commit begins to obtain what is missing, in the background.
func (m *Managed) Commit() {
	if err := m.magic.ManageAsync(m.ctx, m.subjects); err != nil {
		m.logger.Error("managing certificates", zap.Strings("subjects", m.subjects), zap.Error(err))
	}
}

// Cleanup leaves the group; what no other configuration manages is dropped
// from memory, not from storage.
func (m *Managed) Cleanup() error {
	if m.group == nil || m.left {
		return nil
	}
	m.left = true
	m.group.release(m.subjects[:len(m.slots)])
	m.group.leave(m.magic)
	_, err := groups.Delete(m.groupKey)
	return err
}

// Select implements Source.
func (m *Managed) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if name := hello.ServerName; name != "" {
		if cert := m.forName(name); cert != nil {
			return cert
		}
	}
	if len(m.addresses) > 0 {
		if s := m.addresses[localIP(hello)]; s != nil {
			if cert := s.cert.Load(); cert != nil {
				return cert
			}
		}
	}
	return m.slots[0].cert.Load()
}

func (m *Managed) forName(name string) *tls.Certificate {
	if s, _ := m.slotOf(name); s != nil {
		return s.cert.Load()
	}
	return nil
}

// slotOf finds the slot of the subject that a server name matches, nil if there is none,
// and where in the name that begins which the wildcard does not stand for.
func (m *Managed) slotOf(name string) (_ *slot, rest int) {
	var buf [maxHost]byte
	lower := lowerASCII(buf[:0], name)
	if s := m.exact[string(lower)]; s != nil {
		return s, 0
	}
	for i, c := range lower {
		if c == '.' {
			if s := m.wildcards[string(lower[i:])]; s != nil {
				return s, i
			}
			break // a certificate's wildcard stands for one label (RFC 9525 section 6.3)
		}
	}
	return nil, 0
}

// lowerASCII appends the lower-case form of s, cut to the capacity of buf: no
// longer name can be a subject.
func lowerASCII(buf []byte, s string) []byte {
	for i := 0; i < len(s) && len(buf) < cap(buf); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// Current implements Source.
func (m *Managed) Current() []*tls.Certificate {
	var certs []*tls.Certificate
	for _, s := range m.slots {
		if cert := s.cert.Load(); cert != nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

// CheckManaged refuses two managed certificates for one subject from the same
// issuers that differ in the kind of key: storage has one place for both, and
// each would find the other's.
func CheckManaged(sources map[string]Source) error {
	type claim struct{ name, keyType string }
	claims := make(map[string]claim)
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		m, ok := sources[name].(*Managed)
		if auto, isAuto := sources[name].(*Auto); isAuto && auto.fallback != nil {
			m, ok = auto.fallback, true
		}
		if !ok {
			continue
		}
		for _, subject := range m.subjects {
			var keys []string
			for _, issuer := range m.magic.Issuers {
				keys = append(keys, issuer.IssuerKey())
			}
			place := strings.Join(append(keys, subject), " ")
			other, taken := claims[place]
			if taken && keyTypes[other.keyType] != keyTypes[m.KeyType] {
				return fmt.Errorf("certificates %q and %q both obtain %s from the same issuer, but with different key_type: "+
					"Caddy's storage has one place for both; use one key_type, or another issuer for one of them", other.name, name, subject)
			}
			claims[place] = claim{name, m.KeyType}
		}
	}
	return nil
}

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> {
//		subjects <names...>
//		issuer   <module> [...]
//		key_type ed25519|p256|p384|rsa2048|rsa4096
//	}
//
// Several issuer lines are tried in order. The dispenser stands on the word
// managed, which the option leaves out.
func (m *Managed) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the source
	here := d.Token()
	if d.NextArg() {
		return d.Errf("a managed certificate takes no arguments, such as %q: expected a block with subjects", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := m.unmarshalOption(d); err != nil {
			return err
		}
	}
	if len(m.Subjects) == 0 {
		return atToken(here).Errf("a certificate without files needs subjects: the names to obtain it for")
	}
	return nil
}

func (m *Managed) unmarshalOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "subjects":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("subjects expects names, such as www.example.com *.example.com")
		}
		m.Subjects = append(m.Subjects, args...)
		return noBlock(d, option)
	case "issuer":
		return m.unmarshalIssuer(d)
	case "key_type":
		return m.unmarshalKeyType(d)
	default:
		return d.Errf("unknown word %q in a managed certificate: expected subjects, issuer or key_type", option)
	}
}

func (m *Managed) unmarshalIssuer(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("issuer expects the name of an issuer, one of %s", issuerNames())
	}
	name := d.Val()
	if _, err := caddy.GetModule("tls.issuance." + name); err != nil {
		return d.Errf("unknown issuer %q: expected one of %s", name, issuerNames())
	}
	mod, err := caddyfile.UnmarshalModule(d, "tls.issuance."+name)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", name, err)
	}
	if _, ok := mod.(certmagic.Issuer); !ok {
		return d.Errf("module tls.issuance.%s (%T) is not a certificate issuer", name, mod)
	}
	m.IssuersRaw = append(m.IssuersRaw, caddyconfig.JSONModuleObject(mod, "module", name, nil))
	return nil
}

// issuerNames lists the registered issuers.
func issuerNames() string {
	var names []string
	for _, mod := range caddy.GetModules("tls.issuance") {
		names = append(names, mod.ID.Name())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (m *Managed) unmarshalKeyType(d *caddyfile.Dispenser) error {
	if m.KeyType != "" {
		return d.Errf("key_type is set twice")
	}
	if !d.NextArg() {
		return d.Errf("key_type expects one of %s", keyTypeNames)
	}
	m.KeyType = d.Val()
	if _, ok := keyTypes[m.KeyType]; !ok || m.KeyType == "" {
		return d.Errf("unknown key_type %q: expected one of %s", m.KeyType, keyTypeNames)
	}
	if d.NextArg() {
		return d.Errf("key_type takes one argument, not %q as well", d.Val())
	}
	return noBlock(d, "key_type")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Managed)(nil)
	_ caddy.CleanerUpper    = (*Managed)(nil)
	_ caddyfile.Unmarshaler = (*Managed)(nil)
	_ Source                = (*Managed)(nil)
	_ Starter               = (*Managed)(nil)
)
