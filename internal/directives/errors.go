package directives

import (
	"regexp"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

var (
	statusClass = regexp.MustCompile(`>= (\d)00 &&`)
	statusList  = regexp.MustCompile(`in \[([0-9, ]+)\]`)
)

// statusWords are the arguments of handle_errors of which Caddy makes the expression that a
// route for errors asks: 4xx 500.
func statusWords(route object) (list []string) {
	sets, _ := route["match"].([]any)
	for _, item := range sets {
		set, _ := item.(object)
		for _, expression := range caddytext.Texts(set["expression"]) {
			for _, class := range statusClass.FindAllStringSubmatch(expression, -1) {
				list = append(list, class[1]+"xx")
			}
			if codes := statusList.FindStringSubmatch(expression); codes != nil {
				list = append(list, strings.Split(codes[1], ", ")...)
			}
		}
	}
	return list
}
