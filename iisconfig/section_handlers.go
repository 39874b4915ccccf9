package iisconfig

import (
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
			before := slices.ContainsFunc(h.Entries, sendsAll)
			h.Entries = entries.apply(s, h.Entries, func(h Handler) string { return h.Name })
			h.Cleared = h.Cleared || entries.clears() || before && !slices.ContainsFunc(h.Entries, sendsAll)
			h.Source = src
		})
	}
}

// sendsAll tells whether a handler is the one that sends files of every path.
func sendsAll(h Handler) bool {
	return h.Path == "*" && strings.Contains(strings.ToLower(h.Modules), "staticfilemodule")
}

// readAspNetCore reads how a program that answers by HTTP is started: aspNetCore, or
// httpPlatform, its predecessor.
func readAspNetCore(c *context, el *element) func(*Settings) {
	v := &AspNetCore{
		ProcessPath: el.str("processPath"), Arguments: el.str("arguments"),
		HostingModel: el.str("hostingModel"), Source: c.src(el),
	}
	el.ignore("stdoutLogEnabled", "stdoutLogFile", "startupTimeLimit", "startupRetryCount", "requestTimeout",
		"rapidFailsPerMinute", "processesPerApplication", "forwardWindowsAuthToken", "disableStartUpErrorPage",
		"shutdownTimeLimit")
	c.attributes(el)
	for _, kid := range el.kids {
		switch kid.name {
		case "environmentVariables", "handlerSettings", "recycleOnFileChange":
			c.rep.info(CodeIgnored, c.src(kid), "%s: %s concern the program itself", el.name, kid.name)
		default:
			c.unknown(kid, "in "+el.name)
		}
	}
	return func(s *Settings) { s.AspNetCore = v }
}

// isapiFilter reports a filter that sees every request. Those of ASP.NET are on every
// server and do nothing for files.
func (r *configReader) isapiFilter(el *element) error {
	dll := el.str("path")
	switch {
	case el.name != "filter":
	case strings.HasSuffix(strings.ToLower(dll), `\aspnet_filter.dll`):
		r.ctx.rep.info(CodeIgnored, r.ctx.src(el), "the ISAPI filter of ASP.NET does nothing for files")
	default:
		r.b.rep.warn(CodeUnsupported, r.ctx.src(el), "find out what the filter does", "the ISAPI filter %s runs inside IIS", shorten(dll))
	}
	return r.x.skip()
}
