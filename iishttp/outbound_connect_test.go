package iishttp

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// statuses notes the headers and statuses of a response as they go out.
type statuses struct {
	httptest.ResponseRecorder
	sent []int
	mark string // with the last one
}

func (s *statuses) WriteHeader(status int) {
	s.sent = append(s.sent, status)
	s.mark = s.Header().Get("X-Powered-By")
}

// TestOutboundConnect: what is sent ahead of the answer to an extended CONNECT is not the
// answer, which outbound rules see unless another protocol is spoken behind it.
func TestOutboundConnect(t *testing.T) {
	for _, c := range []struct {
		answers []int
		mark    string
	}{
		{[]int{http.StatusOK}, "x"},
		{[]int{http.StatusEarlyHints, http.StatusOK}, "x"},
		{[]int{http.StatusForbidden}, ""},
		{[]int{http.StatusEarlyHints, http.StatusForbidden}, ""},
	} {
		h := guard(t, "iis_rewrite {\noutbound_rule no {\nmatch RESPONSE_X_POWERED_BY .+\naction rewrite \"\"\n}\n}")
		r := received(t, "/")
		r.Method, r.ProtoMajor = http.MethodConnect, 2
		r.Header.Set(":protocol", "websocket")
		w := &statuses{ResponseRecorder: *httptest.NewRecorder()}
		if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Powered-By", "x")
			for _, status := range c.answers {
				w.WriteHeader(status)
			}
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.sent, c.answers) || w.mark != c.mark {
			t.Errorf("%v: sent %v with %q, want %q", c.answers, w.sent, w.mark, c.mark)
		}
	}
}
