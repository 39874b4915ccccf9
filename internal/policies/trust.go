package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
)

// codeTrustFile is the finding about a file with the authorities of client
// certificates that cannot be used.
const codeTrustFile = "client-authority-file-broken"

// trust is what TLS settings read from files: the authorities of client
// certificates, and client certificates that are trusted themselves. Caddy reads
// them when a configuration is loaded, and no later; here they are watched, and
// what follows from them is made anew when they change.
type trust struct {
	files []string // and folders
	stop  func()

	problem string // why the files as they are now are not in force; guarded by Set.mu
}

// trustFiles finds the files and folders that client_auth settings name, in the
// forms that Caddy's modules have for it: pem_files of a pool, files and folders of
// loaders. It tells which hold certificates.
func trustFiles(settings string) map[string]bool {
	var policy struct {
		Policy struct {
			ClientAuth any `json:"client_authentication"`
		} `json:"policy"`
	}
	if settings == "" || json.Unmarshal([]byte(settings), &policy) != nil {
		return nil
	}
	found := make(map[string]bool)
	collectFiles(policy.Policy.ClientAuth, found)
	return found
}

func collectFiles(node any, found map[string]bool) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			collectFiles(item, found)
		}
	case map[string]any:
		for key, value := range node {
			list, _ := value.([]any)
			for _, item := range list {
				name, ok := item.(string)
				if !ok {
					continue
				}
				name = caddy.NewReplacer().ReplaceKnown(name, "")
				switch key {
				case "pem_files", "trusted_ca_certs_pem_files", "files":
					found[name] = true
				case "folders":
					collectFolder(name, found)
				}
			}
			collectFiles(value, found)
		}
	}
}

// maxTrustFiles bounds how many files of a folder are watched.
const maxTrustFiles = 1000

// collectFolder adds a folder, whose stamp changes when files come and go, with
// the files in it.
func collectFolder(name string, found map[string]bool) {
	_ = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !found[path] {
			found[path] = !entry.IsDir() && strings.EqualFold(filepath.Ext(path), ".pem")
		}
		if len(found) >= maxTrustFiles {
			return fs.SkipAll
		}
		return nil // provisioning tells what is wrong with it
	})
}

// watchTrust begins to watch what settings read from files, before it is read.
func (s *Set) watchTrust(settings string) error {
	if s.trusts[settings] != nil {
		return nil
	}
	t, err := s.watchFiles(settings, nil)
	if err != nil || t == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusts[settings] = t
	return nil
}

// watchFiles watches what settings name now, nil if that is what is watched
// already. Files that come between the look into a folder and the beginning of the
// watch are part of it: it looks again.
func (s *Set) watchFiles(settings string, watched []string) (t *trust, err error) {
	const attempts = 5 // a folder that never stands still is watched anyway
	names := slices.Sorted(maps.Keys(trustFiles(settings)))
	for attempt := 1; !slices.Equal(names, watched); attempt++ {
		if t != nil {
			t.stop()
		}
		t = &trust{files: names}
		t.stop, err = certsel.WatchFiles(s.Context, names, func(ctx context.Context) error { return s.Changed(ctx, settings) })
		if err != nil || attempt == attempts {
			break
		}
		watched, names = names, slices.Sorted(maps.Keys(trustFiles(settings)))
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Watched returns the files of settings that are watched; ok is false if nobody has
// the settings any more.
func (s *Set) Watched(settings string) (files []string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trusts[settings]
	if t == nil {
		return nil, false
	}
	return t.files, true
}

// A Watch is one of the files that settings name now.
type Watch struct{ trust *trust }

// Stop ends the watch, unless the set follows it. It may be nil.
func (w *Watch) Stop() {
	if w != nil && w.trust != nil {
		w.trust.stop()
	}
}

// Look begins to watch the files that settings name now, nil if those are what is watched
// already, and then reads whether they can be used.
func (s *Set) Look(ctx context.Context, settings string, watched []string) (*Watch, error) {
	t, err := s.watchFiles(settings, watched)
	if err != nil {
		return nil, err
	}
	names := trustFiles(settings)
	maps.DeleteFunc(names, func(_ string, certificates bool) bool { return !certificates })
	err = certsel.CheckCertificateFiles(ctx, slices.Sorted(maps.Keys(names)))
	if t == nil {
		return nil, err
	}
	return &Watch{t}, err
}

// Follow replaces the watch of settings by another one, if there is one.
func (s *Set) Follow(settings string, w *Watch) {
	if w == nil {
		return
	}
	t := w.trust
	w.trust = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusts[settings].stop()
	s.trusts[settings] = t
}

// dropTrusts ends the watches of settings that no policy has.
func (s *Set) dropTrusts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for settings, t := range s.trusts {
		used := false
		for key := range s.policies {
			used = used || key.Settings == settings
		}
		if !used {
			t.stop()
			delete(s.trusts, settings)
		}
	}
}

// Renew makes the policies that have these settings anew. It returns what takes
// that back.
func (s *Set) Renew(settings string) (undo func(), err error) {
	old := make(map[Key]*Policy)
	for key, p := range s.policies {
		if key.Settings == settings {
			old[key] = p
			delete(s.policies, key)
		}
	}
	undo = func() {
		for key, p := range old {
			if fresh := s.policies[key]; fresh != nil {
				fresh.release()
			}
			s.policies[key] = p
		}
	}
	for key := range old {
		if _, err := s.Get(key); err != nil {
			undo()
			return nil, err
		}
	}
	return undo, nil
}

// Note tells, once, how it went to make what follows from changed files.
func (s *Set) Note(settings string, err error, logger *zap.Logger) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	s.mu.Lock()
	t := s.trusts[settings]
	known := t.problem
	t.problem = problem
	s.mu.Unlock()
	switch {
	case err == nil:
		logger.Info("authorities of client certificates reloaded", zap.Strings("files", t.files))
	case problem != known:
		logger.Error("cannot reload authorities of client certificates; those loaded before stay in force",
			zap.Strings("files", t.files), zap.Error(err))
	}
}

// Findings tells which files of authorities are not in force as they are now.
func (s *Set) Findings() []binding.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var findings []binding.Finding
	for _, t := range s.trusts {
		if t.problem != "" {
			findings = append(findings, binding.Finding{
				Severity: binding.Warning, Code: codeTrustFile,
				Message: fmt.Sprintf("the authorities of client certificates in %v cannot be used as they are now: %s; those loaded before are in force", t.files, t.problem),
				Fix:     "replace the file",
			})
		}
	}
	return findings
}
