package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Summary is the last line of Verify in JSON.
type Summary struct {
	Total    int `json:"total"` // that were to be made
	Expected int `json:"expected"`
	Unknown  int `json:"unknown"`
	Differ   int `json:"differ"`
	Broken   int `json:"broken"`

	// Interrupted tells that somebody has ended it before all were made.
	Interrupted bool `json:"interrupted,omitempty"`

	// NotLookedAt is what the connections tell nothing of, and what would.
	NotLookedAt []string `json:"not_looked_at,omitempty"`

	// Causes are why comparisons are not as expected, the worst and most frequent
	// first.
	Causes []Cause `json:"causes,omitempty"`
}

// Cause is what several comparisons have in common.
type Cause struct {
	Class Class  `json:"class"`
	Cause string `json:"cause"`
	Count int    `json:"count"`

	// Example is one of them.
	Example string `json:"example"`
}

func (r *run) summary() Summary {
	s := Summary{Total: len(r.list), Interrupted: r.interrupted}
	index := make(map[Cause]int) // by class and cause
	made := make(map[*Comparison]bool, len(r.made))
	for _, c := range r.made {
		made[c] = true
	}
	for _, c := range r.list { // not as they came, so that two runs say the same
		if !made[c] {
			continue
		}
		*map[Class]*int{ClassExpected: &s.Expected, ClassUnknown: &s.Unknown, ClassDiffers: &s.Differ, ClassBroken: &s.Broken}[c.Class]++
		for _, reason := range c.Reasons {
			key := Cause{Class: reason.Class, Cause: reason.Cause}
			i, ok := index[key]
			if !ok {
				i, index[key] = len(s.Causes), len(s.Causes)
				key.Example = reason.Message
				if c.what == "" {
					key.Example = c.label() + ": " + reason.Message
				}
				s.Causes = append(s.Causes, key)
			}
			s.Causes[i].Count++
		}
	}
	slices.SortStableFunc(s.Causes, func(a, b Cause) int {
		if a.Class != b.Class {
			return slices.Index(classes, a.Class) - slices.Index(classes, b.Class)
		}
		return b.Count - a.Count
	})
	return s
}

// code is the exit code. What was interrupted is not known to be right.
func (s Summary) code() int {
	switch {
	case s.Broken > 0:
		return ExitBroken
	case s.Differ > 0:
		return ExitDiffers
	case s.Interrupted:
		return ExitNotAsked
	case s.Unknown > 0:
		return ExitUnknown
	}
	return ExitOK
}

// verdict says how many are of each class.
func (s Summary) verdict() string {
	made := s.Expected + s.Unknown + s.Differ + s.Broken
	connections := count(made, "connection")
	if s.Interrupted {
		connections = fmt.Sprintf("interrupted: %d of %d connections", made, s.Total)
	}
	if s.Expected == made && !s.Interrupted {
		return connections + ", all as expected"
	}
	differ := fmt.Sprintf("%d differ", s.Differ)
	if s.Differ == 1 {
		differ = "1 differs"
	}
	return fmt.Sprintf("%s: %d as expected, %s, %d broken, %d unknown", connections, s.Expected, differ, s.Broken, s.Unknown)
}

// report shows the comparisons and why they are not as expected.
func (e *Env) report(v Verification, r *run) error {
	s := r.summary()
	s.NotLookedAt = r.notLookedAt()
	if e.JSON {
		if err := e.line(map[string]any{"summary": s}); err != nil {
			return err
		}
		return exit(s.code())
	}
	if t := r.table(v); len(t.rows) > 0 {
		if err := e.write(t); err != nil {
			return err
		}
		e.printf("\n")
	}
	for _, cause := range s.Causes {
		e.printf("%s: %s: %s\n  such as %s\n", e.paint(classColors[cause.Class], string(cause.Class)), count(cause.Count, "connection"), cause.Cause, cause.Example)
	}
	if len(s.Causes) > 0 {
		e.printf("\n")
	}
	e.printf("%s\n", s.verdict())
	if len(s.NotLookedAt) > 0 {
		e.printf("not looked at: %s\n", strings.Join(s.NotLookedAt, "; "))
	}
	return exit(s.code())
}

// notLookedAt is what this run tells nothing of.
func (r *run) notLookedAt() (list []string) {
	if len(r.v.Against) == 0 {
		list = append(list, "what pages say, and whether redirects lead to the right place (--against compares them with another server)")
	}
	var protocols []string
	for _, p := range []string{protocolH1, protocolH2, protocolH3} {
		if !slices.Contains(r.v.Protocols, p) {
			protocols = append(protocols, p)
		}
	}
	secure := func(c *Comparison) bool { return c.named && c.Scheme == "https" }
	if len(protocols) > 0 && slices.ContainsFunc(r.list, secure) {
		list = append(list, fmt.Sprintf("%s (--protocols h1,h2,h3)", strings.Join(protocols, " and ")))
	}
	return list
}

var classColors = map[Class]color{ClassExpected: green, ClassUnknown: yellow, ClassDiffers: red, ClassBroken: red}

func (r *run) table(v Verification) *table {
	t := &table{heads: []string{"ENDPOINT", "PROTOCOL", "SNI", "HOST", "PATH", "CERTIFICATE", "STATUS", "RESULT"}, flex: []int{2, 3, 4, 5}}
	withPath := slices.ContainsFunc(r.list, func(c *Comparison) bool { return !c.settled && c.Path != v.Path })
	if !withPath {
		t.heads, t.flex = slices.Delete(t.heads, 4, 5), []int{2, 3, 4}
	}
	made := make(map[*Comparison]bool, len(r.made))
	for _, c := range r.made {
		made[c] = true
	}
	for _, c := range r.list {
		if !made[c] || v.OnlyDifferences && c.Class == ClassExpected {
			continue
		}
		cells := []cell{text(cmp.Or(c.Endpoint, c.what)), text(c.spoken()), text(c.SNI), text(c.Host)}
		if withPath {
			cells = append(cells, text(c.Path))
		}
		status := ""
		if c.Got.Status != 0 {
			status = fmt.Sprint(c.Got.Status)
		}
		result := cell{string(c.Class), classColors[c.Class]}
		if c.Class == ClassExpected {
			result.text = "ok"
		}
		t.add(append(cells, text(c.shownCertificate()), text(status), result)...)
	}
	return t
}

// spoken names the protocol.
func (c *Comparison) spoken() string {
	if c.Protocol == protocolH1 {
		return c.Scheme
	}
	return c.Scheme + " " + c.Protocol
}

// shownCertificate names the certificate as the configuration does.
func (c *Comparison) shownCertificate() string {
	switch {
	case c.Got.Unreachable:
		return "none"
	case c.Got.NotTried:
		return "not tried"
	case c.Got.Refused:
		return "refused"
	case c.Expected.Certificate != "" && c.Got.SHA256 == c.Expected.SHA256:
		return c.Expected.Certificate
	}
	return c.Got.certificate()
}

// progress shows on a terminal how far Verify has come.
type progress struct {
	env       *Env
	total     int
	made, bad atomic.Int64
	end       chan struct{}
	ended     sync.WaitGroup
}

func (e *Env) startProgress(total int) *progress {
	p := &progress{env: e, total: total, end: make(chan struct{})}
	if !e.Progress {
		return p
	}
	p.ended.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-p.end:
				fmt.Fprintf(e.Err, "\r%*s\r", 70, "")
				return
			case <-ticker.C:
				fmt.Fprintf(e.Err, "\r%s", p.bar())
			}
		}
	})
	return p
}

func (p *progress) done(class Class) {
	p.made.Add(1)
	if class != ClassExpected {
		p.bad.Add(1)
	}
}

func (p *progress) bar() string {
	const width = 30
	made := int(p.made.Load())
	filled := made * width / p.total
	return fmt.Sprintf("[%s%s] %d of %d, %d not as expected", strings.Repeat("#", filled), strings.Repeat(".", width-filled), made, p.total, p.bad.Load())
}

func (p *progress) stop() {
	close(p.end)
	p.ended.Wait()
}
