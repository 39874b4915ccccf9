package caddyiis_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// livePropertyTime bounds TestLiveProperty. A campaign:
//
//	go test -run TestLiveProperty -live.property 1h -rapid.checks 1000000 -timeout 0 .
var livePropertyTime = flag.Duration("live.property", 8*time.Second, "how long TestLiveProperty makes new histories; -rapid.checks bounds their number")

// TestLiveProperty makes random histories of two sources: changes that are possible and
// others, loads of other configurations and restarts. What was acknowledged is there and
// nothing else, and what is served is what a fresh start on a copy of the databases
// serves.
func TestLiveProperty(t *testing.T) {
	ground := newHistoryGround(t)
	end := time.Now().Add(*livePropertyTime)
	failed := false // then it is made smaller, however long that takes
	histories, steps, answers := 0, 0, make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) {
		if !failed && time.Now().After(end) && histories > 0 {
			return
		}
		before := failed
		failed = true
		h := ground.begin(rt)
		for range rapid.IntRange(5, 50).Draw(rt, "steps") {
			h.step()
			steps++
		}
		h.compare()
		failed = before
		histories++
		for what, n := range h.answers {
			answers[what] += n
		}
	})
	t.Logf("%d histories of %d steps: %v", histories, steps, answers)
}

// historyGround is what all histories have in common.
type historyGround struct {
	*live
	folder string
	extra  string // the certificate that not all configurations have
}

func newHistoryGround(t *testing.T) *historyGround {
	l := &live{t: t, plain: ts.FreePort(t), secure: ts.FreePort(t)}
	g := &historyGround{live: l, folder: t.TempDir(), extra: certificates(t, "extra.test")}
	l.Server = ts.Start(t, "{\n}\n")
	certs := certificates(t, "wild.test", "other.test")
	l.config = func(more string) string { return iisConfig(certs + more) }
	return g
}

// The things that configurations have or lack, by the name under which they are drawn.
var historyOptions = []string{"second template", "extra certificate", "endpoint", "rival", "id taken", "wildcard site", "first_wins", "wide", "second source", "second source first"}

// historyConfig is what a configuration has.
type historyConfig map[string]bool

func drawHistoryConfig(t *rapid.T) historyConfig {
	c := make(historyConfig)
	for _, option := range historyOptions {
		// Much of it is there mostly, as not much could be written else.
		mostly := option == "endpoint" || option == "second template" || option == "wide" || option == "second source"
		c[option] = (rapid.IntRange(0, 3).Draw(t, option) == 0) != mostly
	}
	return c
}

// history is a Caddy that is changed, and what must come of it.
type history struct {
	*historyGround
	rt      *rapid.T
	files   [2]string // of the databases
	config  historyConfig
	rows    [2]map[uint32]string // canonical documents by id
	log     [2][]map[uint32]string
	answers map[string]int
}

var historySources = [2]string{"bolt", "second"}

// begin begins a history with empty databases.
func (g *historyGround) begin(rt *rapid.T) *history {
	h := &history{historyGround: g, rt: rt, answers: make(map[string]int)}
	h.freshFiles()
	for i := range h.rows {
		h.rows[i] = make(map[uint32]string)
	}
	h.config = drawHistoryConfig(rt)
	h.config["second source"] = true // it is made at the first load
	if err := h.Restart(h.caddyfile(h.config)); err != nil {
		rt.Fatalf("the first start: %v", err)
	}
	return h
}

func (h *history) freshFiles() {
	dir, err := os.MkdirTemp(h.folder, "")
	if err != nil {
		h.rt.Fatal(err)
	}
	for i, name := range historySources {
		h.files[i] = filepath.Join(dir, name+".db")
	}
}

// caddyfile writes a configuration out.
func (h *history) caddyfile(c historyConfig) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	sources := []int{0, 1}
	if c["second source first"] {
		sources = []int{1, 0}
	}
	for _, i := range sources {
		if i == 1 && !c["second source"] {
			continue
		}
		add("sites_from bolt %q {\nname %s", h.files[i], historySources[i])
		if c["wide"] {
			add("allow {\nwildcards\ncatch_all\naddresses 127.0.0.1\n}")
		}
		add("}")
	}
	add("template page {\nrespond \"{iis.site.id} {iis.site.name}\"\n}")
	if c["second template"] {
		add("template second {\nsite_vars {\ncolor\nshape round\n}\nrespond \"second {iis.site.id} {iis.vars.color} {iis.vars.shape}\"\n}")
	}
	add("defaults {\nrespond \"default {iis.site.id}\"\n}")
	add("site 1 Configured {\nserver_bindings :%d:configured.test\nbinding https *:%d:configured.test {\nsni\ncertificate other.test\n}\nrespond configured\n}", h.plain, h.secure)
	if c["endpoint"] {
		add("endpoint *:%d {\ncertificate wild.test\n}", h.secure)
	}
	if c["extra certificate"] {
		add("%s", h.extra)
	}
	if c["rival"] {
		add("site 2 Rival {\nserver_bindings :%d:h0.test\nrespond rival\n}", h.plain)
	}
	if c["id taken"] {
		add("site 11 Taken {\nserver_bindings :%d:taken.test\nrespond taken\n}", h.plain)
	}
	if c["wildcard site"] {
		add("site 3 Wildcard {\nserver_bindings :%d:*.test\nbinding https *:%d:*.test {\nsni\ncertificate wild.test\n}\nrespond wildcard\n}", h.plain, h.secure)
	}
	if c["first_wins"] {
		add("conflicts first_wins")
	}
	return h.live.config(b.String())
}

// drawDocument draws what a row may say: mostly what can be served.
func (h *history) drawDocument() map[string]any {
	rt := h.rt
	document := make(map[string]any)
	draw := func(label string, values ...any) any { return values[rapid.IntRange(0, len(values)-1).Draw(rt, label)] }
	wrong := rapid.IntRange(0, 3).Draw(rt, "wrong") == 0
	// odd draws a value that is mostly in order.
	odd := func(label string, order any, values ...any) any {
		if !wrong || rapid.IntRange(0, 2).Draw(rt, label+" is odd") > 0 {
			return order
		}
		return draw(label, values...)
	}
	set := func(key string, value any) {
		if value != nil {
			document[key] = value
		}
	}
	host := func() any {
		return odd("host", draw("host", "h0.test", "h1.test", "h2.test"), "*.test", "", "configured.test", "h 0")
	}
	set("name", draw("name", nil, "A", "B"))
	set("autostart", draw("autostart", nil, nil, nil, nil, nil, nil, false))
	set("template", odd("template", draw("template", nil, "page", "second"), "none"))
	if document["template"] == "second" {
		set("vars", draw("vars", map[string]any{"color": "red"}, map[string]any{"color": "blue", "shape": "flat"}))
	}
	set("vars", odd("vars", nil, map[string]any{"size": "1"}, map[string]any{"color": "{x}"}))
	set("offline", odd("offline", nil, true))
	set("certificate", odd("certificate of the site", nil, "wild.test", "extra.test", "none"))
	set("store", odd("store", nil, "none"))
	set("require_ssl", odd("require_ssl", nil, "on", "maybe"))
	set("nonsense", odd("nonsense", nil, 1))
	var plain []any
	for range rapid.IntRange(0, 2).Draw(rt, "http bindings") {
		plain = append(plain, fmt.Sprintf("%v:%v:%v", odd("address", "", "127.0.0.1", "127.0.0.9"), odd("port", h.plain, h.secure, 1), host()))
	}
	set("server_bindings", plain)
	var secure []any
	for range rapid.IntRange(0, 2).Draw(rt, "https bindings") {
		b := map[string]any{"protocol": "https", "binding": fmt.Sprintf("%v:%v:%v", odd("address", "*", "127.0.0.1", "127.0.0.9"), h.secure, host())}
		if rapid.Bool().Draw(rt, "sni") {
			b["flags"], b["certificate"] = 1, draw("certificate", "wild.test", "wild.test", "other.test", "extra.test")
		}
		if certificate := odd("certificate", nil, "wild.test", "none"); certificate != nil {
			b["certificate"] = certificate
		}
		if flags := odd("flags", nil, 2, 64); flags != nil {
			b["flags"] = flags
		}
		secure = append(secure, b)
	}
	set("bindings", secure)
	for key, value := range document {
		if list, ok := value.([]any); ok && list == nil {
			delete(document, key)
		}
	}
	return document
}

// historySteps are the kinds of steps, as often as they shall be.
var historySteps = slices.Concat(
	[]string{"load", "load", "restart", "another start", "another start", "compare", "several", "several", "revert"},
	slices.Repeat([]string{"remove"}, 3), slices.Repeat([]string{"patch"}, 3), slices.Repeat([]string{"put"}, 10))

// step makes one step.
func (h *history) step() {
	switch rapid.SampledFrom(historySteps).Draw(h.rt, "step") {
	case "load":
		h.load()
	case "restart":
		h.restart(h.config)
	case "another start":
		h.restart(drawHistoryConfig(h.rt))
	case "compare":
		h.compare()
	case "remove":
		h.remove()
	case "patch":
		h.patch()
	case "several":
		h.several()
	case "revert":
		h.revert()
	default:
		h.put()
	}
	h.checkRows()
}

// load loads another configuration, which may be refused.
func (h *history) load() {
	next := drawHistoryConfig(h.rt)
	err := h.Load(h.caddyfile(next))
	h.answers[fmt.Sprintf("load %v", err == nil)]++
	h.rt.Logf("load of %v: %v", next, err)
	if err == nil {
		h.config = next
	}
}

// restart stops Caddy and starts it on the same databases. No row is a reason to refuse
// that.
func (h *history) restart(config historyConfig) {
	if err := h.Restart(h.caddyfile(config)); err != nil {
		h.rt.Fatalf("a restart: %v", err)
	}
	h.answers["restart"]++
	h.rt.Logf("restart with %v", config)
	h.config = config
}

func (h *history) drawID() uint32 { return uint32(rapid.IntRange(10, 15).Draw(h.rt, "id")) }

// drawRow draws a site that a source has, mostly.
func (h *history) drawRow(source int) uint32 {
	if ids := slices.Sorted(maps.Keys(h.rows[source])); len(ids) > 0 && rapid.IntRange(0, 7).Draw(h.rt, "another") > 0 {
		return rapid.SampledFrom(ids).Draw(h.rt, "row")
	}
	return h.drawID()
}

// drawSource draws a source that the configuration has.
func (h *history) drawSource() int {
	if !h.config["second source"] {
		return 0
	}
	return rapid.IntRange(0, 1).Draw(h.rt, "source")
}

func asJSON(document any) string {
	raw, err := json.Marshal(document)
	if err != nil {
		panic(err) // it was made of maps and texts
	}
	return string(raw)
}

// write makes a request that changes sites, and notes what must be there now.
func (h *history) write(method, path, body string, source int, changes map[uint32]string) {
	var raw json.RawMessage
	status := h.ask(method, path, body, &raw)
	h.answers[fmt.Sprintf("%s %d", method, status)]++
	h.rt.Logf("%s %s %s: %d %s", method, path, body, status, raw)
	if status >= 500 {
		h.rt.Fatalf("%s %s %s: %d %s", method, path, body, status, raw)
	}
	if status >= 400 {
		return
	}
	undo := make(map[uint32]string)
	for id, document := range changes {
		before := h.rows[source][id]
		if before == document {
			continue
		}
		undo[id] = before
		if document == "" {
			delete(h.rows[source], id)
		} else {
			h.rows[source][id] = document
		}
	}
	if len(undo) > 0 {
		h.log[source] = append(h.log[source], undo)
	}
}

func query(source int) string { return "?source=" + historySources[source] }

func (h *history) put() {
	id, source, document := h.drawID(), h.drawSource(), asJSON(h.drawDocument())
	h.write(http.MethodPut, fmt.Sprint("sites/", id)+query(source), document, source, map[uint32]string{id: document})
}

// patched is what a patch makes of a row, for documents as they are drawn.
func (h *history) patched(before string, patch map[string]any) string {
	document := make(map[string]any)
	if err := json.Unmarshal([]byte(before), &document); err != nil {
		h.rt.Fatal(err)
	}
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		old, wasMap := document[key].(map[string]any)
		switch {
		case value == nil:
			delete(document, key)
		case isMap && wasMap:
			merged := maps.Clone(old)
			maps.Copy(merged, inner)
			document[key] = merged
		default:
			document[key] = value
		}
	}
	return asJSON(document)
}

func (h *history) patch() {
	source, patch := h.drawSource(), h.drawDocument()
	id := h.drawRow(source)
	for _, key := range []string{"template", "server_bindings", "bindings", "certificate"} {
		if _, has := patch[key]; !has && rapid.Bool().Draw(h.rt, "remove "+key) {
			patch[key] = nil
		}
	}
	changes := make(map[uint32]string)
	if before, there := h.rows[source][id]; there {
		changes[id] = h.patched(before, patch)
	}
	h.write(http.MethodPatch, fmt.Sprint("sites/", id)+query(source), asJSON(patch), source, changes)
}

func (h *history) remove() {
	source := h.drawSource()
	id := h.drawRow(source)
	h.write(http.MethodDelete, fmt.Sprint("sites/", id)+query(source), "", source, map[uint32]string{id: ""})
}

// several makes changes that belong together.
func (h *history) several() {
	source := h.drawSource()
	var list []any
	changes := make(map[uint32]string)
	for range rapid.IntRange(2, 4).Draw(h.rt, "changes") {
		id := h.drawID()
		if _, twice := changes[id]; twice {
			continue
		}
		if rapid.IntRange(0, 3).Draw(h.rt, "delete") == 0 {
			changes[id], list = "", append(list, map[string]any{"op": "delete", "id": id})
			continue
		}
		document := h.drawDocument()
		changes[id], list = asJSON(document), append(list, map[string]any{"op": "put", "id": id, "site": document})
	}
	h.write(http.MethodPost, "changes"+query(source), asJSON(list), source, changes)
}

// revert takes a revision back, which may be in the way of what came later.
func (h *history) revert() {
	source := h.drawSource()
	if len(h.log[source]) == 0 {
		return
	}
	number := rapid.IntRange(1, len(h.log[source])).Draw(h.rt, "revision")
	h.write(http.MethodPost, fmt.Sprintf("revisions/%d/revert", number)+query(source), "", source, h.log[source][number-1])
}

// checkRows compares what the sources have with what was acknowledged.
func (h *history) checkRows() {
	for i, name := range historySources {
		if i == 1 && !h.config["second source"] {
			continue
		}
		_, exported := h.Admin(http.MethodGet, "/iis/export?source="+name, "")
		rows := make(map[uint32]string)
		for lines := bufio.NewScanner(strings.NewReader(exported)); lines.Scan(); {
			var fields map[string]any
			if err := json.Unmarshal(lines.Bytes(), &fields); err != nil {
				h.rt.Fatal(err)
			}
			id := uint32(fields["id"].(float64))
			delete(fields, "id")
			rows[id] = asJSON(fields)
		}
		if !maps.Equal(rows, h.rows[i]) {
			h.rt.Fatalf("%s has\n%v\nand acknowledged was\n%v", name, rows, h.rows[i])
		}
	}
}

// compare compares what is served with what a fresh start on a copy serves, and goes on
// with the copy.
func (h *history) compare() {
	served := h.view()
	if err := caddy.Stop(); err != nil {
		h.rt.Fatal(err)
	}
	old := h.files
	h.freshFiles()
	for i := range old {
		content, err := os.ReadFile(old[i])
		if errors.Is(err, os.ErrNotExist) {
			continue // no configuration had this source yet
		}
		if err != nil {
			h.rt.Fatal(err)
		}
		if err := os.WriteFile(h.files[i], content, 0o600); err != nil {
			h.rt.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(old[0])); err != nil {
		h.rt.Fatal(err)
	}
	h.restart(h.config)
	fresh := h.view()
	for i := range served {
		if i >= len(fresh) || served[i] != fresh[i] {
			h.rt.Fatalf("what is served, line %d:\n%s\nafter a fresh start:\n%s\nconfiguration: %v\nrows: %v", i, served[i], fresh[min(i, len(fresh)-1)], h.config, h.rows)
		}
	}
	if len(served) != len(fresh) {
		h.rt.Fatalf("%d lines are served, and after a fresh start %d: %s", len(served), len(fresh), fresh[len(served)])
	}
}

// heldReason finds why a site is held back: of several reasons, those are told that there
// were when it was tried last.
var heldReason = regexp.MustCompile(`("state":"held_back"|"code":"site-held-back","site":[0-9]+),"(?:reason|message)":"(?:[^"\\]|\\.)+"`)

// view is all that can be seen of the tables, one thing on each line.
func (h *history) view() []string {
	var lines []string
	for _, path := range []string{"sites?limit=2", "endpoints?limit=100", "check?limit=1000"} {
		for after := ""; ; {
			var page adminapi.Page[json.RawMessage]
			next := path
			if after != "" {
				next += "&after=" + after
			}
			if status := h.ask(http.MethodGet, next, "", &page); status != http.StatusOK {
				h.rt.Fatalf("GET %s: %d", next, status)
			}
			for _, item := range page.Items {
				lines = append(lines, path+" "+heldReason.ReplaceAllString(string(item), "$1"))
			}
			if after = page.Next; after == "" {
				break
			}
		}
	}
	for id := range 16 {
		var site json.RawMessage
		status := h.ask(http.MethodGet, "sites/"+strconv.Itoa(id+1), "", &site)
		lines = append(lines, fmt.Sprintf("site %d: %d %s", id+1, status, heldReason.ReplaceAllString(string(site), "$1")))
	}
	return slices.Concat(lines, h.asked())
}

// asked are the answers to real requests.
func (h *history) asked() (lines []string) {
	for _, host := range []string{"h0.test", "h1.test", "h2.test", "configured.test", "any.test", "x.y"} {
		for _, request := range []ts.Request{
			{Addr: at("127.0.0.1", h.plain), Host: host, Plain: true},
			{Addr: at("127.0.0.1", h.secure), SNI: host},
		} {
			line := fmt.Sprintf("%s plain %v: ", host, request.Plain)
			if answer, err := ts.Do(request); err != nil {
				line += "no answer"
			} else {
				line += answer.String()
			}
			lines = append(lines, line)
		}
	}
	return lines
}
