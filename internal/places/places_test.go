package places_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/places"
)

const sites = `{"sites":{"1":{"routes":[{"handle":[{"handler":"subroute","routes":[
{"handle":[{"handler":"iis_closed","status":403,"why":"x"},{"handler":"iis_closed","status":401,"decide":true}]},
{"handle":[{"handler":"vars","iis_upstream":"127.0.0.1:8080"},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"},{"dial":"b"}]}]},
{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:8080"}]}]}]}]}]},
"2":{"error_routes":[{"handle":[{"handler":"iis_closed"},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"}]},{"handler":"reverse_proxy"}]}]}}}`

func count(t *testing.T, text string) places.Count {
	t.Helper()
	c, err := places.New([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.Count()
}

func TestPlaces(t *testing.T) {
	if got, want := count(t, sites), (places.Count{Closed: 2, Waiting: 1, Upstreams: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// Without the marker, an address is somebody's own.
	if got := count(t, `{"x":[{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"}]},{"handler":"vars","iis_upstream":"other:1"}]}`); !got.Zero() {
		t.Errorf("%+v", got)
	}
	if _, err := places.New([]byte(`{`)); err == nil {
		t.Error("no error")
	}
}

// TestSites: a site is closed wholly where nobody gets past places that are closed, or that wait.
func TestSites(t *testing.T) {
	const (
		shut   = `{"handle":[{"handler":"iis_closed"}]}`
		some   = `{"match":[{}],"handle":[{"handler":"iis_closed"}]}`
		files  = `{"handle":[{"handler":"file_server"}]}`
		guards = `{"handle":[{"handler":"iis_url"},{"handler":"headers"}]}`
		sub    = `{"handle":[{"handler":"subroute","routes":[%s]}]}`
		rule   = `{"handle":[{"handler":"iis_rewrite","rules":[{"name":"closed: r","match":{"pattern":"%s"},"action":{"type":"respond","status":403}}]}]}`
	)
	for _, c := range []struct {
		routes string
		want   places.Sites
	}{
		{``, places.Sites{Open: 1}},
		{files, places.Sites{Open: 1}},
		{shut, places.Sites{Closed: 1}},
		{guards + "," + fmt.Sprintf(sub, shut) + "," + files, places.Sites{Closed: 1}},
		{some + "," + files, places.Sites{Partly: 1}},
		{some + "," + shut, places.Sites{Closed: 1}},
		{files + "," + shut, places.Sites{Partly: 1}},
		{`{"match":[{}],"handle":[{"handler":"static_response"}]},` + shut, places.Sites{Partly: 1}},
		{`{"match":[{}],"handle":[{"handler":"error"}]},` + shut, places.Sites{Closed: 1}},
		{`{"handle":[{"handler":"error"}]},` + shut, places.Sites{Partly: 1}},
		{`{"group":"g","match":[{}],"handle":[{"handler":"iis_closed"}]},{"group":"g","handle":[{"handler":"iis_closed"}]},` + files, places.Sites{Closed: 1}},
		{`{"group":"g","match":[{}],"handle":[{"handler":"vars"}]},{"group":"g","handle":[{"handler":"iis_closed"}]},` + files, places.Sites{Partly: 1}},
		{`{"group":"g","match":[{}],"handle":[{"handler":"vars"}]},{"group":"g","handle":[{"handler":"iis_closed"}]},` + shut, places.Sites{Closed: 1}},
		{fmt.Sprintf(rule, "^a") + "," + files, places.Sites{Partly: 1}},
		{fmt.Sprintf(rule, "^a") + "," + shut, places.Sites{Closed: 1}},
		{fmt.Sprintf(rule, ".*") + "," + files, places.Sites{Closed: 1}},
		{fmt.Sprintf(rule, "^(.*)$") + "," + files, places.Sites{Closed: 1}},
		{strings.Replace(fmt.Sprintf(rule, "(.*)"), `"pattern"`, `"negate":true,"pattern"`, 1) + "," + files, places.Sites{Partly: 1}},
		{`{"handle":[{"handler":"iis_rewrite","rules":[{"name":"r","action":{"type":"redirect"}}]}]},` + shut, places.Sites{Partly: 1}},
		{`{"handle":[{"handler":"iis_rewrite","rules":[{"name":"r","action":{"type":"rewrite"}}]}]},` + shut, places.Sites{Closed: 1}},
		{`{"handle":[{"handler":"iis_authorization","deny_anonymous":true}]},` + files, places.Sites{Closed: 1}},
		{`{"handle":[{"handler":"iis_authorization","rules":[]}]},` + files, places.Sites{Partly: 1}},
		{`{"handle":[{"handler":"authentication"}]},{"handle":[{"handler":"iis_authorization","deny_anonymous":true}]},` + files, places.Sites{Open: 1}},
		{`{"handle":[{"handler":"iis_closed","decide":true}]},` + files, places.Sites{Closed: 1}},
	} {
		content := `{"routes":[` + c.routes + `]}`
		// Of the app itself, by a template, by the defaults, and as rows of a source.
		counter, err := places.New([]byte(`{"defaults":` + content + `,"templates":{"t":` + content + `},"sites":{"1":` + content + `,"2":{"template":"t"},"3":{}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for id := range uint32(3) {
			counter.Site(id + 1)
		}
		counter.Row("t")
		counter.Row("")
		counter.Other()
		want := places.Sites{Closed: 5 * c.want.Closed, Partly: 5 * c.want.Partly, Open: 5*c.want.Open + 1}
		if got := counter.Count().Sites; got != want {
			t.Errorf("%s: %+v, want %+v", c.routes, got, want)
		}
		if needed := c.want.Open == 0; counter.Some() != needed || (len(counter.Templates()) == 1) != needed {
			t.Errorf("%s: %t, templates %q", c.routes, counter.Some(), counter.Templates())
		}
	}
}

// TestAccounts: who may see a place waits for a decision as long as nobody can be
// anybody there.
func TestAccounts(t *testing.T) {
	for text, waiting := range map[string]int{
		`[{"handle":[{"handler":"iis_authorization"}]}]`:                                                                                          1,
		`[{"handle":[{"handler":"authentication"}]},{"handle":[{"handler":"iis_authorization"}]}]`:                                                0,
		`[{"handle":[{"handler":"authentication"},{"handler":"iis_authorization"}]}]`:                                                             0,
		`[{"handle":[{"handler":"authentication"}]},{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"iis_authorization"}]}]}]}]`: 0,
		`[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"authentication"}]}]}]},{"handle":[{"handler":"iis_authorization"}]}]`: 1,
		`[{"handle":[{"handler":"iis_authorization"}]},{"handle":[{"handler":"authentication"}]}]`:                                                1,
		`{"1":{"routes":[{"handle":[{"handler":"authentication"}]}]},"2":{"routes":[{"handle":[{"handler":"iis_authorization"}]}]}}`:              1,
	} {
		if got := count(t, `{"x":`+text+`}`); got.Waiting != waiting {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestSentences(t *testing.T) {
	want := []string{
		"Sites: 300 closed wholly, 2 in part, 10 not at all; what waits for a decision counts as closed.",
		"1 place is closed, because IIS protects what is there and nothing here surely does the same.",
		"3 places wait for a decision, who may see what is there; until then, nobody may.",
		"No upstream must be set.",
	}
	if got := (places.Count{Closed: 1, Waiting: 3, Sites: places.Sites{Closed: 300, Partly: 2, Open: 10}}).Sentences(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if !(places.Count{Sites: places.Sites{Open: 10}}).Zero() {
		t.Error("sites that are open are something to do")
	}
}
