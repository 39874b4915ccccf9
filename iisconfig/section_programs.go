package iisconfig

import (
	"slices"
	"strings"
)

// Restriction is system.webServer/security/isapiCgiRestriction, WebSvcExtRestrictionList in IIS 6:
// which ISAPI and CGI programs may run. Others are 404.2.
type Restriction struct {
	Programs []Program `json:"programs,omitempty"`
	// OtherISAPI and OtherCGI say that programs which are not listed may run.
	OtherISAPI bool   `json:"other_isapi,omitempty"`
	OtherCGI   bool   `json:"other_cgi,omitempty"`
	Source     Source `json:"source"`
}

// Program is an entry of isapiCgiRestriction.
type Program struct {
	Path    string `json:"path"` // of its file; arguments may follow
	Allowed bool   `json:"allowed"`
	Source  Source `json:"source"`
}

const restrictionSection = "system.webServer/security/isapiCgiRestriction"

func readRestriction(c *context, el *element) func(*Settings) {
	c.rep.info(CodeIgnored, c.src(el), "of the section %s, groupId and description are not needed: paths and allowed count", restrictionSection)
	isapi, cgi := c.boolean(el, "notListedIsapisAllowed", false), c.boolean(el, "notListedCgisAllowed", false)
	entries := collection(c, el, "add", byAttr("path"), func(el *element) Program {
		el.lookup("groupId")
		el.lookup("description")
		return Program{Path: el.str("path"), Allowed: c.boolean(el, "allowed", false), Source: c.src(el)}
	})
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.Restriction, Restriction{}, func(r *Restriction) {
			if el.has("notListedIsapisAllowed") {
				r.OtherISAPI = isapi
			}
			if el.has("notListedCgisAllowed") {
				r.OtherCGI = cgi
			}
			r.Programs = entries.apply(s, r.Programs, func(p Program) string { return p.Path })
			r.Source = c.src(el)
		})
	}
}

// Denies tells whether a handler may not run its program, in an application pool that has the
// engine of .NET in a folder. FastCGI has a list of its own, fastCgi, and is denied by name only,
// as is .NET.
func (r *Restriction) Denies(h Handler, engine string) bool {
	if r == nil {
		return false
	}
	has := func(module string) bool {
		return slices.ContainsFunc(strings.Split(h.Modules, ","), func(m string) bool { return strings.EqualFold(strings.TrimSpace(m), module) })
	}
	file := programFile(h.ScriptProcessor)
	library := strings.HasSuffix(file, ".dll")
	switch ofIIS6 := h.Modules == "" && file != ""; {
	case h.Type != "" && file == "":
		return r.listed(programFile(engine+"/webengine4.dll"), false) || r.listed(programFile(engine+"/aspnet_isapi.dll"), false)
	case has("FastCgiModule"):
		return r.listed(file, false)
	case has("IsapiModule"), ofIIS6 && library:
		return r.denies(file, r.OtherISAPI)
	case has("CgiModule"), ofIIS6:
		return r.denies(file, r.OtherCGI)
	}
	return false
}

// denies tells whether a program may not run. Without a file it is what is asked for, of which an
// entry may be.
func (r *Restriction) denies(file string, others bool) bool {
	if file == "" {
		return !others || slices.ContainsFunc(r.Programs, func(p Program) bool { return !p.Allowed })
	}
	return r.listed(file, false) || !others && !r.listed(file, true)
}

// listed tells whether an entry allows a file, or denies it.
func (r *Restriction) listed(file string, allowed bool) bool {
	return file != "" && slices.ContainsFunc(r.Programs, func(p Program) bool {
		return p.Allowed == allowed && programFile(p.Path) == file
	})
}

// programFile is the file of a program that arguments may follow, in one form; empty if there is
// none.
func programFile(command string) string {
	file := strings.TrimLeft(strings.TrimSpace(command), `"`)
	file, _, _ = strings.Cut(file, "|")
	for _, ext := range []string{".exe", ".dll"} {
		at := strings.Index(strings.ToLower(file), ext)
		if end := at + len(ext); at >= 0 && (end == len(file) || strings.ContainsRune("\" \t", rune(file[end]))) {
			file = file[:end]
		}
	}
	return strings.ToLower(CleanFolder(file))
}
