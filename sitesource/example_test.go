package sitesource_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/caddy-iis/caddy-iis/sitesource"
)

func ExampleFile() {
	dir, err := os.MkdirTemp("", "sites")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sites.jsonl")

	type site struct {
		ID   uint32 `json:"id"`
		Name string `json:"name"`
	}
	file := sitesource.NewFile(path, func(raw []byte) (uint32, site, error) {
		var s site
		err := json.Unmarshal(raw, &s)
		return s.ID, s, err
	}, sitesource.FileOptions{})

	var state sitesource.State
	for _, content := range []string{
		`{"id":7,"name":"Shop"}` + "\n" + `{"id":8,"name":"Forum"}` + "\n",
		`{"id":7,"name":"Web shop"}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			log.Fatal(err)
		}
		now, diff, err := file.Read(context.Background(), state)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range diff.Changed {
			fmt.Printf("%s: site %d is %q\n", r.Where, r.ID, r.Value.Name)
		}
		fmt.Println("removed:", diff.Removed)
		state = now
	}
	// Output:
	// line 1: site 7 is "Shop"
	// line 2: site 8 is "Forum"
	// removed: []
	// line 1: site 7 is "Web shop"
	// removed: [8]
}
