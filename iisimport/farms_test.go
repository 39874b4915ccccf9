package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// importFarm imports a site with a rule that leads to a web farm.
func importFarm(t *testing.T, farm string) (*iisconfig.Server, func() *iisimport.Plan) {
	t.Helper()
	host := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>` +
		`<webFarms>` + farm + `</webFarms><system.webServer><proxy enabled="true" /></system.webServer></configuration>`
	web := `<configuration><system.webServer><rewrite><rules><rule name="r"><match url="(.*)" /><action type="Rewrite" url="http://farm/{R:1}" /></rule></rules></rewrite></system.webServer></configuration>`
	server, err := iisconfig.Read([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}, {Name: "export/web/web.config", Data: []byte(web)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return server, func() *iisimport.Plan { return iisimport.Import(server, iisimport.Options{}) }
}

// TestFarmWords: how a web farm chooses its servers and looks after them has its words, or
// somebody is told.
func TestFarmWords(t *testing.T) {
	const two = `<server address="10.0.0.1"><applicationRequestRouting weight="50" httpPort="8080" /></server><server address="10.0.0.2" /><server address="10.0.0.3" enabled="false" />`
	for _, c := range []struct{ routing, words, decide string }{
		{``, "lb_policy least_conn", ""},
		{`<loadBalancing algorithm="WeightedRoundRobin" />`, "lb_policy weighted_round_robin 50 100", ""},
		{`<loadBalancing algorithm="RequestHash" />`, "lb_policy uri_hash", ""},
		{`<loadBalancing algorithm="LeastResponseTime" />`, "", "LeastResponseTime"},
		{`<loadBalancing algorithm="WeightedRoundRobin" /><affinity useCookie="true" cookieName="Stay" />`, "lb_policy cookie Stay", ""},
		{`<healthCheck url="http://farm/well?a=b" interval="00:01:00" timeout="00:00:05" responseMatch="all (well)" statusCodeMatch="204" />`, "health_uri /well?a=b|health_interval 60s|health_timeout 5s|health_status 204|health_body `all \\(well\\)`", ""},
		{`<healthCheck url="http://farm/" interval="soon" statusCodeMatch="200-201,300" />`, "health_interval 30s", "health_status"},
		{`<protocol timeout="00:10:00" />`, "", "protocol of the web farm"},
	} {
		_, plan := importFarm(t, `<webFarm name="farm">`+two+`<applicationRequestRouting>`+c.routing+`</applicationRequestRouting></webFarm>`)
		p := plan()
		text := string(p.Caddyfile())
		adapt(t, p.Caddyfile())
		for _, words := range append(strings.Split(c.words, "|"), "to http://10.0.0.1:8080 http://10.0.0.2:80") {
			if !strings.Contains(text, words) {
				t.Errorf("%s: no %s in\n%s", c.routing, words, text)
			}
		}
		told := c.decide == ""
		for _, l := range p.Report.Lines {
			told = told || l.Outcome == iisimport.Decide && strings.Contains(l.Message+l.Fix, c.decide)
		}
		if !told {
			t.Errorf("%s: nobody is told of %s: %v", c.routing, c.decide, p.Report.Lines)
		}
	}
}

// TestFarmServed: a server of a web farm that says it is not well gets no requests.
func TestFarmServed(t *testing.T) {
	var ill atomic.Bool
	var addresses strings.Builder
	for _, name := range []string{"one", "two"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/well" && name == "two" && ill.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprint(w, name)
		}))
		t.Cleanup(s.Close)
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&addresses, `<server address="127.0.0.1"><applicationRequestRouting httpPort="%s" weight="1" /></server>`, u.Port())
	}
	server, plan := importFarm(t, `<webFarm name="farm">`+addresses.String()+
		`<applicationRequestRouting><loadBalancing algorithm="WeightedRoundRobin" /><healthCheck url="http://farm/well" interval="00:00:01" timeout="00:00:01" /></applicationRequestRouting></webFarm>`)
	addr := httpOnly(t, server)
	_, body, _ := cutBefore(string(plan().Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	answered := func() string {
		seen := make(map[string]bool)
		for range 6 {
			if a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test"}); err == nil {
				seen[a.Body] = true
			}
		}
		return fmt.Sprint(seen["one"], seen["two"])
	}
	until := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); answered() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("got %s, want %s", answered(), want)
			}
		}
	}
	until("true true")
	ill.Store(true)
	until("true false")
	ill.Store(false)
	until("true true")
}
