package sites_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-iis/caddy-iis/sites"
)

// A table is written in transactions, each of which is a revision.
func Example() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	table, err := sites.OpenBolt(filepath.Join(folder, "sites.db"), time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer table.Close()

	head, err := table.Write(sites.Transaction{By: "panel", Changes: []sites.Change{
		{ID: 1001, Document: json.RawMessage(`{"server_bindings":[":80:www.example.com"],"template":"php"}`)},
		{ID: 1002, Document: json.RawMessage(`{"server_bindings":[":80:shop.example.com"],"template":"php"}`)},
	}})
	if err != nil {
		log.Fatal(err)
	}
	if err := table.Rows(func(row sites.Row) error {
		fmt.Printf("site %d of revision %d: %s\n", row.ID, row.Revision, row.Document)
		return nil
	}); err != nil {
		log.Fatal(err)
	}
	revisions, err := table.Log(0, 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("revision %d by %s changed %d sites\n", head.Revision, revisions[0].By, len(revisions[0].Changes))
	// Output:
	// site 1001 of revision 1: {"server_bindings":[":80:www.example.com"],"template":"php"}
	// site 1002 of revision 1: {"server_bindings":[":80:shop.example.com"],"template":"php"}
	// revision 1 by panel changed 2 sites
}
