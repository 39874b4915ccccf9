package iisconfig

import (
	"math"
	"strconv"
	"strings"
)

// replace copies the section that a change is about, so that the inherited one, which
// other paths share, stays as it is.
func replace[T any](section **T, initial T, set func(*T)) {
	v := initial
	if *section != nil {
		v = **section
	}
	set(&v)
	*section = &v
}

func value(c *context, attr string) func(*element) Value {
	return func(el *element) Value { return Value{Value: el.str(attr), Source: c.src(el)} }
}

func valueKey(v Value) string { return v.Value }

func readDefaultDocument(c *context, el *element) func(*Settings) {
	src, enabled, isSet := c.src(el), c.boolean(el, "enabled", true), el.has("enabled")
	var files list[Value]
	for _, kid := range el.kids {
		if !kid.is("files") {
			c.unknown(kid, "in "+el.name)
			continue
		}
		files = collection(c, kid, "add", byAttr("value"), value(c, "value"))
		files.prepend = true
		c.attributes(kid)
	}
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.DefaultDocument, DefaultDocument{Enabled: true}, func(d *DefaultDocument) {
			if isSet {
				d.Enabled = enabled
			}
			d.Files, d.Gone = files.apply(s, d.Files, valueKey), files.gone(d.Gone)
			d.Source = src
		})
	}
}

func readDirectoryBrowse(c *context, el *element) func(*Settings) {
	src, enabled, isSet := c.src(el), c.boolean(el, "enabled", false), el.has("enabled")
	flags, hasFlags := el.lookup("showFlags")
	el.ignore("virtualDirectoryTimeout")
	c.done(el)
	return func(s *Settings) {
		replace(&s.DirectoryBrowse, DirectoryBrowse{}, func(d *DirectoryBrowse) {
			if isSet {
				d.Enabled = enabled
			}
			if hasFlags {
				d.ShowFlags = flags
			}
			d.Source = src
		})
	}
}

var redirectStatus = map[string]int{"permanent": 301, "found": 302, "temporary": 307, "permredirect": 308}

func readHTTPRedirect(c *context, el *element) func(*Settings) {
	src := c.src(el)
	var set []func(*HTTPRedirect)
	flag := func(name string, field func(*HTTPRedirect) *bool) {
		if el.has(name) {
			v := c.boolean(el, name, false)
			set = append(set, func(r *HTTPRedirect) { *field(r) = v })
		}
	}
	flag("enabled", func(r *HTTPRedirect) *bool { return &r.Enabled })
	flag("exactDestination", func(r *HTTPRedirect) *bool { return &r.Exact })
	flag("childOnly", func(r *HTTPRedirect) *bool { return &r.ChildOnly })
	if dest, ok := el.lookup("destination"); ok {
		set = append(set, func(r *HTTPRedirect) { r.Destination = dest })
	}
	if word, ok := el.lookup("httpResponseStatus"); ok {
		status := redirectStatus[strings.ToLower(word)]
		if status == 0 {
			c.badValue(el, "httpResponseStatus", word, "Permanent, Found, Temporary, PermRedirect")
			status = 302
		}
		set = append(set, func(r *HTTPRedirect) { r.Status = status })
	}
	wildcards := collection(c, el, "add", byAttr("wildcard"), func(el *element) WildcardRedirect {
		return WildcardRedirect{Wildcard: el.str("wildcard"), Destination: el.str("destination"), Source: c.src(el)}
	})
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.HTTPRedirect, HTTPRedirect{Status: 302}, func(r *HTTPRedirect) {
			for _, f := range set {
				f(r)
			}
			r.Wildcards = wildcards.apply(s, r.Wildcards, func(w WildcardRedirect) string { return w.Wildcard })
			r.Source = src
		})
	}
}

// errorKey is what makes an entry of httpErrors unique.
func errorKey(status, sub string) string {
	if sub == "" {
		sub = "-1"
	}
	return status + "." + sub
}

func readHTTPErrors(c *context, el *element) func(*Settings) {
	src := c.src(el)
	mode := c.word(el, "errorMode", "Custom", "Detailed", "DetailedLocalOnly")
	existing := c.word(el, "existingResponse", "Auto", "Replace", "PassThrough")
	path := el.str("defaultPath")
	responseMode := c.word(el, "defaultResponseMode", "File", "ExecuteURL", "Redirect")
	absolute, absoluteSet := c.boolean(el, "allowAbsolutePathsWhenDelegated", false), el.has("allowAbsolutePathsWhenDelegated")
	el.ignore("detailedMoreInformationLink")
	pages := collection(c, el, "error",
		func(el *element) string { return errorKey(el.str("statusCode"), el.str("subStatusCode")) },
		func(el *element) ErrorPage {
			page := ErrorPage{
				Status: int(c.number(el, "statusCode", 0, 400, 999)), SubStatus: int(c.number(el, "subStatusCode", -1, -1, 999)),
				Prefix: el.str("prefixLanguageFilePath"), Path: el.str("path"),
				Mode: c.word(el, "responseMode", "File", "ExecuteURL", "Redirect"), Source: c.src(el),
			}
			if page.Mode == "" {
				page.Mode = "File"
			}
			return page
		})
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.HTTPErrors, HTTPErrors{}, func(h *HTTPErrors) {
			setNonEmpty(&h.Mode, mode)
			setNonEmpty(&h.ExistingResponse, existing)
			setNonEmpty(&h.DefaultPath, path)
			setNonEmpty(&h.DefaultResponseMode, responseMode)
			if absoluteSet {
				h.AbsolutePaths = absolute
			}
			h.Errors = pages.apply(s, h.Errors, func(p ErrorPage) string {
				return errorKey(strconv.Itoa(p.Status), strconv.Itoa(p.SubStatus))
			})
			h.Source = src
		})
	}
}

func setNonEmpty(field *string, v string) {
	if v != "" {
		*field = v
	}
}

func readStaticContent(c *context, el *element) func(*Settings) {
	src := c.src(el)
	maps := *el
	maps.kids = nil
	var cache []func(*StaticContent)
	for _, kid := range el.kids {
		if !kid.is("clientCache") {
			maps.kids = append(maps.kids, kid)
			continue
		}
		mode := c.word(kid, "cacheControlMode", "NoControl", "DisableCache", "UseMaxAge", "UseExpires")
		age, expires, custom := kid.str("cacheControlMaxAge"), kid.str("httpExpires"), kid.str("cacheControlCustom")
		kid.ignore("setEtag")
		c.done(kid)
		cache = append(cache, func(s *StaticContent) {
			setNonEmpty(&s.CacheMode, mode)
			setNonEmpty(&s.CacheMaxAge, age)
			setNonEmpty(&s.CacheExpires, expires)
			setNonEmpty(&s.CacheCustom, custom)
		})
	}
	types := collection(c, &maps, "mimeMap", byAttr("fileExtension"), func(el *element) MIMEMap {
		return MIMEMap{Extension: el.str("fileExtension"), Type: el.str("mimeType"), Source: c.src(el)}
	})
	el.ignore("enableDocFooter", "isDocFooterFileName", "defaultDocFooter")
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.StaticContent, StaticContent{}, func(st *StaticContent) {
			for _, f := range cache {
				f(st)
			}
			st.MIMEMaps, st.Gone = types.apply(s, st.MIMEMaps, func(m MIMEMap) string { return m.Extension }), types.gone(st.Gone)
			st.Source = src
		})
	}
}

func readHTTPProtocol(c *context, el *element) func(*Settings) {
	src := c.src(el)
	header := func(el *element) Header {
		return Header{Name: el.str("name"), Value: el.str("value"), Source: c.src(el)}
	}
	var custom, redirect list[Header]
	for _, kid := range el.kids {
		switch {
		case kid.is("customHeaders"):
			custom = collection(c, kid, "add", byAttr("name"), header)
		case kid.is("redirectHeaders"):
			redirect = collection(c, kid, "add", byAttr("name"), header)
		default:
			c.unknown(kid, "in "+el.name)
		}
	}
	keepAlive, isSet := c.boolean(el, "allowKeepAlive", true), el.has("allowKeepAlive")
	c.attributes(el)
	name := func(h Header) string { return h.Name }
	return func(s *Settings) {
		replace(&s.HTTPProtocol, HTTPProtocol{}, func(h *HTTPProtocol) {
			h.CustomHeaders = custom.apply(s, h.CustomHeaders, name)
			h.RedirectHeaders = redirect.apply(s, h.RedirectHeaders, name)
			if isSet {
				h.NoKeepAlive = !keepAlive
			}
			h.Source = src
		})
	}
}

func readURLCompression(c *context, el *element) func(*Settings) {
	src := c.src(el)
	static, hasStatic := c.boolean(el, "doStaticCompression", true), el.has("doStaticCompression")
	dynamic, hasDynamic := c.boolean(el, "doDynamicCompression", true), el.has("doDynamicCompression")
	el.ignore("dynamicCompressionBeforeCache")
	c.done(el)
	return func(s *Settings) {
		replace(&s.URLCompression, URLCompression{Static: true, Dynamic: true}, func(u *URLCompression) {
			if hasStatic {
				u.Static = static
			}
			if hasDynamic {
				u.Dynamic = dynamic
			}
			u.Source = src
		})
	}
}

// readServerRuntime reads whether IIS serves a place at all, and its limits.
func readServerRuntime(c *context, el *element) func(*Settings) {
	initial := ServerRuntime{Enabled: true, MaxRequestEntity: math.MaxUint32, MaxConcurrent: 5000}
	src, enabled := c.src(el), c.boolean(el, "enabled", true)
	body := uint64(c.number(el, "maxRequestEntityAllowed", math.MaxUint32, 0, math.MaxUint32))
	concurrent := uint32(c.number(el, "appConcurrentRequestLimit", int64(initial.MaxConcurrent), 1, math.MaxUint32))
	el.ignore("alternateHostName", "authenticatedUserOverride", "enableNagling", "frequentHitThreshold", "frequentHitTimePeriod", "uploadReadAheadSize")
	c.done(el)
	return func(s *Settings) {
		replace(&s.ServerRuntime, initial, func(r *ServerRuntime) {
			if el.has("enabled") {
				r.Enabled = enabled
			}
			if el.has("maxRequestEntityAllowed") {
				r.MaxRequestEntity = body
			}
			if el.has("appConcurrentRequestLimit") {
				r.MaxConcurrent = concurrent
			}
			r.Source = src
		})
	}
}

func readWebSocket(c *context, el *element) func(*Settings) {
	src, enabled := c.src(el), c.boolean(el, "enabled", true)
	el.ignore("receiveBufferLimit", "pingInterval")
	c.done(el)
	return func(s *Settings) {
		replace(&s.WebSocket, Toggle{Enabled: true}, func(t *Toggle) {
			if el.has("enabled") {
				t.Enabled = enabled
			}
			t.Source = src
		})
	}
}
