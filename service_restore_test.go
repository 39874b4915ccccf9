//go:build unix

package caddyiis_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// etcCaddyfile and etcEnvironment are the files of a service, below the folder of a road.
const (
	etcCaddyfile   = "etc/caddy/Caddyfile"
	etcEnvironment = "etc/caddy/environment"
)

// serviceRoad is a machine with Caddy as a service, below a folder: its administrator is
// root, and it runs as its user.
type serviceRoad struct {
	*road
	here  *strings.Replacer // what the page writes, as it is below the folder
	start string
	data  string // Caddy's data folder
	saved string // the saved configuration
}

// newServiceRoad installs the service. Its site "one" has a certificate of its own; the
// source has none yet.
func newServiceRoad(t *testing.T, source, settings string) *serviceRoad {
	t.Helper()
	needs.Root(t)
	r := &serviceRoad{road: newRoad(t)}
	program := programForAll(t, r.dir)
	r.here = strings.NewReplacer("/etc/caddy/", r.dir+"/etc/caddy/", "/var/", r.dir+"/var/", "-C /", "-C "+r.dir+"/", "/usr/bin/caddy", "caddy")
	config := fmt.Sprintf("{\nskip_install_trust\niis {\ncertificate auto {\nfor_bindings\nissuer internal\n}\nsites_from %s {\n%s\nallow {\nports %d %d\n}\n}\ndefaults {\nrespond {iis.site.name}\n}\n"+
		"site 1 one {\nbinding https *:%d:one.test {\nsni\ncertificate auto\n}\n}\n}\n}\n", source, r.here.Replace(settings), r.http, r.https, r.https)
	r.write(r.dir, map[string][]byte{
		"bin/caddy":     []byte("#!/bin/sh\n" + caddyProgram + "=1 exec '" + program + "' \"$@\"\n"),
		"bin/systemctl": []byte("#!/bin/sh\n"), etcCaddyfile: []byte(config), etcEnvironment: nil,
		"etc/caddy/key": []byte(strings.Repeat("5e", 32)),
	})
	state := filepath.Join(r.dir, "var", "lib", "caddy")
	r.data, r.saved = filepath.Join(state, ".local", "share", "caddy"), filepath.Join(state, ".config", "caddy", "autosave.json")
	r.run(fmt.Sprintf("chmod 755 bin bin/* && chmod 644 etc/caddy/Caddyfile etc/caddy/key && mkdir -p var/lib && mkdir -m 700 var/lib/caddy && chown %d:%[1]d var/lib/caddy", serviceUser))
	r.env = []string{"PATH=" + filepath.Join(r.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + state, "CADDY_ADMIN=" + r.admin}
	r.start = r.here.Replace(unitValue(t, unitLines(t, "caddy.service"), "ExecStart"))
	return r
}

// service starts it as systemd does, which reads the environment.
func (r *serviceRoad) service() (stop func()) {
	r.t.Helper()
	environment, env := r.file(etcEnvironment), r.env
	r.as = func(cmd *exec.Cmd) { cmd.Dir = "/"; asService(cmd) }
	r.env = append(slices.Clip(env), strings.Fields(environment)...)
	defer func() { r.as, r.env = nil, env }()
	return r.road.start(r.start, "http://"+r.admin+"/iis/ready")
}

// add gives the source the site "two".
func (r *serviceRoad) add() {
	r.t.Helper()
	r.put("sites/2", fmt.Sprintf(`{"name":"two","server_bindings":[":%d:two.test"]}`, r.http))
}

// put gives the source something that is new.
func (r *serviceRoad) put(path, body string) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPut, "http://"+r.admin+"/iis/"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		r.t.Fatal(answer.Status)
	}
}

// serves checks that both sites answer, and returns the serial number of the certificate.
func (r *serviceRoad) serves() (serial string) {
	r.t.Helper()
	waitFor(r.t, "the certificate", func() bool {
		one, err := ts.Do(ts.Request{Addr: at("127.0.0.1", r.https), SNI: "one.test"})
		if err == nil && one.Body == "one" && one.Leaf != nil {
			serial = one.Leaf.SerialNumber.String()
		}
		return serial != ""
	})
	two, err := ts.Do(ts.Request{Addr: at("127.0.0.1", r.http), Host: "two.test", Plain: true})
	if err != nil || two.Body != "two" {
		r.t.Errorf("the site of the source: %v, %v", two, err)
	}
	return serial
}

// backup runs what the page says, without the lines that it says to leave out, and damage
// to all that the service has and does not have in its source.
func (r *serviceRoad) backup(without string) {
	r.t.Helper()
	waitFor(r.t, "the saved configuration", func() bool { _, err := os.Stat(r.saved); return err == nil })
	r.run(r.here.Replace(leaveOut(pageBlocks(r.t, "docs/service.md", "Backup", "sh")[0], without)))
}

// damage leaves nothing of the service as it was.
func (r *serviceRoad) damage() {
	r.t.Helper()
	for _, name := range []string{filepath.Join(r.dir, etcCaddyfile), filepath.Join(r.dir, etcEnvironment), r.saved} {
		if err := os.WriteFile(name, []byte(junk), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(r.data, "certificates")), os.RemoveAll(filepath.Join(r.data, "pki"))); err != nil {
		r.t.Fatal(err)
	}
}

const junk = "\x00 junk"

// restore runs the way back of the page, without the lines that it says to leave out.
func (r *serviceRoad) restore(without string) {
	r.t.Helper()
	for _, block := range pageBlocks(r.t, "docs/service.md", "Undo", "sh") {
		if strings.HasPrefix(block, "systemctl stop caddy\n") && strings.HasSuffix(block, "\nsystemctl start caddy\n") {
			r.run(r.here.Replace(leaveOut(block, without)))
			return
		}
	}
	r.t.Fatal("docs/service.md has no way back")
}

// leaveOut takes the lines of a block out that have a word in them.
func leaveOut(block, word string) string {
	if word == "" {
		return block
	}
	return regexp.MustCompile("(?m)^.*"+word+".*\n").ReplaceAllString(block, "")
}

// TestServiceBackup walks the road of docs/service.md as it is written: a backup by root while
// the service serves, damage to all that it has, and the way back, after which the service
// serves as before, as its user.
func TestServiceBackup(t *testing.T) {
	r := newServiceRoad(t, "bolt", "certificate_key {file./etc/caddy/key}")
	stop := r.service()
	r.add()
	kept := issue(t, 60, nil, "three.test")
	r.put("certificates/kept", certificateJSON(kept))
	r.put("sites/3", fmt.Sprintf(`{"name":"three","bindings":[{"protocol":"https","binding":"*:%d:three.test","flags":1,"certificate":"kept"}]}`, r.https))
	before := r.serves()
	r.backup("")
	stop()

	r.damage()
	if err := os.WriteFile(filepath.Join(r.data, "iis", "sites.db"), []byte(junk), 0o600); err != nil {
		t.Fatal(err)
	}
	r.restore("")
	r.servesAs(before, func() {
		if leaf, err := ts.Handshake(at("127.0.0.1", r.https), "three.test"); err != nil || !leaf.Equal(kept.leaf) {
			t.Errorf("the certificate of the source: %v, %v", leaf, err)
		}
	})
}

// servesAs starts the service, which has to serve with the certificate that it had.
func (r *serviceRoad) servesAs(before string, also ...func()) {
	r.t.Helper()
	defer r.service()()
	if after := r.serves(); after != before {
		r.t.Errorf("the certificate is %s, and was %s", after, before)
	}
	if r.file(strings.TrimPrefix(r.saved, r.dir+"/")) == junk {
		r.t.Error("the saved configuration is not restored")
	}
	for _, check := range also {
		check()
	}
}

// TestServiceBackupOfDatabase walks the same road for a service whose sites are in PostgreSQL,
// with the blocks of docs/farm.md: schema and roles, a backup of both, the loss of both, and
// the way back. The copy of the sites that the service has is lost as well, so that what is
// served then is of the database.
func TestServiceBackupOfDatabase(t *testing.T) {
	r := newServiceRoad(t, "postgres {env.DATABASE}", "")
	bin, engine := needs.Postgres(t), testpg.Start(t)
	database := func(role string) string { return engine.Connection(role, "sites") }
	r.env = append(r.env, "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", engine.Port()), "PGUSER=admin")
	r.env[0] += ":" + bin
	as := strings.NewReplacer("postgres://admin@db.example.com/sites", "'"+database("admin")+"'", "examples/farm/", absolute(t, "examples/farm")+"/")
	r.run(as.Replace(pageBlocks(t, "docs/farm.md", "Setting it up", "sh")[0]))
	r.write(r.dir, map[string][]byte{etcEnvironment: []byte("DATABASE=" + database("iis") + "\n")})

	stop := r.service()
	r.add()
	before := r.serves()
	blocks := pageBlocks(t, "docs/farm.md", "Backup and restore", "sh")
	if len(blocks) != 2 {
		t.Fatalf("the page has %q", blocks)
	}
	r.backup("sites backup")
	r.run(blocks[0])
	stop()

	r.damage()
	if err := os.RemoveAll(filepath.Join(r.data, "iis")); err != nil {
		t.Fatal(err)
	}
	engine.Exec(engine.Connection("admin", "postgres"), "drop database sites with (force)")
	for _, role := range []string{"iis", "panel", "iis_node", "iis_panel"} {
		engine.Exec(engine.Connection("admin", "postgres"), "drop role "+role)
	}
	r.run(blocks[1])
	r.restore(`sites\.db`)
	if err := os.RemoveAll(filepath.Join(r.data, "iis")); err != nil {
		t.Fatal(err)
	}
	r.servesAs(before)

	// The database is gone a second time, while the service serves and has what the backup has.
	defer r.service()()
	engine.Exec(engine.Connection("admin", "postgres"), "drop database sites with (force)")
	r.serves()
	r.run(blocks[1])
	waitFor(t, "the database", func() bool {
		answer, err := http.Get("http://" + r.admin + "/iis/ready?fresh=1")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	r.serves()
}
