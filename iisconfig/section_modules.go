package iisconfig

import (
	"slices"
	"strings"
)

// module is an entry of modules: a managed one has a type.
type module struct {
	name, managed, preCondition string
	source                      Source
}

// shippedModules are the native modules of IIS and of Microsoft's extensions that the
// import translates or that protect nothing.
var shippedModules = func() map[string]bool {
	names := make(map[string]bool)
	for name := range strings.FieldsSeq(`uricachemodule tokencachemodule staticfilemodule staticcompressionmodule requestfilteringmodule
		protocolsupportmodule httploggingmodule directorylistingmodule defaultdocumentmodule customerrormodule anonymousauthenticationmodule
		httpcachemodule filecachemodule windowsauthenticationmodule serversideincludemodule rewritemodule isapimodule isapifiltermodule
		httpredirectionmodule fastcgimodule failedrequeststracingmodule dynamiccompressionmodule configurationvalidationmodule cgimodule
		basicauthenticationmodule websocketmodule webmatrixsupportmodule webdavmodule urlauthorizationmodule tracingmodule requestmonitormodule
		iprestrictionmodule iiscertificatemappingauthenticationmodule dynamiciprestrictionmodule customloggingmodule
		certificatemappingauthenticationmodule applicationinitializationmodule digestauthenticationmodule aspnetcoremodule aspnetcoremodulev2
		applicationrequestrouting httpplatformhandler iisnode corsmodule managedengine managedengine64 managedenginev4.0_32bit managedenginev4.0_64bit`) {
		names[name] = true
	}
	return names
}()

// seesFiles tells whether a module may protect files: one that is not of IIS, and that is
// not for managed handlers only.
func (m module) seesFiles(all bool) bool {
	if m.managed == "" {
		return !shippedModules[strings.ToLower(m.name)]
	}
	return all || !strings.Contains(strings.ToLower(m.preCondition), "managedhandler")
}

// ofNET tells whether a module is one of .NET.
func (m module) ofNET() bool { return strings.HasPrefix(strings.ToLower(m.managed), "system.") }

// readGlobalModules reads which native modules are installed: no other one does anything,
// whatever modules and handlers say.
func readGlobalModules(c *context, el *element) func(*Settings) {
	c.rep.info(CodeIgnored, c.src(el), "the section system.webServer/globalModules is not needed: image and preCondition of modules, whose names count")
	entries := collection(c, el, "add", byAttr("name"), func(el *element) string {
		el.lookup("image")
		el.lookup("preCondition")
		return el.str("name")
	})
	c.attributes(el)
	return func(s *Settings) {
		s.installed = entries.apply(s, s.installed, func(name string) string { return name })
	}
}

// HasModule tells whether a native module of IIS runs: globalModules has it, and modules,
// if the files have them. What a level takes out is gone also where nobody knows what there
// was before.
func (s *Settings) HasModule(name string) bool {
	if s.installed == nil {
		return !s.TakesOut(name)
	}
	return slices.ContainsFunc(s.installed, func(have string) bool { return strings.EqualFold(have, name) }) && (!s.listed || s.lists(name))
}

// TakesOut tells whether a level takes a native module out: for what is there unless somebody
// does.
func (s *Settings) TakesOut(name string) bool {
	return (s.modulesCleared || slices.Contains(s.modulesOut, strings.ToLower(name))) && !s.lists(name)
}

// lists tells whether modules have a native one.
func (s *Settings) lists(name string) bool {
	return slices.ContainsFunc(s.modules, func(m module) bool { return m.managed == "" && strings.EqualFold(m.name, name) })
}

// readModules looks for modules that may protect files: only a worker process runs those
// of a site. Which do is known when the levels are merged: a deeper one may switch the
// preConditions off, and remove modules. What those of the whole server do, somebody has
// to find out: until then, nothing that they see is opened.
func readModules(c *context, el *element) func(*Settings) {
	src := c.src(el)
	c.rep.info(CodeIgnored, src, "the section system.webServer/modules is not needed for the modules of IIS")
	said := el.str("runAllManagedModulesForAllRequests") != ""
	all := c.boolean(el, "runAllManagedModulesForAllRequests", false)
	entries := collection(c, el, "add", byAttr("name"), func(el *element) module {
		return module{el.str("name"), el.str("type"), el.str("preCondition"), c.src(el)}
	})
	el.ignore("runManagedModulesForWebDavRequests")
	c.attributes(el)
	return func(s *Settings) {
		if said {
			s.allManaged, s.allSource = all, src
		}
		s.listed = true
		s.modules = entries.apply(s, s.modules, func(m module) string { return m.name })
		s.modulesCleared = s.modulesCleared || entries.clears()
		s.modulesOut = slices.Concat(s.modulesOut, entries.removes())
		s.Managed = slices.DeleteFunc(slices.Clone(s.Managed), func(sec Section) bool { return strings.HasPrefix(sec.Name, modulePrefix) })
		s.Unknown = slices.DeleteFunc(slices.Clone(s.Unknown), func(u UnknownPart) bool {
			return u.Section == modulesSection && strings.HasPrefix(u.What, modulePrefix)
		})
		if len(s.Unknown) == 0 {
			s.Unknown = nil
		}
		for _, m := range s.modules {
			s.judge(m)
		}
	}
}

// judge notes what a module means for a place: those of a site, and those that a site lets
// see files, need its worker process. Others close what they may have protected.
func (s *Settings) judge(m module) {
	all := s.allManaged && !m.ofNET()
	from := m.source
	if from.Scope == "" && m.managed != "" && !m.seesFiles(false) {
		from = s.allSource
	}
	switch {
	case from.Scope == "" && m.seesFiles(all):
		s.Unknown = append(s.Unknown, UnknownPart{
			Section: modulesSection, What: modulePrefix + shorten(m.name) + ", which is not one of IIS and may protect files of all sites,", Source: m.source,
			Fix: "write what it does in its place; if it protects nothing, take it out of modules in the copy of the file, and import again",
		})
	case from.Scope != "" && m.seesFiles(all || m.source.Scope != "" && s.allManaged):
		s.Managed = append(s.Managed, Section{Name: modulePrefix + shorten(m.name), Source: from})
	}
}

// SeesAll returns what of .NET a site has that sees all requests there, also those of files and
// those that another server answers: a module, or what system.web says of who may, where
// runAllManagedModulesForAllRequests is on. Nil if there is nothing.
func (s *Settings) SeesAll() *Section {
	i := slices.IndexFunc(s.Managed, func(sec Section) bool {
		return sec.Source.Scope != "" && (strings.HasPrefix(sec.Name, modulePrefix) || s.allManaged && sec.Name == "system.web")
	})
	if i < 0 {
		return nil
	}
	return &s.Managed[i]
}

const (
	handlersSection      = "system.webServer/handlers"
	redirectSection      = "system.webServer/httpRedirect"
	modulesSection       = "system.webServer/modules"
	globalModulesSection = "system.webServer/globalModules"
	filtersSection       = "system.webServer/isapiFilters"
	modulePrefix         = "the module "
)
