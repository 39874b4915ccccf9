// Package places counts the places of a configuration about which somebody must decide
// or do something, and says so in words that are the same wherever they are told.
package places

import "fmt"

// Count is how many places there are of each kind, and in how many sites.
type Count struct {
	// Closed are handlers iis_closed that do not wait for a decision, and rules of iis_rewrite
	// that stand in for some that are not executed: their names begin with "closed: ".
	Closed int `json:"closed"`
	// Waiting are handlers iis_closed that do, and handlers iis_authorization that nothing
	// stands in front of which finds out who the user is.
	Waiting int `json:"waiting"`
	// Upstreams are reverse proxies whose address is still the one that the import has put
	// in for the worker processes of IIS.
	Upstreams int `json:"upstreams"`
	// Sites says in how many sites such places are.
	Sites Sites `json:"sites"`
}

// Sites counts sites by how much of them nobody gets. What waits for a decision counts as
// closed. The routes that rows of a source bring by themselves are not looked at.
type Sites struct {
	// Closed are those of which nobody gets anything.
	Closed int `json:"closed"`
	// Partly are those with places that are closed, beside others.
	Partly int `json:"partly"`
	// Open are those without any such place.
	Open int `json:"open"`
}

// Marker is the variable that the import sets, with Caddy's handler vars, where
// reverse_proxy stands in for a worker process. Its value is the address that must be
// replaced.
const Marker = "iis_upstream"

// Zero reports whether there is nothing to decide or to do.
func (c Count) Zero() bool { c.Sites.Open = 0; return c == Count{} }

// Sentences says each count in one sentence.
func (c Count) Sentences() []string {
	return []string{
		fmt.Sprintf("Sites: %d closed wholly, %d in part, %d not at all; what waits for a decision counts as closed.", c.Sites.Closed, c.Sites.Partly, c.Sites.Open),
		sentence(c.Closed, "place is closed", "places are closed", ", because IIS protects what is there and nothing here surely does the same"),
		sentence(c.Waiting, "place waits for a decision", "places wait for a decision", ", who may see what is there; until then, nobody may"),
		sentence(c.Upstreams, "upstream must be set", "upstreams must be set", ", to where the applications run that IIS had workers for"),
	}
}

func sentence(n int, one, many, why string) string {
	switch n {
	case 0:
		return "No " + one + "."
	case 1:
		return "1 " + one + why + "."
	}
	return fmt.Sprintf("%d %s%s.", n, many, why)
}

// walker visits every handler.
type walker struct {
	count   Count
	markers map[string]bool
	dials   []string // of reverse proxies, one each
}

// places are those that are closed, or wait.
func (w *walker) places() int { return w.count.Closed + w.count.Waiting }

// walk visits a part. known says that a handler in front finds out who the user is;
// the result says whether one does for what follows the part.
func (w *walker) walk(node any, known bool) bool {
	switch v := node.(type) {
	case []any:
		inside := known
		for _, kid := range v {
			inside = w.walk(kid, inside)
		}
		return inside
	case map[string]any:
		name, isHandler := v["handler"].(string)
		if isHandler {
			w.handler(name, v, known)
		}
		follows := known || name == "authentication"
		for key, kid := range v {
			// The handlers of a route are in the chain of those behind it; those of a
			// subroute are in their own.
			if w.walk(kid, known) && key == "handle" && !isHandler {
				follows = true
			}
		}
		return follows
	}
	return known
}

func (w *walker) handler(name string, fields map[string]any, known bool) {
	switch name {
	case "iis_authorization":
		if !known {
			w.count.Waiting++
		}
	case "iis_closed":
		if decide, _ := fields["decide"].(bool); decide {
			w.count.Waiting++
		} else {
			w.count.Closed++
		}
	case "iis_rewrite":
		rules, _ := fields["rules"].([]any)
		for _, rule := range rules {
			if isClosedRule(rule) {
				w.count.Closed++
			}
		}
	case "vars":
		if address, ok := fields[Marker].(string); ok {
			w.markers[address] = true
		}
	case "reverse_proxy":
		upstreams, _ := fields["upstreams"].([]any)
		for _, u := range upstreams {
			fields, _ := u.(map[string]any)
			if dial, ok := fields["dial"].(string); ok {
				w.dials = append(w.dials, dial)
				return
			}
		}
	}
}
