package directives

import (
	"maps"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// writers write Caddy's handlers, each as the directives that it may be.
var writers map[string]func(w *Writer, h object) []*line

func init() {
	writers = map[string]func(*Writer, object) []*line{
		"static_response": staticResponse,
		"error":           staticError,
		"rewrite":         rewrite,
		"headers":         headers,
		"file_server":     fileServer,
		"encode":          encode,
		"templates":       templates,
		"request_body":    requestBody,
		"authentication":  basicAuth,
		"map":             mapping,
		"log_append":      logAppend,
		"tracing":         tracing,
		"push":            nothing("push"),
		"metrics":         nothing("metrics"),
		"reverse_proxy":   reverseProxy,

		"copy_response":         copyResponse,
		"copy_response_headers": copyResponseHeaders,
		"iis_proxy":             ownProxy,
	}
}

// nothing writes a handler that takes nothing.
func nothing(word string) func(*Writer, object) []*line {
	return func(*Writer, object) []*line { return []*line{caddytext.New(word)} }
}

// is tells whether JSON says true, or false.
func is(value any, want bool) bool {
	said, ok := value.(bool)
	return ok && said == want
}

func text(o object, path string) string {
	value, _ := caddytext.At(o, path)
	word, _ := caddytext.Word(value)
	return word
}

// words are the words that are not empty.
func words(list ...string) []string {
	var kept []string
	for _, word := range list {
		if word != "" {
			kept = append(kept, word)
		}
	}
	return kept
}

func staticResponse(_ *Writer, h object) (lines []*line) {
	status, body := text(h, "status_code"), text(h, "body")
	if location, ok := caddytext.At(h, "headers.Location"); ok {
		if to := caddytext.Texts(location); len(to) == 1 {
			code := map[string]string{"302": "", "301": "permanent"}
			word, known := code[status]
			if !known {
				word = status
			}
			lines = append(lines, caddytext.New(words("redir", to[0], word)...))
		}
		return lines
	}
	if is(h["abort"], true) {
		return []*line{caddytext.New("abort")}
	}
	l := caddytext.New("respond")
	switch {
	case body != "":
		l.Words = append(l.Words, words(body, status)...)
	case status != "":
		l.Words = append(l.Words, status)
	default:
		l.Words = append(l.Words, "")
	}
	l.Block = caddytext.Fields(h, []caddytext.Field{{Word: "close", Path: "close", Kind: caddytext.Flag}})
	if html := redirectPage(body); html != "" {
		lines = append(lines, caddytext.New("redir", html, "html"))
	}
	return append(lines, l)
}

// redirectPage is where the page leads that redir makes with the word html.
func redirectPage(body string) string {
	_, rest, ok := strings.Cut(body, `window.location.replace("`)
	to, _, closed := strings.Cut(rest, `")`)
	if !ok || !closed {
		return ""
	}
	return strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'").Replace(to)
}

func staticError(_ *Writer, h object) []*line {
	return []*line{caddytext.New(append([]string{"error"}, words(text(h, "error"), text(h, "status_code"))...)...)}
}

func copyResponse(_ *Writer, h object) []*line {
	return []*line{caddytext.New(append([]string{"copy_response"}, words(text(h, "status_code"))...)...)}
}

func copyResponseHeaders(_ *Writer, h object) []*line {
	return []*line{{Words: []string{"copy_response_headers"}, Block: caddytext.Fields(h, []caddytext.Field{
		{Word: "include", Path: "include", Kind: caddytext.List}, {Word: "exclude", Path: "exclude", Kind: caddytext.List},
	})}}
}

func rewrite(_ *Writer, h object) (lines []*line) {
	for field, directive := range map[string][]string{
		"uri": {"rewrite"}, "method": {"method"},
		"strip_path_prefix": {"uri", "strip_prefix"}, "strip_path_suffix": {"uri", "strip_suffix"},
	} {
		if value := text(h, field); value != "" && len(h) == 2 {
			if field == "uri" {
				lines = append(lines, caddytext.New("rewrite", "*", value), caddytext.New("rewrite", value))
			}
			lines = append(lines, caddytext.New(append(directive, value)...))
		}
	}
	for field, word := range map[string]string{"uri_substring": "replace", "path_regexp": "path_regexp"} {
		list, _ := h[field].([]any)
		if len(list) != 1 {
			continue
		}
		o, _ := list[0].(object)
		l := caddytext.New("uri", word, text(o, "find"), text(o, "replace"))
		l.Words = append(l.Words, words(text(o, "limit"))...)
		lines = append(lines, l)
	}
	if query, ok := h["query"].(object); ok {
		lines = append(lines, &line{Words: []string{"uri", "query"}, Block: queryOperations(query)})
	}
	return lines
}

func queryOperations(query object) (lines []*line) {
	for _, field := range []string{"rename", "set", "add", "replace", "delete"} {
		list, _ := query[field].([]any)
		for _, item := range list {
			o, _ := item.(object)
			key, value := text(o, "key"), text(o, "val")
			switch field {
			case "rename":
				lines = append(lines, caddytext.New(key+">"+value))
			case "set":
				lines = append(lines, caddytext.New(key, value))
			case "add":
				lines = append(lines, caddytext.New("+"+key, value))
			case "replace":
				lines = append(lines, caddytext.New(key, text(o, "search_regexp"), text(o, "replace")))
			case "delete":
				word, _ := caddytext.Word(item)
				lines = append(lines, caddytext.New("-"+word))
			}
		}
	}
	return lines
}

func headers(_ *Writer, h object) (lines []*line) {
	if request, ok := h["request"].(object); ok {
		if operations := headerOperations(request, ""); len(operations) == 1 {
			return []*line{operations[0].Behind("request_header")}
		}
		return nil
	}
	response, _ := h["response"].(object)
	set := ""
	if require, ok := response["require"].(object); ok {
		if missing, ok := require["headers"].(object); ok && onlyHas(require, "headers") {
			for name := range missing {
				set = "?" + name
			}
		}
	}
	prefix := ""
	if set != "" {
		prefix = "?"
	}
	operations := headerOperations(response, prefix)
	if len(operations) == 1 {
		lines = append(lines, operations[0].Behind("header"))
		if is(response["deferred"], true) && prefix == "" && !strings.HasPrefix(operations[0].Words[0], "-") {
			deferred := operations[0].Behind()
			deferred.Words[0] = ">" + deferred.Words[0]
			lines = append(lines, deferred.Behind("header"))
		}
	}
	block := &line{Words: []string{"header"}, Block: operations}
	lines = append(lines, block)
	extra := block.Block
	if require, ok := response["require"].(object); ok {
		extra = append(responseMatcher("match", require), extra...)
		lines = append(lines, &line{Words: []string{"header"}, Block: extra})
	}
	if is(response["deferred"], true) {
		lines = append(lines, &line{Words: []string{"header"}, Block: append([]*line{caddytext.New("defer")}, extra...)})
	}
	return lines
}

// headerOperations writes what happens to headers, as the words behind header, header_up or
// header_down. Values are set with a prefix.
func headerOperations(operations object, prefix string) (lines []*line) {
	add, _ := operations["add"].(object)
	set, _ := operations["set"].(object)
	replace, _ := operations["replace"].(object)
	for _, name := range names(set) {
		for _, value := range caddytext.Texts(set[name]) {
			lines = append(lines, caddytext.New(prefix+name, value))
		}
	}
	for _, name := range names(add) {
		for _, value := range caddytext.Texts(add[name]) {
			lines = append(lines, caddytext.New("+"+name, value))
		}
	}
	for _, name := range names(replace) {
		list, _ := replace[name].([]any)
		for _, item := range list {
			o, _ := item.(object)
			lines = append(lines, caddytext.New(name, text(o, "search_regexp"), text(o, "replace")))
		}
	}
	for _, name := range caddytext.Texts(operations["delete"]) {
		if name != "" {
			lines = append(lines, caddytext.New("-"+name))
		}
	}
	return lines
}

// responseMatcher writes a matcher of responses, which words begin.
func responseMatcher(word string, config object) []*line {
	l := &line{Words: []string{word}}
	if status := caddytext.Texts(config["status_code"]); config["status_code"] != nil {
		l.Add(caddytext.New(append([]string{"status"}, status...)...))
	}
	fields, _ := config["headers"].(object)
	for _, name := range names(fields) {
		if fields[name] == nil {
			l.Add(caddytext.New("header", "!"+name))
		}
		for _, value := range caddytext.Texts(fields[name]) {
			if fields[name] != nil {
				l.Add(caddytext.New("header", name, value))
			}
		}
	}
	return []*line{l}
}

func fileServer(w *Writer, h object) []*line {
	l := caddytext.New("file_server")
	fields := []caddytext.Field{
		{Word: "fs", Path: "fs"},
		{Word: "root", Path: "root"},
		{Word: "hide", Path: "hide", Kind: caddytext.List},
		{Word: "index", Path: "index_names", Kind: caddytext.List},
		{Word: "precompressed", Path: "precompressed_order", Kind: caddytext.List},
		{Word: "status", Path: "status_code"},
		{Word: "pass_thru", Path: "pass_thru", Kind: caddytext.Flag},
		{Word: "etag_file_extensions", Path: "etag_file_extensions", Kind: caddytext.List},
	}
	shown := maps.Clone(h)
	if hide := w.othersHidden(caddytext.Texts(h["hide"])); h["hide"] != nil {
		shown["hide"] = hide
	}
	l.Block = caddytext.Fields(shown, fields)
	if browse, ok := h["browse"].(object); ok {
		b := caddytext.New(words("browse", text(browse, "template_file"))...)
		b.Block = caddytext.Fields(browse, []caddytext.Field{
			{Word: "reveal_symlinks", Path: "reveal_symlinks", Kind: caddytext.Flag},
			{Word: "sort", Path: "sort", Kind: caddytext.List},
			{Word: "file_limit", Path: "file_limit"},
			{Word: "plain_time_format", Path: "plain_time_format"},
		})
		if len(b.Words) == 1 && len(b.Block) == 0 {
			l.Words = append(l.Words, "browse")
		} else {
			l.Add(b)
		}
	}
	if is(h["canonical_uris"], false) {
		l.Add(caddytext.New("disable_canonical_uris"))
	}
	return []*line{l}
}

// othersHidden are the hidden files but the Caddyfile itself, which Caddy adds.
func (w *Writer) othersHidden(hide []string) (others []any) {
	for _, file := range hide {
		if file != w.Own {
			others = append(others, file)
		}
	}
	return others
}

func encode(_ *Writer, h object) []*line {
	encodings, _ := h["encodings"].(object)
	l := caddytext.New("encode")
	plain := true
	for _, name := range caddytext.Texts(h["prefer"]) {
		config, _ := encodings[name].(object)
		plain = plain && len(config) == 0
	}
	for _, name := range caddytext.Texts(h["prefer"]) {
		config, _ := encodings[name].(object)
		if plain {
			l.Words = append(l.Words, name)
			continue
		}
		l.Add(caddytext.New(words(name, text(config, "level"))...))
	}
	l.Add(caddytext.Fields(h, []caddytext.Field{{Word: "minimum_length", Path: "minimum_length"}})...)
	if match, ok := h["match"].(object); ok {
		l.Add(responseMatcher("match", match)...)
	}
	return []*line{l}
}

func templates(_ *Writer, h object) []*line {
	return []*line{{Words: []string{"templates"}, Block: caddytext.Fields(h, []caddytext.Field{
		{Word: "mime", Path: "mime_types", Kind: caddytext.List}, {Word: "between", Path: "delimiters", Kind: caddytext.List}, {Word: "root", Path: "file_root"},
	})}}
}

func requestBody(_ *Writer, h object) []*line {
	return []*line{{Words: []string{"request_body"}, Block: caddytext.Fields(h, []caddytext.Field{
		{Word: "max_size", Path: "max_size", Kind: caddytext.Size}, {Word: "set", Path: "set"},
	})}}
}

func basicAuth(_ *Writer, h object) []*line {
	config, _ := caddytext.At(h, "providers.http_basic")
	basic, _ := config.(object)
	accounts, _ := basic["accounts"].([]any)
	l := caddytext.New("basic_auth")
	algorithm, realm := text(basic, "hash.algorithm"), text(basic, "realm")
	if algorithm != "bcrypt" || realm != "" {
		l.Words = append(l.Words, words(algorithm, realm)...)
	}
	for _, item := range accounts {
		account, _ := item.(object)
		l.Add(caddytext.New(text(account, "username"), text(account, "password")))
	}
	return []*line{l}
}

func mapping(_ *Writer, h object) []*line {
	l := caddytext.New(append([]string{"map", text(h, "source")}, caddytext.Texts(h["destinations"])...)...)
	mappings, _ := h["mappings"].([]any)
	for _, item := range mappings {
		m, _ := item.(object)
		in := text(m, "input")
		if pattern := text(m, "input_regexp"); pattern != "" {
			in = "~" + pattern
		}
		inner := caddytext.New(in)
		outputs, _ := m["outputs"].([]any)
		for _, output := range outputs {
			if output == nil {
				output = "-"
			}
			word, _ := caddytext.Word(output)
			inner.Words = append(inner.Words, word)
		}
		l.Add(inner)
	}
	if defaults := caddytext.Texts(h["defaults"]); h["defaults"] != nil {
		l.Add(caddytext.New(append([]string{"default"}, defaults...)...))
	}
	return []*line{l}
}

func logAppend(_ *Writer, h object) []*line {
	key, value := text(h, "key"), text(h, "value")
	if is(h["early"], true) {
		key = "<" + key
	}
	return []*line{caddytext.New("log_append", key, value)}
}

func tracing(_ *Writer, h object) []*line {
	return []*line{{Words: []string{"tracing"}, Block: caddytext.Fields(h, []caddytext.Field{{Word: "span", Path: "span"}})}}
}
