package rewrite_test

import (
	"fmt"
	"testing"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// typical is a set of 40 rules as sites have them. None of the first 39 fits /p/last.
// Patterns have a mark of their site.
func typical(mark string) rewrite.Config {
	kinds := []func(i int) rewrite.Rule{
		func(i int) rewrite.Rule {
			return rule(fmt.Sprintf(`^old%d%s/(.*)$`, i, mark), redirect(301, `/new/{R:1}`))
		},
		func(i int) rewrite.Rule {
			return rule(fmt.Sprintf(`^article%d%s/([0-9]+)/([_0-9a-z-]+)`, i, mark), to(`article.aspx?id={R:1}&title={R:2}`))
		},
		func(i int) rewrite.Rule {
			return rule(`(.*)`, redirect(301, `https://{C:1}/{R:1}`), condition("{HTTP_HOST}", fmt.Sprintf(`^www%d%s\.(.+)$`, i, mark)))
		},
		func(i int) rewrite.Rule {
			return rule(`.*`, drop(redirect(301, `/x?{C:1}`)), condition("{REQUEST_URI}", fmt.Sprintf(`/x%d%s\?(.*)$`, i, mark)), condition("{QUERY_STRING}", `id=([0-9]+)`))
		},
		func(i int) rewrite.Rule {
			return wildcard(rule(fmt.Sprintf(`*/w%d%s/*.html`, i, mark), to(`/w/{R:2}`)))
		},
	}
	c := rewrite.Config{}
	for i := range 39 {
		c.Rules = append(c.Rules, kinds[i%len(kinds)](i))
	}
	c.Rules = append(c.Rules, rule(`^p/(.*)$`, to(`index.php?p={R:1}`)))
	return c
}

func compile(t testing.TB, c rewrite.Config) *rewrite.Set {
	t.Helper()
	set, err := rewrite.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// BenchmarkRun is a request that 39 rules do not fit and the last does.
func BenchmarkRun(b *testing.B) {
	set, req := compile(b, typical("")), get("http://h.example.com/p/last/page?x=1&id=2")
	b.ReportAllocs()
	for b.Loop() {
		if r, err := set.Run(req); err != nil || r.Path != "/index.php" {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkCompile makes the rules of 1,000 sites ready.
func BenchmarkCompile(b *testing.B) {
	for _, sites := range []string{"equal", "different"} {
		b.Run(sites, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range 1000 {
					mark := ""
					if sites == "different" {
						mark = fmt.Sprintf("-%d-%d", b.N, i)
					}
					compile(b, typical(mark))
				}
			}
		})
	}
}
