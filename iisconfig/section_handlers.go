package iisconfig

import (
	"cmp"
	"slices"
	"strings"
)

func readHandlers(c *context, el *element) func(*Settings) {
	src, policy := c.src(el), el.str("accessPolicy")
	entries := collection(c, el, "add", byAttr("name"), func(el *element) Handler {
		h := Handler{
			Name: el.str("name"), Path: el.str("path"), Verb: el.str("verb"), Type: el.str("type"),
			Modules: el.str("modules"), ScriptProcessor: el.str("scriptProcessor"),
			PreCondition: el.str("preCondition"), ResourceType: el.str("resourceType"),
			RequireAccess: el.str("requireAccess"), AllowPathInfo: c.boolean(el, "allowPathInfo", false), Source: c.src(el),
		}
		el.ignore("responseBufferLimit")
		return h
	})
	entries.prepend = true
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.Handlers, Handlers{}, func(h *Handlers) {
			setNonEmpty(&h.AccessPolicy, policy)
			out := slices.ContainsFunc(h.Entries, sendsAll) || slices.Contains(entries.removes(), "staticfile") // which nobody may know
			h.Entries, h.Gone = entries.apply(s, h.Entries, func(h Handler) string { return h.Name }), entries.gone(h.Gone)
			h.Cleared = h.Cleared || entries.clears() || out && !slices.ContainsFunc(h.Entries, sendsAll)
			h.Source = src
		})
	}
}

// sendsAll tells whether a handler is the one that sends files of every path.
func sendsAll(h Handler) bool {
	return h.Path == "*" && h.AnswersGET() && strings.Contains(strings.ToLower(h.Modules), "staticfilemodule")
}

// readAspNetCore reads how a program that answers by HTTP is started: aspNetCore, or
// httpPlatform, its predecessor.
func readAspNetCore(c *context, el *element) func(*Settings) {
	const day = 24 * 60 * 60
	own := AspNetCore{
		ProcessPath: el.str("processPath"), Arguments: el.str("arguments"), HostingModel: el.str("hostingModel"),
		StartupTimeLimit:  int(c.number(el, "startupTimeLimit", 0, 0, day)),
		ShutdownTimeLimit: int(c.number(el, "shutdownTimeLimit", 0, 0, day)),
		RapidFails:        int(c.number(el, "rapidFailsPerMinute", 0, 0, 100)),
		StdoutFile:        el.str("stdoutLogFile"), RequestTimeout: el.str("requestTimeout"),
		Platform: el.name == "httpPlatform", Source: c.src(el),
	}
	logs := el.str("stdoutLogEnabled") != ""
	own.StdoutLog = c.boolean(el, "stdoutLogEnabled", false)
	el.ignore("startupRetryCount", "processesPerApplication", "forwardWindowsAuthToken", "disableStartUpErrorPage")
	c.attributes(el)
	variables := list[Pair]{name: "environmentVariables"}
	for _, kid := range el.kids {
		switch {
		case kid.is("environmentVariables"):
			variables = collection(c, kid, "environmentVariable", byAttr("name"), func(el *element) Pair {
				return Pair{el.str("name"), el.str("value")}
			})
			c.attributes(kid)
		case kid.is("handlerSettings", "recycleOnFileChange"):
			c.rep.info(CodeIgnored, c.src(kid), "%s: %s concern the program itself", el.name, kid.name)
		default:
			c.unknown(kid, "in "+el.name)
		}
	}
	return func(s *Settings) {
		replace(&s.AspNetCore, AspNetCore{}, func(v *AspNetCore) {
			setNonEmpty(&v.ProcessPath, own.ProcessPath)
			setNonEmpty(&v.Arguments, own.Arguments)
			setNonEmpty(&v.HostingModel, own.HostingModel)
			setNonEmpty(&v.StdoutFile, own.StdoutFile)
			setNonEmpty(&v.RequestTimeout, own.RequestTimeout)
			v.StartupTimeLimit = cmp.Or(own.StartupTimeLimit, v.StartupTimeLimit)
			v.ShutdownTimeLimit = cmp.Or(own.ShutdownTimeLimit, v.ShutdownTimeLimit)
			v.RapidFails = cmp.Or(own.RapidFails, v.RapidFails)
			if logs {
				v.StdoutLog = own.StdoutLog
			}
			v.Environment = variables.apply(s, v.Environment, func(p Pair) string { return p.Name })
			v.Platform, v.Source = own.Platform, own.Source
		})
	}
}

// shippedFilters are the ISAPI filters of ASP.NET and of IIS 6, which protect no files.
var shippedFilters = []string{"aspnet_filter.dll", "compfilt.dll", "sspifilt.dll", "md5filt.dll", "fpexedll.dll"}

// foreignFilter tells whether an ISAPI filter, by its file, may protect files.
func foreignFilter(dll string) bool {
	return !slices.ContainsFunc(shippedFilters, func(name string) bool {
		return strings.EqualFold(dll[strings.LastIndexAny(dll, `\/`)+1:], name)
	})
}

// unknownFilter is a filter that may protect what is there.
func unknownFilter(dll string, src Source) UnknownPart {
	return UnknownPart{
		Section: filtersSection, What: "the ISAPI filter " + shorten(dll) + ", which sees every request,", Source: src,
		Fix: "write what it does in its place; if it protects nothing, take it out of the copy of the file, and import again",
	}
}

// isapiFilters reads filters, also from a file of their own, without which nobody knows them.
func (r *configReader) isapiFilters(name string, el *element) error {
	if err := r.x.tree(el); err != nil {
		return err
	}
	r.notesLocks(name, el)
	if el.missing || el.outside {
		c := &context{rep: r.ctx.rep, scope: r.ctx.scope, section: filtersSection}
		c.mark(c.src(el), "the file %s", shorten(el.str("configSource")))
		r.emit(name, el, c, nil)
	}
	for _, kid := range el.kids {
		r.isapiFilter(kid)
	}
	return nil
}

// isapiFilter reads a filter that sees every request. Those of ASP.NET are on every
// server and do nothing for files.
func (r *configReader) isapiFilter(el *element) {
	dll, src := el.str("path"), r.ctx.src(el)
	switch {
	case el.is("clear", "remove"):
	case !el.is("filter"):
		c := &context{rep: r.ctx.rep, scope: r.ctx.scope, section: filtersSection}
		c.unknown(el, "in isapiFilters")
		r.emit(filtersSection, el, c, nil)
	case !r.ctx.boolean(el, "enabled", true):
	case !foreignFilter(dll):
		r.ctx.rep.info(CodeIgnored, src, "isapiFilters: the element filter of ASP.NET does nothing for files")
	default:
		r.emit(filtersSection, el, &context{unknowns: []UnknownPart{unknownFilter(dll, src)}}, nil)
	}
}
