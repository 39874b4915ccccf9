package binding

import "fmt"

// route puts the bindings of all sites into the tables, in order of site id, and
// finds the sites that cannot be started beside those before them.
func (c *compiler) route() {
	for _, site := range c.entries {
		if site.State.Started {
			c.startable(site)
		}
		for j := range site.Bindings {
			b := &site.Bindings[j]
			if c.invalid[b] {
				continue
			}
			if site.State.Started {
				c.claimPort(b)
				c.scope(b.Protocol, b.IP, b.Port).started++
			}
			c.addRoute(b)
		}
	}
}

// startable compares the bindings of a site with those of the sites before it.
// Under first_wins the first conflict stops the whole site, as in IIS 6: "The
// necessary network binding may already be in use. The site has been deactivated."
func (c *compiler) startable(site *SiteEntry) {
	for i := range site.Bindings {
		b := &site.Bindings[i]
		if c.invalid[b] {
			continue
		}
		if other := c.routed(b); other != nil && other.Site.State.Started {
			c.duplicate(b, other)
		} else if who, taken := c.taken(b); taken {
			c.protocolConflict(b, who)
		}
		if !site.State.Started {
			return
		}
	}
}

// claimPort notes the need for a socket. What is left of http and https on one
// address here is inside the site itself, and no order of sites can resolve it.
func (c *compiler) claimPort(b *BindingEntry) {
	if who, taken := c.taken(b); taken && who.site() == b.Site {
		c.report.add(Error, CodeProtocolConflict, func() Finding { return protocolFinding(b, who) })
	}
	c.claim(b.Port)[b.Protocol].add(b.IP, owner{binding: b})
}

// taken returns who needs the address and port of a binding for the other
// protocol.
func (c *compiler) taken(b *BindingEntry) (owner, bool) {
	cl := c.claims[b.Port]
	if cl == nil {
		return owner{}, false
	}
	return cl[1-b.Protocol].overlapping(b.IP)
}

// routed returns the binding that is in the tables under the key of b.
func (c *compiler) routed(b *BindingEntry) *BindingEntry {
	return c.port(b.Protocol, b.Port).scope(b.IP).route(b.Host)
}

// route returns the binding of a scope for the host of a binding.
func (s *scope) route(host string) *BindingEntry {
	if s == nil {
		return nil
	}
	if host == "" {
		return s.any
	}
	if key, wildcard := split(host); wildcard {
		return s.wildcards[key]
	}
	return s.hosts.get(host)
}

// addRoute puts a binding into the tables unless a started site's is there, or,
// if its own site is stopped, any other.
func (c *compiler) addRoute(b *BindingEntry) {
	if other := c.routed(b); other != nil {
		c.t.updates.crowd(b)
		if other.Site.State.Started || !b.Site.State.Started {
			return
		}
	}
	s := c.scope(b.Protocol, b.IP, b.Port)
	if b.Host == "" {
		s.any = b
		return
	}
	key, wildcard := split(b.Host)
	if !wildcard {
		s.hosts.set(b)
		return
	}
	if s.wildcards == nil {
		s.wildcards = make(map[string]*BindingEntry)
	}
	s.wildcards[key] = b
}

// The three ways out of a certificate conflict.
const (
	fixByAddress = "use one certificate for both, such as a wildcard or SAN certificate; " +
		"or set sni on the https bindings that have a host; or move one of them to another IP address or port"
	fixByName = "use one certificate for both, such as a wildcard or SAN certificate; " +
		"or take sni off one of them, so that its own IP address chooses the certificate; or move one of them to another port or host"
	fixStore    = "give both the same settings, or move one of them to another port"
	fixSettings = "give both the same settings; or set sni on the https bindings that have a host; or move one of them to another IP address or port"
	fixSNI      = "give both the same settings; or move one of them to another port or host"
)

// conflict reports a conflict: an error, or with first_wins a warning that tells
// what happens instead.
func (c *compiler) conflict(code string, f func() Finding, instead string) {
	if !c.opts.FirstWins {
		c.report.add(Error, code, f)
		return
	}
	c.report.add(Warning, code, func() Finding {
		finding := f()
		finding.Message += "; " + instead
		return finding
	})
}

// certificateConflict is for two certificates under one key. HTTP.sys keeps one
// certificate for each: IIS 6 kept the first, IIS 7 and later let the last one
// that was saved replace it for all sites.
func (c *compiler) certificateConflict(rec *Record, first owner, b *BindingEntry) {
	fix := fixByAddress
	shared := "one address and port has one certificate, whatever the host"
	if rec.Kind == RecordHostnamePort {
		fix = fixByName
		shared = "one server name and port has one certificate, whatever the IP address"
	}
	certificate := rec.Certificate
	c.conflict(CodeCertificateConflict, func() Finding {
		return about(b, fmt.Sprintf("%s has certificate %q, but %s has certificate %q, and both share record %s: %s",
			bindingLabel(b), b.Certificate, first, certificate, rec.Key(), shared), fix).against(first)
	}, fmt.Sprintf("all of them get %q, because the first one wins", certificate))
}

// settingsConflict is for two sets of TLS settings under one key.
func (c *compiler) settingsConflict(rec *Record, first owner, b *BindingEntry) {
	fix := fixSettings
	switch rec.Kind {
	case RecordStore:
		fix = fixStore
	case RecordHostnamePort:
		fix = fixSNI
	}
	c.conflict(CodeSettingsConflict, func() Finding {
		if b.brings() && rec.Flags.rejects() != b.Flags.rejects() {
			one, other := bindingLabel(b), first.String()
			if rec.Flags.rejects() {
				one, other = other, one
			}
			return about(b, fmt.Sprintf("%s rejects its clients, %s does not, and both share record %s", one, other, rec.Key()),
				"remove reject, or one of the two; or "+fix).against(first)
		}
		return about(b, fmt.Sprintf("%s has other TLS settings or sslFlags than %s, and both share record %s, which has one set of them",
			bindingLabel(b), first, rec.Key()), fix).against(first)
	}, "the settings of the first one hold for all of them")
}

// duplicate is for the same binding on two started sites.
func (c *compiler) duplicate(b, other *BindingEntry) {
	c.conflict(CodeDuplicateBinding, func() Finding {
		return about(b, fmt.Sprintf("%s is also a binding of %s, and only one of them can be started", bindingLabel(b), siteLabel(other.Site)),
			"give one of them another host, IP address or port, or set one of the sites to autostart off").against(owner{binding: other})
	}, fmt.Sprintf("%s is stopped, as IIS does (0x%08X, cannot create a file when that file already exists)", siteLabel(b.Site), CodeAlreadyExists))
	c.stop(b.Site, CodeAlreadyExists, fmt.Sprintf("cannot create a file when that file already exists: binding %s belongs to %s", b.Binding, siteLabel(other.Site)))
}

// protocolConflict is for http and https on one address and port.
func (c *compiler) protocolConflict(b *BindingEntry, who owner) {
	c.conflict(CodeProtocolConflict, func() Finding { return protocolFinding(b, who) },
		fmt.Sprintf("%s is stopped (0x%08X)", siteLabel(b.Site), CodeSharingViolation))
	c.stop(b.Site, CodeSharingViolation, fmt.Sprintf("the address and port of binding %s speak the protocol of %s", b.Binding, who))
}

func protocolFinding(b *BindingEntry, who owner) Finding {
	return about(b, fmt.Sprintf("%s and %s share an address and port, which can speak http or https but not both", bindingLabel(b), who),
		"move one of them to another port, or give both their own IP addresses").against(who)
}

// stop leaves a site out of routing under first_wins.
func (c *compiler) stop(site *SiteEntry, code uint32, reason string) {
	if c.opts.FirstWins {
		site.State = State{Code: code, Reason: reason}
	}
}
