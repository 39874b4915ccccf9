package caddyiis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestW3CFormat: Caddy's access logs of sites say which site it is, and the sub-status of
// an answer.
func TestW3CFormat(t *testing.T) {
	file := filepath.ToSlash(needs.OpenFolder(t)) + "/a.log"
	port := testserver.FreePort(t)
	testserver.Start(t, fmt.Sprintf(`{
	log sites {
		include iis.log.access
		output file %s
		format iis_w3c {
			fields s-sitename cs-uri-stem sc-status sc-substatus
		}
	}
	iis {
		log
		site 12 "Shop" {
			server_bindings 127.0.0.1:%d:
			iis_filter {
				hidden_segments a
			}
			respond "x"
		}
	}
}`, file, port))
	if _, err := testserver.Raw(fmt.Sprintf("127.0.0.1:%d", port), "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	want := "#Fields: s-sitename cs-uri-stem sc-status sc-substatus\r\nW3SVC12 /a 404 8\r\n"
	eventually(t, "a line", 10*time.Second, func() bool {
		raw, err := os.ReadFile(file)
		return err == nil && strings.HasSuffix(string(raw), want)
	})
}
