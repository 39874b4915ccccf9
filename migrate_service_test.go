//go:build unix

package caddyiis_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestGuideAsService follows docs/migrate.md to its end: the import, a first run by root,
// and then the service, which is another user, starts in another folder, and may write
// only where the unit lets it. It serves, and writes its log.
func TestGuideAsService(t *testing.T) {
	needs.Root(t)
	r := newRoad(t)
	program := programForAll(t, r.dir)
	r.write(filepath.Join(r.dir, "export"), r.export())
	www := filepath.Join(r.dir, "srv", "www")
	r.write(www, map[string][]byte{"main/start.html": []byte("main"), "main/private/x.txt": []byte("private"), "shop/index.html": []byte("wrong")})
	r.run("chmod -R a+rX srv && mkdir -p etc/systemd/system state && chown " + fmt.Sprint(serviceUser) + " state")
	r.run(guideBlocks(t, "2. Import", "sh")[0])
	r.run(guideBlocks(t, "3. Decide", "sh")[0])
	r.serve(guideBlocks(t, "5. Run side by side", "sh")[0]) // by root, who also writes logs

	logs := filepath.Join(www, "logs", "LogFiles")
	here := strings.NewReplacer("/etc/", r.dir+"/etc/", "/srv/www", www, "-g caddy", fmt.Sprint("-g ", serviceUser), "-o caddy", fmt.Sprint("-o ", serviceUser),
		"caddy:caddy", fmt.Sprintf("%d:%[1]d", serviceUser), "/usr/bin/caddy", "caddy")
	blocks := guideBlocks(t, "8. As a service", "sh")
	if len(blocks) != 3 || !strings.Contains(blocks[2], "systemctl enable --now caddy") {
		t.Fatalf("the guide goes another way: %q", blocks)
	}
	r.run(here.Replace(blocks[0]))
	r.run(here.Replace(blocks[1]))
	dropIn := r.file("etc/systemd/system/caddy.service.d/logs.conf")
	if line := fmt.Sprintf("ReadWritePaths=%q", logs); dropIn != "[Service]\n"+line+"\n" || !strings.Contains(r.file("report.txt"), "\n  "+line+"\n") {
		t.Errorf("the unit gets:\n%s\nthe report:\n%s", dropIn, r.file("report.txt"))
	}

	// What systemd makes of the unit: its user, its environment, its folder.
	start := unitValue(t, unitLines(t, "caddy.service"), "ExecStart")
	r.write(r.dir, map[string][]byte{"bin/caddy": []byte("#!/bin/sh\n" + caddyProgram + "=1 exec '" + program + "' \"$@\"\n")})
	if err := errors.Join(os.Chmod(filepath.Join(r.dir, "bin"), 0o755), os.Chmod(filepath.Join(r.dir, "bin", "caddy"), 0o755)); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(r.dir, "state")
	r.env = []string{"PATH=" + filepath.Join(r.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + state, "XDG_DATA_HOME=" + state, "XDG_CONFIG_HOME=" + state, "CADDY_ADMIN=" + r.admin}
	r.env = append(r.env, strings.Fields(r.file("etc/caddy/environment"))...)
	r.as = func(cmd *exec.Cmd) { cmd.Dir = "/"; asService(cmd) }
	stop := r.start(here.Replace(start), "http://"+r.admin+"/iis/ready")
	defer stop()
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", r.https), SNI: "www.example.com", Path: "/?as=service"})
	if err != nil || answer.Body != "main" {
		t.Errorf("the service: %v, %v", answer, err)
	}
	waitFor(t, "its log", func() bool {
		files, _ := filepath.Glob(filepath.Join(logs, "W3SVC1", "*.log"))
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), "as=service") {
				return true
			}
		}
		return false
	})
}

// TestGuideDropIn: systemd takes the drop-in of the guide beside the unit.
func TestGuideDropIn(t *testing.T) {
	needs.SystemdAnalyze(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(unitFolder, "caddy.service"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "caddy.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(raw), "/usr/bin/caddy", program)), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(guideBlocks(t, "8. As a service", "sh")[1]), "\n")
	script := strings.Join(lines[len(lines)-2:], "\n") // those that make the drop-in
	if out, err := exec.Command("sh", "-e", "-c", strings.ReplaceAll(script, "/etc/systemd/system", dir)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	dropIn, err := os.ReadFile(filepath.Join(dir, "caddy.service.d", "logs.conf"))
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "both.service") // verify is silent about drop-ins that it does not find
	if err := os.WriteFile(both, append([]byte(strings.ReplaceAll(string(raw), "/usr/bin/caddy", program)), dropIn...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", both).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify of both: %v\n%s", err, out)
	}
}
