package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakeEndpoints is an admin endpoint with the endpoints of a configuration.
type fakeEndpoints struct {
	all     map[string]EndpointConfig
	version int
	writes  int
	lose    func(method string) int                            // as in fakeCaddy
	before  func(f *fakeEndpoints, method string) (status int) // of a write
}

func (f *fakeEndpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	etag := fmt.Sprintf("%q", fmt.Sprint(f.version))
	if r.Method == http.MethodGet {
		w.Header().Set("Etag", etag)
		_ = json.NewEncoder(w).Encode(f.all)
		return
	}
	lose := f.lose(r.Method)
	if lose == 1 {
		panic(http.ErrAbortHandler)
	}
	if f.before != nil {
		if status := f.before(f, r.Method); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	if match := r.Header.Get("If-Match"); match != "" && match != etag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	key := strings.TrimPrefix(r.URL.Path, endpointsPath+"/")
	if f.all == nil {
		f.all = make(map[string]EndpointConfig)
	}
	delete(f.all, key)
	if r.Method != http.MethodDelete {
		var cfg EndpointConfig
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &cfg)
		f.all[key] = cfg
	}
	f.version, f.writes = f.version+1, f.writes+1
	if lose == 2 {
		panic(http.ErrAbortHandler)
	}
}

func (f *fakeEndpoints) start(t *testing.T) *Client {
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := New(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errThere, errNone = errors.New("there already"), errors.New("there is none")

func addEndpoint(before EndpointConfig) (EndpointConfig, error) {
	if before != nil {
		return nil, errThere
	}
	return EndpointConfig{"certificate": json.RawMessage(`"a"`)}, nil
}

func removeEndpoint(before EndpointConfig) (EndpointConfig, error) {
	if before == nil {
		return nil, errNone
	}
	return nil, nil
}

// TestChangeEndpoint: a change whose answer is lost is made once and is a success; one
// that somebody else has made is not ours.
func TestChangeEndpoint(t *testing.T) {
	for _, how := range []int{0, 1, 2} {
		f := &fakeEndpoints{lose: losing("PUT", how)}
		client := f.start(t)
		if err := client.ChangeEndpoint(t.Context(), "10.0.0.5:443", addEndpoint); err != nil || f.writes != 1 || len(f.all) != 1 {
			t.Errorf("adding, %d: %v, %v after %d writes", how, err, f.all, f.writes)
		}
		if err := client.ChangeEndpoint(t.Context(), "10.0.0.5:443", addEndpoint); !errors.Is(err, errThere) {
			t.Errorf("adding twice, %d: %v", how, err)
		}
		f.lose = losing("PATCH", how)
		if err := client.ChangeEndpoint(t.Context(), "10.0.0.5:443", func(before EndpointConfig) (EndpointConfig, error) {
			if _, done := before["reject"]; done {
				return nil, errThere
			}
			before["reject"] = json.RawMessage("true")
			return before, nil
		}); err != nil || f.writes != 2 || len(f.all["10.0.0.5:443"]) != 2 {
			t.Errorf("changing, %d: %v, %v after %d writes", how, err, f.all, f.writes)
		}
		f.lose = losing("DELETE", how)
		if err := client.ChangeEndpoint(t.Context(), "10.0.0.5:443", removeEndpoint); err != nil || f.writes != 3 || len(f.all) != 0 {
			t.Errorf("removing, %d: %v, %v after %d writes", how, err, f.all, f.writes)
		}
		if err := client.ChangeEndpoint(t.Context(), "10.0.0.5:443", removeEndpoint); !errors.Is(err, errNone) {
			t.Errorf("removing twice, %d: %v", how, err)
		}
	}
	// Somebody else adds another one, where there were none and so no entity tag.
	f := &fakeEndpoints{lose: func(string) int { return 0 }}
	f.before = func(f *fakeEndpoints, _ string) int {
		if f.all != nil {
			return 0
		}
		f.all = map[string]EndpointConfig{"10.0.0.5:443": {"certificate": json.RawMessage(`"other"`)}}
		return http.StatusConflict
	}
	if err := f.start(t).ChangeEndpoint(t.Context(), "10.0.0.5:443", addEndpoint); !errors.Is(err, errThere) || f.writes != 0 {
		t.Errorf("somebody else was faster: %v after %d writes", err, f.writes)
	}
}
