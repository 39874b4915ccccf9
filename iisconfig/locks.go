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
	rewriteGroup + "/allowedServerVariables": true,
}

// guards tell whether a section protects something. IIS comes with declarations that lock
// these sections. In a part of an applicationHost.config these are not along, and nor is what
// may unlock them again: a web.config may have them there, but where the server protects
// something by them, it would take that off.
var guards = map[string]func(*element) bool{
	securityGroup + "/access": func(el *element) bool { return el.has("sslFlags") && !strings.EqualFold(el.str("sslFlags"), "None") },
	securityGroup + "/ipSecurity": func(el *element) bool {
		return len(el.kids) > 0 || strings.EqualFold(el.str("allowUnlisted"), "false")
	},
	securityGroup + "/dynamicIpSecurity":             func(el *element) bool { return len(el.kids) > 0 },
	authenticationGroup + "/anonymousAuthentication": func(el *element) bool { return el.has("enabled") && !strings.EqualFold(el.str("enabled"), "true") },
	runtimeSection: func(el *element) bool { return el.has("enabled") && !strings.EqualFold(el.str("enabled"), "true") },
}

// guard notes that the server protects a configuration path by a section.
func (b *builder) guard(section, configPath string, el *element) {
	if protects := guards[section]; protects == nil || !protects(el) && !el.has("configProtectionProvider") && !el.missing {
		return
	}
	if b.guarded[section] == nil {
		b.guarded[section] = make(map[string]bool)
	}
	b.guarded[section][strings.ToLower(configPath)] = true
}

const isLocked = "is locked for web.config files"

// locked says why IIS refuses a section in the web.config of a rank at a path; empty if it
// does not. In applicationHost.config the deepest location decides, else overrideModeDefault.
// A web.config above cannot allow what was denied there.
func (b *builder) locked(section, configPath string, rank int) string {
	if b.hostOnly[section] {
		return isLocked
	}
	locks := b.locks[section]
	allow, decided, guarded := !defaultLocks[section], false, false
	for p := range upwards(configPath) {
		guarded = guarded || b.guarded[section][p]
		for _, l := range locks[p] {
			switch {
			case l.rank >= rank: // its own, or one below
			case l.rank > 0 && !l.allow:
				return isLocked
			case l.rank == 0 && !decided:
				allow, decided = l.allow, true
			}
		}
	}
	switch {
	case !allow:
		return isLocked
	case !decided && guarded:
		return "is what the server protects this place by, and nobody has told that a web.config may have it"
	}
	return ""
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
		why := b.locked(c.section.Name, scope, l.rank)
		c.el = nil
		switch {
		case why != "":
			b.rep.warn(CodeLocked, c.section.Source, "check whether the web.config belongs to this server",
				"the section %s %s; IIS answers 500.19 here", c.section.Name, why)
			c = change{section: c.section, faults: []Fault{{
				Code: CodeLocked, Section: c.section.Name, Source: c.section.Source,
				Message: "the section " + why,
			}}}
		case part != "":
			b.rep.warn(CodeLocked, c.section.Source, "check whether the web.config belongs to this server",
				"the section %s: %s %s; IIS answers 500.19 here", c.section.Name, part, isLocked)
			c.apply, c.unknown = nil, nil
			c.faults = append(c.faults, Fault{
				Code: CodeLocked, Section: c.section.Name, Message: part + " " + isLocked, Source: c.section.Source,
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
