//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// siteFarm is a PostgreSQL, and Caddys that serve its sites, each on an address of its
// own and on the same port.
type siteFarm struct {
	t          *testing.T
	engine     *testpg.Server
	connection string
	port       int
	nodes      []*siteNode
}

// siteNode is a Caddy in a process of its own.
type siteNode struct {
	t       *testing.T
	env     []string
	address string // where it serves
	admin   string
	client  *http.Client
	cmd     *exec.Cmd
	stdin   io.Closer
	stderr  bytes.Buffer
}

func startSiteFarm(t *testing.T, nodes int) *siteFarm {
	t.Helper()
	f := &siteFarm{t: t, engine: testpg.Start(t), port: ts.FreePort(t)}
	f.connection = f.engine.Database("sites")
	if _, err := postgres.Init(t.Context(), f.connection); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		n := &siteNode{t: t, address: fmt.Sprintf("127.0.0.%d:%d", i+1, f.port), admin: fmt.Sprintf("127.0.0.1:%d", ts.FreePort(t))}
		n.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
		host, _, _ := strings.Cut(n.address, ":")
		config, err := ts.Adapt(fmt.Sprintf(`{
			iis {
				listen %s
				sites_from postgres %s
				template page {
					respond "{iis.site.name}"
				}
				site 1 Configured {
					server_bindings :%d:configured.test
					respond configured
				}
			}
		}`, host, f.connection, f.port), fmt.Sprintf("admin %s\npersist_config off\nlog {\nlevel WARN\n}\nstorage file_system %q\n", n.admin, t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(node{Name: fmt.Sprint("node-", i), Config: config, RootFile: empty})
		if err != nil {
			t.Fatal(err)
		}
		n.env = append(os.Environ(), nodeVariable+"="+string(raw), "XDG_DATA_HOME="+t.TempDir())
		f.nodes = append(f.nodes, n)
		n.start()
	}
	return f
}

// start runs the node and waits until it serves.
func (n *siteNode) start() {
	n.t.Helper()
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env, n.cmd.Stderr = n.env, &n.stderr
	in, err := n.cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	n.stdin = in
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	cmd := n.cmd
	n.t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		if n.t.Failed() {
			n.t.Logf("%s:\n%s", n.address, tail(n.stderr.String()))
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		n.t.Fatalf("%s does not start: %q, %v\n%s", n.address, line, err, tail(n.stderr.String()))
	}
}

// kill ends the node as a loss of power would.
func (n *siteNode) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.client.CloseIdleConnections()
}

// ask makes a request to the API of the node.
func (n *siteNode) ask(method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, "http://"+n.admin+"/iis/"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// want makes a request that must succeed.
func (n *siteNode) want(method, path, body string) (written adminapi.Written) {
	n.t.Helper()
	status, answer, err := n.ask(method, path, body)
	if err != nil || status >= 300 {
		n.t.Fatalf("%s %s %s: %d %s, %v", n.admin, method, path, status, answer, err)
	}
	_ = json.Unmarshal(answer, &written)
	return written
}

// get asks the node for a host's page.
func (n *siteNode) get(host string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+n.address+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	resp, err := n.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", host, resp.StatusCode)
	}
	return string(body), err
}

// source is what the node says of its source.
func (n *siteNode) source() (adminapi.Source, error) {
	var page adminapi.Page[adminapi.Source]
	status, answer, err := n.ask("GET", "sources", "")
	if err == nil {
		err = json.Unmarshal(answer, &page)
	}
	if err == nil && len(page.Items) != 1 {
		err = fmt.Errorf("%d %s", status, answer)
	}
	if err != nil {
		return adminapi.Source{}, err
	}
	return page.Items[0], nil
}

// shown are the names of the sites that the node serves, by id.
func (n *siteNode) shown() map[uint32]string {
	n.t.Helper()
	shown := make(map[uint32]string)
	for after := ""; ; {
		status, answer, err := n.ask("GET", "sites?source=postgres&limit=1000&after="+after, "")
		var page adminapi.Page[adminapi.Site]
		if err == nil {
			err = json.Unmarshal(answer, &page)
		}
		if err != nil || status != 200 {
			n.t.Fatal(status, err)
		}
		for _, site := range page.Items {
			if site.State == adminapi.StateStarted {
				shown[site.ID] = site.Name
			}
		}
		if after = page.Next; after == "" {
			return shown
		}
	}
}

// cpu is the processor time that the node has used.
func (n *siteNode) cpu() time.Duration {
	n.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] { // utime and stime
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// document is a site with a host.
func (f *siteFarm) document(name, host string) string {
	return fmt.Sprintf(`{"name":%q,"template":"page","server_bindings":[":%d:%s"]}`, name, f.port, host)
}

// fill writes sites 1001 and on by SQL, s<i>.test with the name first, and waits until
// all nodes serve them.
func (f *siteFarm) fill(count int) {
	f.t.Helper()
	f.engine.Exec(f.connection, fmt.Sprintf(`insert into iis.site (id, doc) select 1000 + g, jsonb_build_object('name', 'first', 'template', 'page',
		'server_bindings', jsonb_build_array(':%d:s' || g || '.test')) from generate_series(1, %d) g`, f.port, count))
	f.agree(3 * time.Minute)
}

// agree waits until nothing is open and all nodes are at the head.
func (f *siteFarm) agree(within time.Duration) {
	f.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		head, open, err := f.head()
		done := err == nil && open == 0
		for _, n := range f.nodes {
			s, err := n.source()
			done = done && err == nil && s.Revision == head
		}
		if done {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("the nodes are not at revision %d, of which %d rows are open (%v)", head, open, err)
		}
	}
}

func (f *siteFarm) head() (head uint64, open int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "select rev, (select count(*) from iis.site where ok <> rev and refusal is null) from iis.head").Scan(&head, &open)
	return head, open, err
}

// accepted is what the rows say is accepted: the names by id.
func (f *siteFarm) accepted() map[uint32]string {
	f.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select id, doc->>'name', doc->'server_bindings'->>0 from iis.served")
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	names, hosts := make(map[uint32]string), make(map[string]uint32)
	for rows.Next() {
		var id uint32
		var name, host string
		if err := rows.Scan(&id, &name, &host); err != nil {
			f.t.Fatal(err)
		}
		if other := hosts[host]; other != 0 {
			f.t.Errorf("%d and %d are accepted with %s", other, id, host)
		}
		names[id], hosts[host] = name, id
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return names
}

// wholeLog checks that no revision is missing.
func (f *siteFarm) wholeLog() (head int) {
	f.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(ctx)
	var count, first, last int
	err = conn.QueryRow(ctx, "select h.rev, count(*), min(r.rev), max(r.rev) from iis.head h, iis.revision r group by h.rev").Scan(&head, &count, &first, &last)
	if err != nil || first != 1 || last != head || count != head {
		f.t.Errorf("head %d: %d revisions from %d to %d (%v)", head, count, first, last, err)
	}
	return head
}
