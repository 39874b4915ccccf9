package rewritetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// RunOutbound is the slow reading of outbound rules. A response is a list of lines, so
// that a header may be there several times.
func RunOutbound(config rewrite.Config, req *rewrite.Request, status int, lines []string) (_ []string, err error) {
	p := &plain{config: config, req: req, path: req.URL.Path, query: req.URL.RawQuery}
	for _, r := range config.Outbound {
		name := strings.ReplaceAll(strings.TrimPrefix(r.Variable, "RESPONSE_"), "_", "-")
		header := func(name string) (values []string) {
			for _, line := range lines {
				if n, v, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
					values = append(values, v)
				}
			}
			return values
		}
		// What a template can ask of a response is put among the variables that are set.
		p.set = map[string]string{"RESPONSE_STATUS": fmt.Sprint(status)}
		for _, line := range lines {
			n, _, _ := strings.Cut(line, ": ")
			p.set["RESPONSE_"+strings.ToUpper(strings.ReplaceAll(n, "-", "_"))] = strings.Join(header(n), ", ")
		}
		p.rule, p.conditions = nil, nil
		if r.PreCondition != "" {
			for _, pre := range config.PreConditions {
				if pre.Name != r.PreCondition {
					continue
				}
				ok, err := p.hold(rewrite.Rule{Syntax: pre.Syntax, AnyCondition: pre.AnyCondition, Conditions: pre.Conditions})
				if err != nil {
					return nil, err
				}
				if !ok {
					name = ""
				}
			}
			if name == "" {
				continue
			}
		}
		inputs := header(name)
		if name != "SET-COOKIE" && name != "Set-Cookie" || len(inputs) == 0 {
			inputs = []string{strings.Join(inputs, ", ")}
		}
		var outputs []string
		fired := false
		for _, input := range inputs {
			output := input
			p.conditions = nil
			groups, fits, err := fit(r.Match, r.Syntax, mark(input, false, true))
			if err != nil {
				return nil, err
			}
			if fits != r.Match.Not {
				p.rule = groups
				if !fits {
					p.rule = []chars{mark(input, false, true)}
				}
				ok, err := p.hold(rewrite.Rule{Syntax: r.Syntax, AnyCondition: r.AnyCondition, TrackAllCaptures: r.TrackAllCaptures, Conditions: r.Conditions})
				if err != nil {
					return nil, err
				}
				if ok {
					fired = true
					if r.Action == "rewrite" && (!r.Keep || input == "") {
						text, err := p.expand(r.Value)
						if err != nil || strings.ContainsAny(text.String(), "\r\n\x00\t") {
							return nil, errReference
						}
						output = text.String()
					}
				}
			}
			outputs = append(outputs, output)
		}
		if fired && r.Action == "rewrite" && !slices.Equal(inputs, outputs) {
			var rest []string
			for _, line := range lines {
				if n, _, _ := strings.Cut(line, ": "); !strings.EqualFold(n, name) {
					rest = append(rest, line)
				}
			}
			for _, output := range outputs {
				if output != "" {
					rest = append(rest, http.CanonicalHeaderKey(name)+": "+output)
				}
			}
			lines = rest
		}
		if fired && r.Stop {
			break
		}
	}
	return lines, nil
}
