package cli

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// model is an IIS server, as far as command lines change it.
type model struct {
	sites   map[string]*modelSite // by id
	records map[string]string     // what netsh has, by key
}

type modelSite struct {
	name     string
	stopped  bool
	bindings map[string]int // sslFlags by protocol and information
}

func (w model) String() string {
	var sb strings.Builder
	for _, id := range slices.Sorted(maps.Keys(w.sites)) {
		s := w.sites[id]
		fmt.Fprintf(&sb, "%s %q stopped %t %v\n", id, s.name, s.stopped, s.bindings)
	}
	fmt.Fprintf(&sb, "%v\n", w.records)
	return sb.String()
}

var (
	worldNames    = []string{"Main", "Shop", "Böse Seite", "a & b", "x-1"}
	worldBindings = []struct {
		text  string
		flags []int
	}{
		{"http *:80:a.test", []int{0}},
		{"http 10.0.0.1:80:", []int{0}},
		{"http *:8080:", []int{0}},
		{"https *:443:", []int{0, 4}},
		{"https 10.0.0.1:443:", []int{0, 32}},
		{"https [::1]:444:", []int{0}},
		{"https *:443:a.test", []int{1, 5, 33}},
		{"https *:443:b.test", []int{1}},
		{"https *:443:c.test", []int{1, 9}},
	}
	worldHashes = []string{strings.Repeat("a1", 20), strings.Repeat("b2", 20), strings.Repeat("c3", 20)}
)

// drawModel makes a server, whose bindings do not hinder each other.
func drawModel(t *rapid.T, label string) model {
	w := model{make(map[string]*modelSite), make(map[string]string)}
	names := rapid.Permutation(worldNames).Draw(t, label+" names")
	names[0] = "Old's" // appcmd gives and takes no such name
	for id := range 5 {
		if rapid.IntRange(0, 2).Draw(t, label+" site") > 0 {
			w.sites[strconv.Itoa(id+1)] = &modelSite{name: names[id], stopped: rapid.Bool().Draw(t, label+" stopped"), bindings: make(map[string]int)}
		}
	}
	for _, b := range worldBindings {
		owner := w.sites[strconv.Itoa(rapid.IntRange(0, 5).Draw(t, label+" owner"))]
		if owner == nil {
			continue
		}
		flags := rapid.SampledFrom(b.flags).Draw(t, label+" flags")
		owner.bindings[b.text] = flags
		if bound := worldBinding(b.text, flags); bound.Protocol == binding.HTTPS {
			w.records[bound.netshKey()] = rapid.SampledFrom(worldHashes).Draw(t, label+" hash")
		}
	}
	return w
}

func worldBinding(text string, flags int) targetBinding {
	protocol, info, _ := strings.Cut(text, " ")
	parsed, err := binding.Parse(protocol, info)
	if err != nil {
		panic(err)
	}
	return targetBinding{Binding: parsed, flags: binding.Flags(flags)}
}

// read writes the server as IIS has it and reads it.
func (w model) read(t *rapid.T) *iisconfig.Server {
	var sites, records strings.Builder
	escape := strings.NewReplacer("&", "&amp;")
	for id, s := range w.sites {
		fmt.Fprintf(&sites, `<site name="%s" id="%s" serverAutoStart="%t"><application path="/"><virtualDirectory path="/" physicalPath="C:\w" /></application><bindings>`, escape.Replace(s.name), id, !s.stopped)
		for text, flags := range s.bindings {
			protocol, info, _ := strings.Cut(text, " ")
			fmt.Fprintf(&sites, `<binding protocol="%s" bindingInformation="%s" sslFlags="%d" />`, protocol, info, flags)
		}
		sites.WriteString("</bindings></site>")
	}
	for key, hash := range w.records {
		label, value, _ := strings.Cut(key, "=")
		label = map[string]string{"ipport": "IP:port", "hostnameport": "Hostname:port"}[label]
		fmt.Fprintf(&records, "\n    %-28s : %s\n    Certificate Hash             : %s\n    Application ID               : %s\n    Certificate Store Name       : My\n", label, value, hash, iisAppID)
	}
	files := []iisconfig.File{{Name: "applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>` + sites.String() + `</sites></system.applicationHost></configuration>`)}}
	if len(w.records) > 0 {
		files = append(files, iisconfig.File{Name: "sslcert.txt", Data: []byte("\nSSL Certificate bindings:\n-------------------------\n" + records.String())})
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// targets is the server as one that runs.
func (w model) targets() (out []target) {
	for _, id := range slices.Sorted(maps.Keys(w.sites)) {
		s := w.sites[id]
		number, _ := strconv.ParseUint(id, 10, 32)
		t := target{id: uint32(number), name: s.name, stopped: s.stopped}
		for _, text := range slices.Sorted(maps.Keys(s.bindings)) {
			b := worldBinding(text, s.bindings[text])
			b.thumbprint = strings.ToUpper(w.records[b.netshKey()])
			t.bindings = append(t.bindings, b)
		}
		out = append(out, t)
	}
	return out
}

var (
	reSet     = regexp.MustCompile(`^appcmd\.exe set site "/site\.name:([^"]+)" "/(.+)"$`)
	reConfig  = regexp.MustCompile(`^appcmd\.exe set config -section:system\.applicationHost/sites "/([+-]?)\[id='(\d+)'\]\.?(.*)" /commit:apphost$`)
	reAddSite = regexp.MustCompile(`^appcmd\.exe add site "/name:([^"]+)" "/id:(\d+)"$`)
	reDelete  = regexp.MustCompile(`^appcmd\.exe delete site "([^"]+)"$`)
	rePart    = regexp.MustCompile(`^([+-]?)bindings\.\[protocol='(\w+)',bindingInformation='([^']*)'(?:,sslFlags='(\d+)')?\](?:\.sslFlags:(\d+))?$`)
	reRecord  = regexp.MustCompile(`^netsh http (add|update|delete) sslcert (\S+)(?: certhash=(\w+) certstorename=(\w+) appid=\S+.*)?$`)
)

// apply does what a command line does. It fails where the tool would.
func (w model) apply(t *rapid.T, line string) {
	byName := func(name string) string {
		for id, s := range w.sites {
			if strings.EqualFold(s.name, name) {
				return id
			}
		}
		return ""
	}
	change := func(id, part string) {
		s := w.sites[id]
		if s == nil {
			t.Fatalf("%s: there is no such site in\n%s", line, w)
		}
		if name, ok := strings.CutPrefix(part, "name:"); ok {
			if other := byName(name); other != "" && other != id {
				t.Fatalf("%s: the name is taken", line)
			}
			s.name = name
			return
		}
		if start, ok := strings.CutPrefix(part, "serverAutoStart:"); ok {
			s.stopped = start == "false"
			return
		}
		m := rePart.FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("%s: %s is not understood", line, part)
		}
		b := m[2] + " " + m[3]
		_, had := s.bindings[b]
		switch {
		case had != (m[1] != "+"):
			t.Fatalf("%s: had it: %t", line, had)
		case m[1] == "-":
			delete(s.bindings, b)
		default:
			s.bindings[b], _ = strconv.Atoi(m[4] + m[5])
		}
	}
	switch {
	case strings.HasPrefix(line, "rem its folder"):
	case reSet.MatchString(line):
		m := reSet.FindStringSubmatch(line)
		change(byName(m[1]), m[2])
	case reConfig.MatchString(line):
		m := reConfig.FindStringSubmatch(line)
		if m[3] == "" && m[1] == "-" {
			delete(w.sites, m[2])
			return
		}
		change(m[2], m[1]+m[3])
	case reAddSite.MatchString(line):
		m := reAddSite.FindStringSubmatch(line)
		if w.sites[m[2]] != nil || byName(m[1]) != "" {
			t.Fatalf("%s: it is there already", line)
		}
		w.sites[m[2]] = &modelSite{name: m[1], bindings: make(map[string]int)}
	case reDelete.MatchString(line):
		id := byName(reDelete.FindStringSubmatch(line)[1])
		if id == "" {
			t.Fatalf("%s: there is no such site", line)
		}
		delete(w.sites, id)
	case reRecord.MatchString(line):
		m := reRecord.FindStringSubmatch(line)
		if _, had := w.records[m[2]]; had != (m[1] != "add") {
			t.Fatalf("%s: had it: %t", line, had)
		}
		w.records[m[2]] = strings.ToLower(m[3])
		if m[1] == "delete" {
			delete(w.records, m[2])
		}
	default:
		t.Fatalf("%s: not understood", line)
	}
}

// TestDifference: the command lines make the server that was imported the one that runs, and
// then there is no difference any more.
func TestDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, want := drawModel(t, "old"), drawModel(t, "new")
		targets := want.targets()
		d := newDifference(w.read(t), true)
		lines := append(d.appcmd(targets), d.netsh(targets)...)
		for _, line := range lines {
			w.apply(t, line)
		}
		for id, s := range want.sites { // whose names appcmd cannot take
			if strings.Contains(s.name, "'") {
				s.name = w.sites[id].name
			}
		}
		if got := w.String(); got != want.String() {
			t.Fatalf("got\n%swant\n%sby\n%s", got, want, strings.Join(lines, "\n"))
		}
		d = newDifference(w.read(t), true)
		if lines := append(d.appcmd(w.targets()), d.netsh(w.targets())...); len(lines) > 0 {
			t.Fatalf("still\n%s", strings.Join(lines, "\n"))
		}
	})
}

// TestDifferenceRemovals: nothing is taken away unless that is asked for.
func TestDifferenceRemovals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, targets := drawModel(t, "old"), drawModel(t, "new").targets()
		d := newDifference(w.read(t), false)
		for _, line := range append(d.appcmd(targets), d.netsh(targets)...) {
			takes := strings.Contains(line, "delete ") || strings.Contains(line, `"/-`)
			if takes != (strings.HasPrefix(line, "rem ") && !strings.HasPrefix(line, "rem its folder")) {
				t.Fatal(line)
			}
		}
	})
}
