package iisimport

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// Outcome is what became of a line of the source.
type Outcome string

// The outcomes.
const (
	Translated Outcome = "translated"
	Dropped    Outcome = "dropped" // it needs nothing, or there is no equivalent
	Decide     Outcome = "decide"  // somebody has to decide, or to do something

	// A place answers 403 or the like, because IIS protects it, or because nothing here
	// surely does what IIS did.
	Closed Outcome = "closed"
	// A place is closed until somebody decides who may see it: accounts.
	Waiting Outcome = "waiting"
	// Requests go to an address that somebody has to set.
	Upstream Outcome = "upstream"
)

// Line is what became of one line of the source.
type Line struct {
	Outcome Outcome          `json:"outcome"`
	Source  iisconfig.Source `json:"source"`
	What    string           `json:"what"`          // as it was in IIS
	Message string           `json:"message"`       // what it is now, or why not
	Fix     string           `json:"fix,omitempty"` // what to do about it
	// At are the places that are closed, wait, or need an upstream: all sites and paths that the
	// line is of, but for what is below another one of them.
	At []Place `json:"at,omitempty"`

	answers bool // a rule that itself answers, whatever is at its place
}

// String writes the line as compilers do.
func (l Line) String() string {
	s := string(l.Outcome) + ": " + l.What + ": " + l.Message
	if l.Source.File != "" {
		s = l.Source.String() + ": " + s
	}
	if l.At != nil {
		s += "; at " + placesText(l.At)
	}
	if l.Fix != "" {
		s += "; " + l.Fix
	}
	return s
}

// Summary counts what was translated.
type Summary struct {
	Sites        int      `json:"sites"`
	Bindings     int      `json:"bindings"`
	Certificates int      `json:"certificates"`
	MissingFiles []string `json:"missing_files,omitempty"`
	WorkerSites  []string `json:"worker_sites,omitempty"`
	// LogFolders are those of this machine that logs are written to.
	LogFolders []string `json:"log_folders,omitempty"`
	Translated int      `json:"translated"`
	Dropped    int      `json:"dropped"`
	ToDecide   int      `json:"to_decide"`
	// Places counts places of templates and of other sites, and all sites, as check counts them:
	// a line that many of these inherit counts for each.
	Places          places.Count `json:"places"`
	UpstreamAddress string       `json:"upstream_address,omitempty"`
}

// Report says what became of the source, and what check says of the result.
type Report struct {
	Summary Summary `json:"summary"`
	// Inputs are the files that were read.
	Inputs   []iisconfig.Input `json:"inputs,omitempty"`
	Lines    []Line            `json:"lines"`
	Findings []binding.Finding `json:"findings,omitempty"`

	workers []string
	stocks  []stock
}

// stock is what every IIS server has: it needs nothing here, and is one line for a file.
type stock struct {
	file, what string
	lines      []int
}

func (r *Report) add(outcome Outcome, src iisconfig.Source, what, fix, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	r.Lines = append(r.Lines, Line{Outcome: outcome, Source: src, What: oneLine(what), Message: oneLine(message), Fix: oneLine(fix)})
}

func (r *Report) translated(src iisconfig.Source, what, format string, args ...any) {
	r.add(Translated, src, what, "", format, args...)
}

// writes notes a folder that logs are written to. One of Windows is none on a machine with
// units of systemd.
func (r *Report) writes(folder string) {
	if folder = path.Clean(folder); strings.HasPrefix(folder, "/") && !slices.Contains(r.Summary.LogFolders, folder) {
		r.Summary.LogFolders = append(r.Summary.LogFolders, folder)
	}
}

// ForUnit writes what a unit of systemd needs in order to write to the log folders, beside
// what the units of this project may write to.
func (s *Summary) ForUnit() (lines []string) {
	for _, folder := range s.LogFolders {
		if !strings.HasPrefix(folder+"/", "/var/log/caddy/") {
			lines = append(lines, "ReadWritePaths="+pathWord(folder))
		}
	}
	return lines
}

// last is the line that was added last.
func (r *Report) last() *Line { return &r.Lines[len(r.Lines)-1] }

// takenBack is what is said of what was translated for a place that is closed.
const takenBack = "it has no effect: the place is closed"

// takeBack says that nobody reaches what the line became.
func (l *Line) takeBack() {
	if l.Outcome == Translated {
		l.Outcome, l.Message = Dropped, takenBack
	}
}

func (r *Report) dropped(src iisconfig.Source, what, format string, args ...any) {
	r.add(Dropped, src, what, "", format, args...)
}

func (r *Report) decide(src iisconfig.Source, what, fix, format string, args ...any) {
	r.add(Decide, src, what, fix, format, args...)
}

// closed says that a place is closed.
func (r *Report) closed(src iisconfig.Source, what, fix, format string, args ...any) {
	r.add(Closed, src, what, fix, format, args...)
}

// waiting says that a place is closed until somebody decides.
func (r *Report) waiting(src iisconfig.Source, what, fix, format string, args ...any) {
	r.add(Waiting, src, what, fix, format, args...)
}

// upstream says that somebody has to set the address of an application.
func (r *Report) upstream(src iisconfig.Source, what, fix, format string, args ...any) {
	r.add(Upstream, src, what, fix, format, args...)
}

// stock notes what every IIS server has.
func (r *Report) stock(src iisconfig.Source, what string) {
	what = oneLine(what)
	what = strings.Replace(strings.TrimPrefix(what, "the section "), " is not needed: ", ", ", 1)
	i := slices.IndexFunc(r.stocks, func(s stock) bool { return s.file == src.File && s.what == what })
	if i < 0 {
		i = len(r.stocks)
		r.stocks = append(r.stocks, stock{file: src.File, what: what})
	}
	r.stocks[i].lines = append(r.stocks[i].lines, src.Line)
}

// tellStock writes one line for each file.
func (r *Report) tellStock() {
	texts := make(map[string][]string)
	first := make(map[string]int)
	for _, s := range r.stocks {
		slices.Sort(s.lines)
		s.lines = slices.Compact(s.lines)
		text := fmt.Sprintf("%s (%d)", s.what, s.lines[0])
		if n := len(s.lines); n > 1 {
			text = fmt.Sprintf("%s (%d, in %d to %d)", s.what, n, s.lines[0], s.lines[n-1])
		}
		if texts[s.file] == nil || s.lines[0] < first[s.file] {
			first[s.file] = s.lines[0]
		}
		texts[s.file] = append(texts[s.file], text)
	}
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		r.Lines = append(r.Lines, Line{
			Outcome: Dropped, Source: iisconfig.Source{File: file, Line: first[file]}, What: "what IIS brings along",
			Message: "it needs nothing here, with its lines: " + strings.Join(texts[file], "; "),
		})
	}
	r.stocks = nil
}

func (r *Report) worker(name string) {
	if len(r.workers) == 0 || r.workers[len(r.workers)-1] != name { // one site after the other
		r.workers = append(r.workers, name)
	}
}

// finish sorts the lines as the source has them and counts. The same line of the
// source, inherited by many sites, is reported once, and as translated if it is for one.
func (r *Report) finish(p *Plan) {
	r.tellStock()
	slices.SortStableFunc(r.Lines, func(x, y Line) int {
		return cmp.Or(cmp.Compare(x.Source.File, y.Source.File), cmp.Compare(x.Source.Line, y.Source.Line))
	})
	type part struct {
		src  iisconfig.Source
		what string
	}
	open := make(map[part]bool)
	partOf := func(l Line) part { l.Source.Scope = ""; return part{l.Source, l.What} }
	for _, l := range r.Lines {
		open[partOf(l)] = open[partOf(l)] || l.Outcome == Translated
	}
	r.Lines = slices.DeleteFunc(r.Lines, func(l Line) bool { return l.Message == takenBack && open[partOf(l)] })
	r.Lines = once(r.Lines)
	r.Inputs = p.inputs
	s := &r.Summary
	s.Sites, s.Certificates, s.WorkerSites = len(p.Sites), len(p.Certificates), r.workers
	for _, site := range p.Sites {
		s.Bindings += len(site.Bindings)
	}
	s.Places = p.places()
	for _, c := range p.Certificates {
		if c.Missing {
			s.MissingFiles = append(s.MissingFiles, c.File)
		}
	}
	if p.Workers {
		s.UpstreamAddress = p.opts.Upstream
	}
	for _, l := range r.Lines {
		switch l.Outcome {
		case Translated:
			s.Translated++
		case Dropped:
			s.Dropped++
		case Decide:
			s.ToDecide++
		}
	}
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// parts says what there is.
func (s *Summary) parts() string {
	return counted(s.Sites, "site") + ", " + counted(s.Bindings, "binding") + ", " + counted(s.Certificates, "certificate")
}

func counted(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return strconv.Itoa(n) + " " + word
}

// WriteText writes the report for people: what must be decided first.
func (r *Report) WriteText(w io.Writer) error {
	var sb strings.Builder
	s := r.Summary
	fmt.Fprintf(&sb, "%s; %s translated, %d dropped, %d to decide\n", s.parts(), counted(s.Translated, "line"), s.Dropped, s.ToDecide)
	for _, sentence := range s.Places.Sentences() {
		sb.WriteString(sentence + "\n")
	}
	list(&sb, "\nRead:\n", r.inputs())
	list(&sb, "\nMissing certificate files:\n", s.MissingFiles)
	list(&sb, "\nSent to the address in IIS_UPSTREAM (default "+s.UpstreamAddress+"), because a worker process of IIS answered:\n", s.WorkerSites)
	list(&sb, "\nFolders of logs, which the service's account must be able to write to, for its unit (systemctl edit caddy):\n", s.ForUnit())
	for _, part := range []struct {
		outcome Outcome
		title   string
	}{{Closed, "Closed"}, {Waiting, "Waiting for a decision"}, {Upstream, "Upstreams to be set"}, {Decide, "To decide by hand"}, {Dropped, "Dropped"}, {Translated, "Translated"}} {
		var lines []string
		for _, l := range r.Lines {
			if l.Outcome == part.outcome {
				lines = append(lines, strings.Replace(l.String(), string(l.Outcome)+": ", "", 1))
			}
		}
		list(&sb, "\n"+part.title+":\n", lines)
	}
	var findings []string
	for _, f := range r.Findings {
		findings = append(findings, f.Severity.String()+" ["+f.Code+"] "+f.String())
	}
	list(&sb, "\nWhat check says of the result:\n", findings)
	_, err := io.WriteString(w, sb.String())
	return err
}

// inputs names the files that were read. There may be thousands of web.config files.
func (r *Report) inputs() (lines []string) {
	webs := 0
	for _, in := range r.Inputs {
		if in.Kind == iisconfig.WebConfig {
			webs++
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s", in.Name, in.Kind))
	}
	if len(r.Inputs) > 0 {
		lines = append(lines, fmt.Sprintf("%d web.config files", webs))
	}
	return lines
}

// Brief writes the numbers, and the first of the lines to decide, for those who do not
// look into the report at once.
func (r *Report) Brief(w io.Writer, where string) error {
	var sb strings.Builder
	s := r.Summary
	fmt.Fprintf(&sb, "%s (%s missing); %s to decide by hand: %s\n", s.parts(), counted(len(s.MissingFiles), "file"), counted(s.ToDecide, "line"), where)
	for _, sentence := range s.Places.Sentences() {
		sb.WriteString(sentence + "\n")
	}
	for _, line := range s.ForUnit() {
		sb.WriteString("for the unit of the service, so that it can write logs: " + line + "\n")
	}
	const most = 20
	shown := 0
	for _, l := range r.Lines {
		if l.Outcome != Decide {
			continue
		}
		if shown++; shown <= most {
			sb.WriteString(strings.Replace(l.String(), string(Decide)+": ", "warning: ", 1) + "\n")
		}
	}
	if shown > most {
		fmt.Fprintf(&sb, "... and %d more\n", shown-most)
	}
	_, err := io.WriteString(w, sb.String())
	return err
}

func list(sb *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	sb.WriteString(title)
	for _, line := range lines {
		sb.WriteString("  " + line + "\n")
	}
}
