package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// DefaultDrain bounds how long requests in flight hold an unloaded
// configuration. It is the default shutdownTimeLimit of an IIS worker process.
const DefaultDrain = 90 * time.Second

// defaultDrainUpgraded bounds how long upgraded connections hold the handlers of an
// unloaded configuration.
const defaultDrainUpgraded = time.Hour

// Options are the words of the configuration, understood.
type Options struct {
	Listen                   []netip.Addr
	SNIMissing, SNIUnmatched binding.Policy
	UnknownHost              int // a status, or UnknownHostAbort
	FirstWins                bool
	WildcardAnyDepth         bool
	Misdirected              Misdirection
	Drain, DrainUpgraded     time.Duration
}

// UnknownHostAbort stands for "no answer at all" where a status would be.
const UnknownHostAbort = -1

// ParseOptions understands the words. Its error names each that is none.
func (a *App) ParseOptions() (o Options, err error) {
	var errs [7]error
	o.Listen, errs[0] = parseIPs(a.Listen)
	o.SNIMissing, errs[1] = ParsePolicy("sni_missing", cmp.Or(a.SNIMissing, "fallback"))
	o.SNIUnmatched, errs[2] = ParsePolicy("sni_unmatched", cmp.Or(a.SNIUnmatched, "fallback"))
	o.UnknownHost, errs[3] = ParseWord("unknown_host", cmp.Or(a.UnknownHost, "400"), map[string]int{
		"400": http.StatusBadRequest, "404": http.StatusNotFound,
		"421": http.StatusMisdirectedRequest, "abort": UnknownHostAbort,
	})
	o.FirstWins, errs[4] = ParseWord("conflicts", cmp.Or(a.Conflicts, "reject"), map[string]bool{"reject": false, "first_wins": true})
	o.WildcardAnyDepth, errs[5] = ParseWord("wildcard_depth", cmp.Or(a.WildcardDepth, "one"), map[string]bool{"one": false, "any": true})
	o.Misdirected, errs[6] = ParseMisdirected(cmp.Or(a.Misdirected, "secure"))
	o.Drain = time.Duration(cmp.Or(a.Drain, caddy.Duration(DefaultDrain)))
	if o.Drain < 0 {
		errs[0] = errors.Join(errs[0], errors.New("drain: a duration cannot be negative"))
	}
	o.DrainUpgraded = defaultDrainUpgraded
	if a.DrainUpgraded != nil {
		o.DrainUpgraded = time.Duration(*a.DrainUpgraded)
	}
	if o.DrainUpgraded < 0 {
		errs[0] = errors.Join(errs[0], errors.New("drain_upgraded: a duration cannot be negative"))
	}
	return o, errors.Join(errs[:]...)
}

// ParsePolicy reads what happens to clients whose server name is missing, or selects
// nothing.
func ParsePolicy(option, word string) (binding.Policy, error) {
	return ParseWord(option, word, map[string]binding.Policy{"fallback": binding.Fallback, "reject": binding.Reject})
}

// ParseWord looks up the word of an option among those it accepts.
func ParseWord[V any](option, word string, accepted map[string]V) (V, error) {
	value, ok := accepted[word]
	if !ok {
		return value, fmt.Errorf("%s: unknown word %q: expected one of %q%s", option, word, slices.Sorted(maps.Keys(accepted)), near.Hint(word, slices.Sorted(maps.Keys(accepted))))
	}
	return value, nil
}

func parseIPs(list []string) ([]netip.Addr, error) {
	ips := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.IsUnspecified() {
			return nil, fmt.Errorf("listen: %q is not an IP address of this machine; accepted: one such as 10.0.0.5 or ::1", s)
		}
		ips = append(ips, ip.Unmap())
	}
	return ips, nil
}

// Misdirection is what happens to requests on connections made for another host.
type Misdirection string

// The words of the option misdirected.
const (
	MisdirectedSecure Misdirection = "secure" // refused if the site would not have allowed the connection
	MisdirectedAllow  Misdirection = "allow"  // answered
	MisdirectedStrict Misdirection = "strict" // refused unless the server name selects the site
)

// ParseMisdirected reads the word of the option misdirected.
func ParseMisdirected(word string) (Misdirection, error) {
	return ParseWord("misdirected", word, map[string]Misdirection{
		"secure": MisdirectedSecure, "allow": MisdirectedAllow, "strict": MisdirectedStrict,
	})
}
