package live

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestDocuments: what one document leaves behind is no part of the next one.
func TestDocuments(t *testing.T) {
	documents := (&Source{CommonSettings: new(sites.CommonSettings)}).Documents()
	for _, tc := range []struct{ document, name, err string }{
		{document: `{"name":"a"}`, name: "a"},
		{document: `{"name":"` + strings.Repeat("b", 5000) + `"}`, name: strings.Repeat("b", 5000)},
		{document: `{"name":"c"} {"name":"d"}`, err: "more than one"},
		{document: `{"name":"e"}`, name: "e"},
		{document: ` {"name":"f"} ` + "\n", name: "f"},
		{document: `{"name":"g"`, err: "JSON"},
		{document: `{"name":"h"}`, name: "h"},
		{document: `{"nam":"i"}`, err: "nam"},
		{document: `{"name":"j"}x`, err: "more than one"},
		{document: ``, err: "EOF"},
		{document: `{"name":"k","secure_bindings":[":443:k.test"]}`, name: "k"},
		{document: `{}`},
	} {
		cfg, err := documents.Read([]byte(tc.document))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%.30s: %v", tc.document, err)
			}
			continue
		}
		if err != nil || cfg.Name != tc.name || (tc.name == "k") != slices.Equal(cfg.SecureBindings, []string{":443:k.test"}) {
			t.Errorf("%.30s: %v, %v", tc.document, cfg, err)
		}
	}
}
