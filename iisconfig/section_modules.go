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
		applicationrequestrouting httpplatformhandler corsmodule managedengine managedengine64 managedenginev4.0_32bit managedenginev4.0_64bit`) {
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

// readModules looks for modules that may protect files: only a worker process runs those
// of a site. Which do is known when the levels are merged: a deeper one may switch the
// preConditions off, and remove modules. What those of the whole server do, somebody has
// to find out.
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
	for _, op := range entries.ops {
		if m := op.item; op.op == opAdd && c.scope == "" && (m.seesFiles(false) || all && !m.ofNET() && m.seesFiles(true)) {
			c.rep.warn(CodeUnsupported, op.source, "find out what the module does, and close what it protected", "the module %s is not one of IIS, and may protect files of all sites", shorten(m.name))
		}
	}
	return func(s *Settings) {
		if said {
			s.allManaged = all
		}
		s.modules = entries.apply(s, s.modules, func(m module) string { return m.name })
		s.Managed = slices.DeleteFunc(slices.Clone(s.Managed), func(sec Section) bool { return strings.HasPrefix(sec.Name, modulePrefix) })
		for _, m := range s.modules {
			from := m.source
			if from.Scope == "" && s.allManaged && !m.ofNET() {
				from = src // a site lets it see files
			}
			if from.Scope != "" && m.seesFiles(s.allManaged) {
				s.Managed = append(s.Managed, Section{Name: modulePrefix + shorten(m.name), Source: from})
			}
		}
	}
}

const modulePrefix = "the module "
