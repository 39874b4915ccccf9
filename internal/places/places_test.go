package places_test

import (
	"slices"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/places"
)

const sites = `{"sites":{"1":{"routes":[{"handle":[{"handler":"subroute","routes":[
{"handle":[{"handler":"iis_closed","status":403,"why":"x"},{"handler":"iis_closed","status":401,"decide":true}]},
{"handle":[{"handler":"vars","iis_upstream":"127.0.0.1:8080"},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"},{"dial":"b"}]}]},
{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:8080"}]}]}]}]}]},
"2":{"error_routes":[{"handle":[{"handler":"iis_closed"},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"}]},{"handler":"reverse_proxy"}]}]}}}`

func TestIn(t *testing.T) {
	got, err := places.In([]byte(sites))
	if want := (places.Count{Closed: 2, Waiting: 1, Upstreams: 2}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	// Without the marker, an address is somebody's own.
	if got, err := places.In([]byte(`[{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:8080"}]},{"handler":"vars","iis_upstream":"other:1"}]`)); err != nil || !got.Zero() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := places.In([]byte(`{`)); err == nil {
		t.Error("no error")
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
		if got, err := places.In([]byte(text)); err != nil || got.Waiting != waiting {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestSentences(t *testing.T) {
	count := places.Count{Closed: 1, Waiting: 2}
	count.Add(places.Count{Waiting: 1})
	want := []string{
		"1 place is closed, because IIS protects what is there and nothing here surely does the same.",
		"3 places wait for a decision, who may see what is there; until then, nobody may.",
		"No upstream must be set.",
	}
	if got := count.Sentences(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
