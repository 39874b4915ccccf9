package iisimport

import (
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// What the application pool of a place, and what it may run, leave of its handlers and settings.

// exists tells whether IIS asks a handler at a node: its preCondition lets it exist in the
// application pool, and it is not one of those for programs where none may run. A pool that is
// not among the files has all.
func (w *siteWriter) exists(n *node, h iisconfig.Handler) bool {
	if programsOff(n, h) {
		return false
	}
	pool := w.b.pool(n.pool)
	if pool == nil {
		return true
	}
	classic := strings.EqualFold(pool.PipelineMode, "Classic")
	runtime := strings.ToLower(pool.RuntimeVersion)
	for condition := range strings.SplitSeq(h.PreCondition, ",") {
		condition = strings.ToLower(strings.TrimSpace(condition))
		if version, ok := strings.CutPrefix(condition, "runtimeversion"); ok && (runtime != "" || pool.Unmanaged) && !strings.HasPrefix(runtime, version) {
			return false
		}
		switch condition {
		case "bitness32":
			if !pool.Enable32Bit {
				return false
			}
		case "bitness64":
			if pool.Enable32Bit {
				return false
			}
		case "integratedmode":
			if classic {
				return false
			}
		case "classicmode":
			if !classic {
				return false
			}
		}
	}
	return true
}

// programsOff tells whether a handler is ISAPI-dll or CGI-exe of IIS, which run a program that
// is asked for by its own name, at a place whose accessPolicy does not have Execute. IIS has them
// disabled there, as it is installed, and sends such files (the .exe of an installer, the .dll of
// Blazor), if they have a MIME type.
func programsOff(n *node, h iisconfig.Handler) bool {
	return h.ScriptProcessor == "" && h.Type == "" && strings.EqualFold(h.RequireAccess, "Execute") &&
		(strings.EqualFold(h.Path, "*.dll") && hasModule(h, "IsapiModule") || strings.EqualFold(h.Path, "*.exe") && hasModule(h, "CgiModule")) &&
		!strings.Contains(strings.ToLower(n.settings.Handlers.AccessPolicy), "execute")
}

// withoutNET tells whether the application pool of a node runs no .NET (No Managed Code), so
// that nothing reads what is .NET's. A pool that is not among the files may run it.
func (w *siteWriter) withoutNET(n *node) bool {
	pool := w.b.pool(n.pool)
	return pool != nil && pool.Unmanaged && !filesOfNET(n.settings)
}

// tellUnread names the sections of a node that nothing reads, as its pool runs no .NET.
func (w *siteWriter) tellUnread(n *node) {
	if !w.withoutNET(n) || n.settings.AspNetCore != nil {
		return
	}
	for _, sec := range n.settings.Managed {
		if strings.EqualFold(sec.Source.Scope, strings.TrimSuffix(w.site.source.Name+n.path, "/")) && !strings.HasPrefix(sec.Name, "the module ") {
			w.report().dropped(sec.Source, "the section "+sec.Name, "the application pool %s runs no .NET (No Managed Code), which alone reads it", w.b.pool(n.pool).Name)
		}
	}
}
