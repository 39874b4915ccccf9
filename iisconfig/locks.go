package iisconfig

import (
	"iter"
	"strings"
)

// lock is what one level says about a section at a path: whether levels below may
// have it.
type lock struct {
	rank  int // of the layer: 0 for applicationHost.config, else that of the web.config
	allow bool
}

// declare notes what configSections says about a section.
func (b *builder) declare(section string, el *element) {
	b.declares = b.declares || strings.HasPrefix(section, "system.webServer/")
	b.setLock(section, "", 0, !strings.EqualFold(el.str("overrideModeDefault"), "Deny"))
	switch strings.ToLower(el.str("allowDefinition")) {
	case "apphostonly", "machineonly", "machinetorootweb":
		b.hostOnly[section] = true
	}
}

// setLock notes what an overrideMode says about a section at a configuration path.
func (b *builder) setLock(section, configPath string, rank int, allow bool) {
	if b.locks[section] == nil {
		b.locks[section] = make(map[string][]lock)
	}
	key := strings.ToLower(configPath)
	at := b.locks[section][key]
	for i := range at {
		if at[i].rank == rank {
			at[i].allow = allow
			return
		}
	}
	b.locks[section][key] = append(at, lock{rank, allow})
}

// defaultLocks are sections that no web.config may have even if applicationHost.config
// does not declare them: the modules that read them declare them so.
var defaultLocks = map[string]bool{
	"system.webServer/rewrite/allowedServerVariables": true,
}

// locked reports whether IIS refuses a section in the web.config of a rank at a path.
// In applicationHost.config the deepest location decides, else overrideModeDefault. A
// web.config above cannot allow what was denied there.
func (b *builder) locked(section, configPath string, rank int) bool {
	if b.hostOnly[section] {
		return true
	}
	locks := b.locks[section]
	allow, decided := !defaultLocks[section], false
	for p := range upwards(configPath) {
		for _, l := range locks[p] {
			switch {
			case l.rank >= rank: // its own, or one below
			case l.rank > 0 && !l.allow:
				return true
			case l.rank == 0 && !decided:
				allow, decided = l.allow, true
			}
		}
	}
	return !allow
}

// upwards yields a configuration path and those above it, up to the server's, in lower case.
func upwards(configPath string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := strings.ToLower(configPath); yield(p) && p != ""; {
			p = p[:max(strings.LastIndexByte(p, '/'), 0)]
		}
	}
}

// applyLocks takes out of a layer of a web.config what the server does not let it say.
func (b *builder) applyLocks(l *layer, scope string) {
	kept := l.changes[:0]
	for _, c := range l.changes {
		part := b.lockedPart(c.section.Name, scope, l.rank, c.el)
		c.el = nil
		switch {
		case b.locked(c.section.Name, scope, l.rank):
			b.rep.warn(CodeLocked, c.section.Source, "check whether the web.config belongs to this server",
				"the section %s is locked for web.config files; IIS answers 500.19 here", c.section.Name)
			c = change{section: c.section, faults: []Fault{{
				Code: CodeLocked, Section: c.section.Name, Source: c.section.Source,
				Message: "the section is locked for web.config files",
			}}}
		case part != "":
			b.rep.warn(CodeLocked, c.section.Source, "check whether the web.config belongs to this server",
				"the section %s: %s is locked for web.config files; IIS answers 500.19 here", c.section.Name, part)
			c.apply, c.unknown = nil, nil
			c.faults = append(c.faults, Fault{
				Code: CodeLocked, Section: c.section.Name, Message: part + " is locked for web.config files", Source: c.section.Source,
			})
		case c.apply == nil && c.faults == nil && c.unknown == nil:
			continue // it was only there to be asked about
		default:
			b.undeclared(c.section)
		}
		kept = append(kept, c)
	}
	l.changes = kept
}

// undeclared says once of a section that the server knows nothing of it: the module that
// reads it is not installed there, and IIS answers 500.19. It is taken as if it were.
func (b *builder) undeclared(s Section) {
	if !b.declares || b.locks[s.Name] != nil || !strings.HasPrefix(s.Name, "system.webServer/") || b.toldOf[s.Name] {
		return
	}
	b.toldOf[s.Name] = true
	b.rep.info(CodeUnknown, s.Source, "applicationHost.config does not declare the section %s; it is taken as if it did", s.Name)
}
