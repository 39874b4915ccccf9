package sites_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/sites"
)

// TestBoltDamagedWhileOpen: whatever happens to a file that is open, each call comes back, also
// beside others; and so does the end. Where no transaction can begin any more, each says that
// the file is damaged, and so does who opens it later.
func TestBoltDamagedWhileOpen(t *testing.T) {
	needs.OpenFilesGo(t) // Windows lets nobody write to the file meanwhile
	page := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	type place struct {
		from, size int
		all        bool // no transaction can begin
	}
	places := []place{{0, 8 * page, true}, {0, 2 * page, true}, {0, page, false}, {page, page, false}, {2 * page, 100 * page, false}}
	for range 20 {
		places = append(places, place{from: random.IntN(20) * page, size: (1 + random.IntN(3)) * page})
	}
	folder := needs.OpenFolder(t) // bbolt leaves a file mapped when it panics
	for i, p := range places {
		name := fmt.Sprintf("%d, %d bytes from %d", i, p.size, p.from)
		path := filepath.Join(folder, fmt.Sprint(i, ".db"))
		table := open(t, path)
		for id := range uint32(60) {
			write(t, table, "a", put(id+1, fmt.Sprintf(`{"name":"site %d","server_bindings":[":80:host%d.test"]}`, id, id)))
		}
		overwrite(t, path, p.from, p.size, random)
		for round := range 2 {
			for call, err := range callsOf(t, name, table) {
				if p.all && !errors.Is(err, sites.ErrDamaged) {
					t.Errorf("%s: %s, round %d: %v", name, call, round, err)
				}
			}
		}
		within(t, name+": close", func() error { return table.Close() })
		if !p.all {
			continue
		}
		// The file itself is locked as long as it is mapped, which is until the process ends.
		data, err := os.ReadFile(path)
		if err := errors.Join(err, os.WriteFile(path+".later", data, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := sites.OpenBolt(path+".later", 5*time.Second); !errors.Is(err, sites.ErrDamaged) {
			t.Errorf("%s: opened later: %v", name, err)
		}
	}
}

// TestBoltCutShort: who opens a file of which little is left is told the way out.
func TestBoltCutShort(t *testing.T) {
	for _, size := range []int64{1, 100, int64(os.Getpagesize()), 2*int64(os.Getpagesize()) - 1} {
		path := filepath.Join(t.TempDir(), "sites.db")
		if err := errors.Join(open(t, path).Close(), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := sites.OpenBolt(path, 5*time.Second); !errors.Is(err, sites.ErrDamaged) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// overwrite puts random bytes into a file, which keeps its size.
func overwrite(t *testing.T, path string, from, size int, random *rand.Rand) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, max(0, min(size, int(info.Size())-from)))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	_, err = file.WriteAt(data, int64(from))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// callsOf calls all that a table has, several times at once, and returns what came of each.
func callsOf(t *testing.T, name string, table sites.Table) map[string]error {
	t.Helper()
	calls := map[string]func() error{
		"write": func() error {
			_, err := table.Write(sites.Transaction{Changes: []sites.Change{put(1, `{}`)}})
			return err
		},
		"trim":     func() error { return table.Trim(time.Now()) },
		"rows":     func() error { return table.Rows(func(sites.Row) error { return nil }) },
		"row":      func() error { _, _, err := table.Row(60); return err },
		"log":      func() error { _, err := table.Log(0, 1000); return err },
		"repeated": func() error { _, _, err := table.Repeated("key"); return err },
	}
	var mu sync.Mutex
	results := make(map[string]error)
	var all sync.WaitGroup
	for call, do := range calls {
		times := 3
		if call == "write" {
			times = 1 // nobody else may write meanwhile
		}
		for range times {
			all.Go(func() {
				err := do()
				mu.Lock()
				defer mu.Unlock()
				results[call] = err
			})
		}
	}
	within(t, name+": calls", func() error { all.Wait(); return nil })
	return results
}

// within has something come back in bounded time.
func within(t *testing.T, what string, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: it does not come back", what)
	}
}
